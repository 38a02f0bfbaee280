"""Checkpoints: whole, verified, and enough to go on bit for bit.

`checkpoints/step-000500/` holds `model.safetensors`, `training.safetensors` (optimizer state, what
else the learner keeps, random generators) and `state.json` (counters, and the hashes of all three).
The directory is written under a temporary name, synced, then renamed: one that has its final name
is complete. Nothing is ever unpickled.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from jielong.core.errors import CheckpointError
from jielong.core.files import sha256_file, sha256_json, sync_directory, write_atomic
from jielong.training.learner import Learner

FOLDER = "checkpoints"
MODEL, TRAINING, STATE = "model.safetensors", "training.safetensors", "state.json"
OWN = "learner."
"""How the names of the learner's own tensors begin: of those that no optimizer holds."""


def save_checkpoint(
    run: Path, learner: Learner, extra: Mapping[str, Any] | None = None, keep: int = 2
) -> Path:
    """Write the learner's state as `run/checkpoints/step-NNNNNN` and drop all but the last `keep`.

    `extra` is further plain state of the stage (numbers, lists), given back by `resume`.
    """
    final = run / FOLDER / f"step-{learner.step:06d}"
    if final.exists():  # a step has one state: what was saved at it already is this
        return final
    temporary = final.with_name(f".{final.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        write_atomic(temporary / MODEL, save(_contiguous(learner.module.state_dict())))
        write_atomic(temporary / TRAINING, save(_training_tensors(learner)))
        state: dict[str, Any] = {"step": learner.step, "extra": dict(extra or {})}
        hashes = {name: sha256_file(temporary / name) for name in (MODEL, TRAINING)}
        state["sha256"] = hashes | {STATE: sha256_json(state)}
        write_atomic(temporary / STATE, json.dumps(state, indent=1) + "\n")
        temporary.rename(final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync_directory(final.parent)
    for old in checkpoints(run)[:-keep]:
        shutil.rmtree(old)
    return final


def checkpoints(run: Path) -> list[Path]:
    """The run's complete checkpoints, oldest first."""
    return sorted((run / FOLDER).glob("step-*"), key=_order)


def latest(run: Path) -> Path:
    """The run's newest checkpoint; raises `CheckpointError` when it has none."""
    found = checkpoints(run)
    if not found:
        raise CheckpointError(f"{run}: holds no checkpoint yet: let the run save one first")
    return found[-1]


def resume(run: Path, learner: Learner) -> dict[str, Any]:
    """Put the learner back where the newest checkpoint left it; returns the stage's `extra` state.

    With no checkpoint yet the learner is left as it is (step 0). Raises `CheckpointError`, naming
    the last good one, when a file is missing, cut or altered.
    """
    if not checkpoints(run):
        return {}
    path = latest(run)
    state = verify(path)
    learner.module.load_state_dict(load((path / MODEL).read_bytes()))
    _restore_training(learner, load((path / TRAINING).read_bytes()))
    learner.step = state["step"]
    return state["extra"]


def load_weights(path: Path) -> dict[str, Tensor]:
    """The verified model weights of one checkpoint directory."""
    verify(path)
    try:
        return load((path / MODEL).read_bytes())
    except SafetensorError as error:
        raise CheckpointError(f"{path / MODEL}: damaged ({error}): use another one") from None


def verify(path: Path) -> dict[str, Any]:
    """Check every file of a checkpoint against its recorded hash; returns its `state.json`."""
    try:
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
        expected = state.pop("sha256")
        found = {name: sha256_file(path / name) for name in (MODEL, TRAINING)}
        found[STATE] = sha256_json(state)
        wrong = [name for name in found if found[name] != expected[name]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: damaged ({error}): {_fallback(path)}") from None
    if wrong:
        raise CheckpointError(
            f"{path / wrong[0]}: cut short or altered (its SHA-256 is not the recorded one): "
            f"{_fallback(path)}"
        )
    return state


def _fallback(path: Path) -> str:
    earlier = [c.name for c in checkpoints(path.parent.parent) if _order(c) < _order(path)]
    if earlier:
        return f"delete that directory to go on from {earlier[-1]}"
    return "delete that directory and start the run anew"


def _order(path: Path) -> tuple[int, str]:
    """By step, also when a run has more steps than the name has zeros for."""
    return len(path.name), path.name


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _training_tensors(learner: Learner) -> dict[str, Tensor]:
    """Optimizer state as flat names `optimizer.parameter.key`, and the random generators."""
    tensors = {"rng.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["rng.cuda"] = torch.cuda.get_rng_state()
    for i, optimizer in enumerate(learner.optimizers):
        for j, state in optimizer.state_dict()["state"].items():
            tensors |= {f"{i}.{j}.{key}": torch.as_tensor(value) for key, value in state.items()}
    tensors |= {f"{OWN}{name}": tensor for name, tensor in learner.to_tensors().items()}
    return _contiguous(tensors)


def _restore_training(learner: Learner, tensors: dict[str, Tensor]) -> None:
    torch.set_rng_state(tensors.pop("rng.cpu"))
    cuda = tensors.pop("rng.cuda", None)
    if cuda is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(cuda)
    own = {name: tensors.pop(name) for name in list(tensors) if name.startswith(OWN)}
    learner.from_tensors({name.removeprefix(OWN): tensor for name, tensor in own.items()})
    for i, optimizer in enumerate(learner.optimizers):
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            number, parameter, key = name.split(".")
            if int(number) == i:
                state.setdefault(int(parameter), {})[key] = tensor
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
