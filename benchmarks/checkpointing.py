"""What saving costs: a checkpoint beside the training steps between two of them.

    python benchmarks/checkpointing.py [--rounds 5] [--folder FOLDER]

A real learner (Muon and AdamW) makes real steps and writes real checkpoints, in turn, into a run
under FOLDER (by default a temporary one: give one on the disk that your runs are on). Medians of
wall-clock time. `share` is what a checkpoint at the default interval adds to the time of the steps;
`2 %` is the shortest interval in steps at which it adds less than that. Of the parts, hashing is
SHA-256 of all bytes, and syncing waits for the disk.
"""

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save

from jielong.model.config import ModelConfig
from jielong.model.transformer import Transformer
from jielong.objectives.language_model import TokenBatch, next_token_loss
from jielong.training.checkpoint import save_checkpoint
from jielong.training.learner import Learner, Part
from jielong.training.optimizers import OptimizerConfig, Schedule, make_optimizers

SHAPES = {"12M": (6, 384, 6, 256, 16, 4096), "1M": (4, 128, 4, 128, 32, 2048)}
"""Layers, width, heads, tokens in a row, rows, vocabulary."""
INTERVAL = 500
LIMIT = 0.02


def seconds(action: Callable[[], object]) -> float:
    """How long it takes once."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def parts(learner: Learner, folder: Path) -> tuple[int, dict[str, float]]:
    """The bytes of a checkpoint, and the seconds of what writing one is made of."""
    tensors = dict(learner.module.state_dict())
    for i, optimizer in enumerate(learner.optimizers):
        for j, state in optimizer.state_dict()["state"].items():
            tensors |= {f"{i}.{j}.{key}": torch.as_tensor(v) for key, v in state.items()}
    tensors = {name: tensor.clone().contiguous() for name, tensor in tensors.items()}
    data = save(tensors)
    file = folder / "parts"

    def sync() -> None:
        with file.open("rb") as opened:
            os.fsync(opened.fileno())

    found = {
        "serialise": seconds(lambda: save(tensors)),
        "hash": seconds(lambda: hashlib.sha256(data).hexdigest()),
        "write": seconds(lambda: file.write_bytes(data)),
        "sync": seconds(sync),
    }
    file.unlink()
    return len(data), found


def measure(name: str, rounds: int, folder: Path) -> None:
    """Steps and checkpoints of one shape in turn; prints a line of the table."""
    layers, width, heads, tokens, rows, vocabulary = SHAPES[name]
    config = ModelConfig(
        vocab_size=vocabulary,
        context=tokens,
        n_layer=layers,
        width=width,
        n_head=heads,
        n_kv_head=heads,
        ffn_width=width * 8 // 3 // 32 * 32,
    )
    torch.manual_seed(0)
    model = Transformer(config)
    optimizer = OptimizerConfig(kind="muon", lr=1e-3)
    learner = Learner(model, make_optimizers(model, optimizer), Schedule(10**6))
    ids = torch.randint(vocabulary, (rows, tokens + 1))
    part = Part([TokenBatch(ids, torch.ones_like(ids, dtype=torch.bool))], next_token_loss)
    learner.update(part)
    steps, saves, pieces, size = [], [], [], 0
    for _ in range(rounds):
        steps += [seconds(lambda: learner.update(part)) for _ in range(3)]
        saves.append(seconds(lambda: save_checkpoint(folder / name, learner)))
        size, found = parts(learner, folder)
        pieces.append(found)
    step, one = statistics.median(steps), statistics.median(saves)
    split = ", ".join(
        f"{part} {1000 * statistics.median(p[part] for p in pieces):.0f} ms" for part in pieces[0]
    )
    print(
        f"{name:>4}: step {step:.3f} s, checkpoint {one:.3f} s ({size / 1e6:.0f} MB; {split}); "
        f"share at {INTERVAL}: {one / (INTERVAL * step):.3%}; 2 %: {one / (LIMIT * step):.0f} steps"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for name in SHAPES:
            measure(name, arguments.rounds, Path(folder))


if __name__ == "__main__":
    main()
