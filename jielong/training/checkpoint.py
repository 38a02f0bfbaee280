"""Checkpoints: whole, verified, and enough to go on bit for bit.

`checkpoints/step-000500/` holds `model.safetensors`, `training.safetensors` (optimizer state, what
else the learner keeps, random generators) and `state.json` (counters, and the hashes of all three).
The directory is written under a temporary name, synced, then renamed: one that has its final name
is complete. One that is to go is renamed first, for a kill must not leave half of it either.
Where each of several processes holds a part of the weights there is instead one file a process,
`shard-NNNNN-model-00001-of-00001.safetensors`; any number of processes can go on from either form.
Nothing is ever unpickled.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from jielong.core.errors import CheckpointError, RunDirectoryError
from jielong.core.files import new_folder, removing, sha256_file, sha256_json
from jielong.core.processes import first_ahead, is_first, wait
from jielong.core.progress import say
from jielong.core.run_dir import open_run
from jielong.training.distributed import anywhere, is_sharded
from jielong.training.learner import Learner
from jielong.training.shards import read_shards, write_shards

FOLDER = "checkpoints"
MODEL, TRAINING, STATE = "model.safetensors", "training.safetensors", "state.json"
SHARDS = "shards"
OWN = "learner."
"""How the names of the learner's own tensors begin: of those that no optimizer holds."""


def save_checkpoint(
    run: Path,
    learner: Learner,
    extra: Mapping[str, Any] | None = None,
    keep: int = 2,
    held_out_loss: float | None = None,
) -> Path:
    """Write the learner's state as `run/checkpoints/step-NNNNNN`; then drop what need not stay.

    The last `keep` stay, and the one with the least `held_out_loss`. `extra` is further plain state
    of the stage (numbers, lists), given back by `resume`.
    """
    final = run / FOLDER / f"step-{learner.step:06d}"
    # A step has one state: what was saved at it already is this. The first process knows.
    if anywhere(is_first() and final.exists()):
        return final
    state: dict[str, Any] = {"step": learner.step, "extra": dict(extra or {})}
    if held_out_loss is not None:
        state["held_out_loss"] = held_out_loss
    if is_first():
        for left in final.parent.glob(".*"):  # by a kill
            shutil.rmtree(left, ignore_errors=True)
    wait()
    hashes: dict[str, str] = {}
    if is_sharded(learner.module):
        tensors = learner.module.state_dict() | _training_tensors(learner)
        hashes = write_shards(final.parent / f".{SHARDS}", tensors)
        state[SHARDS] = sorted(hashes)
    with first_ahead():
        if is_first():
            _write_folder(final, learner, state, hashes)
            found = checkpoints(run)
            for old in set(found) - {*found[-keep:], best(run)}:
                with removing(old):
                    pass
    return final


def _write_folder(
    final: Path, learner: Learner, state: dict[str, Any], hashes: dict[str, str]
) -> None:
    """One checkpoint, whole or not at all; shards that were written are moved into it."""
    parts = final.parent / f".{SHARDS}"
    with new_folder(final) as folder:
        for name in hashes:
            (parts / name).rename(folder / name)
        if not hashes:
            hashes = {
                MODEL: _write(folder / MODEL, learner.module.state_dict()),
                TRAINING: _write(folder / TRAINING, _training_tensors(learner)),
            }
        state["sha256"] = hashes | {STATE: sha256_json(state)}
        (folder / STATE).write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
    if parts.exists():
        parts.rmdir()


def checkpoints(run: Path) -> list[Path]:
    """The run's complete checkpoints, oldest first."""
    return sorted((run / FOLDER).glob("step-*"), key=_order)


def latest(run: Path) -> Path:
    """The run's newest checkpoint; raises `CheckpointError` when it has none."""
    found = checkpoints(run)
    if not found:
        raise CheckpointError(f"{run}: holds no checkpoint yet: let the run save one first")
    return found[-1]


def best(run: Path) -> Path | None:
    """The checkpoint with the least held-out loss, the older of two that are equal."""
    found = [(_held_out_loss(path), path) for path in checkpoints(run)]
    measured = [(loss, path) for loss, path in found if loss is not None]
    return min(measured, key=lambda pair: pair[0])[1] if measured else None


def resume(run: Path, learner: Learner, name: str | None = None) -> dict[str, Any]:
    """Put the learner back where a checkpoint left it; returns the stage's `extra` state.

    That is the newest one, or the one called `name`: those after it are then removed, for the steps
    that led there will be made again. With no checkpoint yet the learner is left as it is (step 0).
    Raises `CheckpointError`, naming the last good one, when a file is missing, cut or altered: to
    go on from another one than the newest is for the user to say.
    """
    if not checkpoints(run) and name is None:
        return {}
    path = latest(run) if name is None else _called(run, name)
    extra = restore(path, learner)
    for later in checkpoints(run):
        if is_first() and _order(later) > _order(path):
            say(f"{later}: removed, to go on from {path.name}")
            with removing(later):
                pass
    return extra


def restore(path: Path, learner: Learner) -> dict[str, Any]:
    """Put the learner where one checkpoint directory left it; returns the stage's `extra` state."""
    with first_ahead():
        state = verify(path) if is_first() else _state(path)
    if SHARDS in state or is_sharded(learner.module):
        tensors = read_shards(path, _places(learner))
    else:
        tensors = load((path / MODEL).read_bytes()) | load((path / TRAINING).read_bytes())
    training = {name: tensors.pop(name) for name in list(tensors) if _is_training(name)}
    learner.module.load_state_dict(tensors)
    _restore_training(learner, training)
    learner.step = state["step"]
    return state["extra"]


def load_weights(path: Path) -> dict[str, Tensor]:
    """The verified model weights of one checkpoint directory."""
    state = verify(path)
    try:
        if SHARDS not in state:
            return load((path / MODEL).read_bytes())
        tensors = read_shards(path, lambda _: None)
    except SafetensorError as error:
        raise CheckpointError(f"{path / MODEL}: damaged ({error}): use another one") from None
    return {name: tensor for name, tensor in tensors.items() if not _is_training(name)}


def verify(path: Path) -> dict[str, Any]:
    """Check every file of a checkpoint against its recorded hash; returns its `state.json`."""
    state, fault = _read(path)
    if fault:
        raise CheckpointError(f"{fault}: {_fallback(path)}")
    return state


def _read(path: Path) -> tuple[dict[str, Any], str]:
    """A checkpoint's state, and what is wrong with it ("" is nothing)."""
    try:
        state = _state(path)
        expected = state.pop("sha256")
        found = {name: sha256_file(path / name) for name in state.get(SHARDS, (MODEL, TRAINING))}
        found[STATE] = sha256_json(state)
        wrong = [name for name in found if found[name] != expected[name]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return {}, f"{path}: damaged ({error})"
    if wrong:
        return {}, f"{path / wrong[0]}: cut short or altered (its SHA-256 is not the recorded one)"
    return state, ""


def _state(path: Path) -> dict[str, Any]:
    return json.loads((path / STATE).read_text(encoding="utf-8"))


def _fallback(path: Path) -> str:
    """How to go on when this checkpoint is damaged: from the newest whole one before it."""
    run = path.parent.parent
    for earlier in reversed(checkpoints(run)):
        if _order(earlier) < _order(path) and not _read(earlier)[1]:
            return f"to go on from {earlier.name}: {_command(run)} --resume-from {earlier.name}"
    return "no checkpoint before it is whole: start the run anew in another run_dir"


def _command(run: Path) -> str:
    try:
        return f"jielong {open_run(run).manifest['stage']} {run / 'config.toml'}"
    except (RunDirectoryError, KeyError):
        return "the same command with"


def _called(run: Path, name: str) -> Path:
    found = {path.name: path for path in checkpoints(run)}
    if name not in found:
        raise CheckpointError(
            f"{run / FOLDER / name}: no such checkpoint: choose one of {', '.join(found) or 'none'}"
        )
    return found[name]


def _held_out_loss(path: Path) -> float | None:
    try:
        return _state(path)["held_out_loss"]
    except (OSError, ValueError, KeyError, TypeError):  # not measured, or damaged
        return None


def _order(path: Path) -> tuple[int, str]:
    """By step, also when a run has more steps than the name has zeros for."""
    return len(path.name), path.name


def _write(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write one file; returns the hash of what was meant, which a bad disk cannot follow."""
    data = save(_contiguous(tensors))
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


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


def _is_training(name: str) -> bool:
    """Whether a tensor's name is one that `_training_tensors` gives; no weight has such a one."""
    return name[0].isdigit() or name.startswith((OWN, "rng."))


def _places(learner: Learner) -> Callable[[str], Tensor | None]:
    """For the name of a stored tensor that of the learner's which is held as it will be."""
    known = learner.module.state_dict()
    known |= {f"{OWN}{name}": tensor for name, tensor in learner.to_tensors().items()}
    for i, optimizer in enumerate(learner.optimizers):
        moved = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        known |= {f"{i}.{j}": parameter for j, parameter in enumerate(moved)}
    return lambda name: known.get(name.rpartition(".")[0] if name[0].isdigit() else name)


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
