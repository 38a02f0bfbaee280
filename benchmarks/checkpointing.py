"""What saving costs: a checkpoint beside the training steps between two of them.

    jielong bench checkpointing [--rounds 5] [--folder FOLDER]

A real learner makes real steps and writes real checkpoints, in turn, into a run under FOLDER (by
default a temporary one: give one on the disk that your runs are on). Medians of wall-clock time.
Three models: that of the small recipe with its own optimizer and interval; and with Muon and the
default interval two larger batches, 12M and 1M, whose shapes other benchmarks have too.

`share` is what a checkpoint at that interval adds to the time of the steps: the bar is below 2 %.
`2 %` is the shortest interval in steps that holds it. Of the parts, hashing is SHA-256 of all
bytes, and syncing waits for the disk.
"""

import argparse
import dataclasses
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors.torch import save
from shapes import SHAPES

from jielong.core import config as configs
from jielong.core.allocator import keep_freed_memory
from jielong.core.recipes import recipe_path
from jielong.model.transformer import Transformer
from jielong.objectives.language_model import TokenBatch, next_token_loss
from jielong.stages.learning import make_learner
from jielong.stages.pretrain import PretrainConfig
from jielong.training.checkpoint import save_checkpoint
from jielong.training.learner import Learner, Part
from jielong.training.optimizers import OptimizerConfig

VOCABULARY = 4096  # of the small recipe's tokenizer
LIMIT = 0.02


def recipes() -> Iterator[tuple[str, PretrainConfig]]:
    """The small recipe, and it with other shapes."""
    small = configs.load(PretrainConfig, recipe_path("small/pretrain"))
    model = dataclasses.replace(small.model, vocab_size=VOCABULARY)
    yield "small", dataclasses.replace(small, model=model)
    for name, shape in SHAPES.items():
        model = shape.ours(ffn_width=shape.width * 8 // 3 // 32 * 32)
        yield (
            name,
            PretrainConfig(
                run_dir="",
                data="",
                steps=small.steps,
                batch=shape.rows,
                window=shape.tokens,
                model=model,
                optimizer=OptimizerConfig(kind="muon", lr=1e-3),
            ),
        )


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


def measure(name: str, config: PretrainConfig, rounds: int, folder: Path) -> None:
    """Steps and checkpoints of one model in turn; prints a line of the table."""
    torch.manual_seed(0)
    learner = make_learner(
        Transformer(config.model), config.optimizer, config.training, config.steps
    )
    ids = torch.randint(config.model.vocab_size, (config.batch, config.window + 1))
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
    share = one / (config.save_every * step)
    print(
        f"{name:>5}: step {step:.3f} s, checkpoint {one:.3f} s ({size / 1e6:.0f} MB; {split}); "
        f"share at {config.save_every} steps: {share:.3%}, {'below' if share < LIMIT else 'ABOVE'} "
        f"{LIMIT:.0%}; {LIMIT:.0%}: {max(1, one / (LIMIT * step)):.0f} steps",
        flush=True,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    keep_freed_memory()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for name, config in recipes():
            measure(name, config, arguments.rounds, Path(folder))


if __name__ == "__main__":
    main()
