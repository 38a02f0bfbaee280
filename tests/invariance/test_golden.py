"""Twenty losses of a tiny pretraining run, written down once.

A refactor leaves them as they are; a change of numerics changes them, on purpose and with reasons.
The tolerance leaves room for another processor's rounding; one machine repeats its own bit for bit.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from jielong.core.run_dir import RunDir, read_metrics
from jielong.data.shards import Shard
from jielong.stages import pretrain
from jielong.training.optimizers import OptimizerConfig
from tests.tiny import config, tokenizer

pytestmark = pytest.mark.invariance

LOSSES = [
    *(6.29338, 6.40551, 6.36514, 5.95160, 5.75186, 5.48785, 5.21749, 4.98549, 4.69781, 4.47570),
    *(4.63743, 4.28800, 4.27970, 4.26770, 4.02648, 3.73653, 3.57453, 3.46943, 3.54566, 3.80092),
]


@dataclass(frozen=True, kw_only=True)
class Config:
    seed: int = 0


def data(path: Path) -> Path:
    """A finished tokenize run whose text is a walk: each number follows its predecessor closely."""
    run = RunDir.create(path, stage="tokenize", config=Config())
    tokenizer().save(run.path)
    steps = np.random.default_rng(0).integers(1, 4, size=4000)
    tokens = (6 + np.cumsum(steps) % 294).astype(np.uint16)
    Shard(tokens, np.array([0]), np.array(["zh"]), np.array([8000])).save(run.path / "train.npz")
    run.finish()
    return run.path


def test_twenty_steps(tmp_path: Path) -> None:
    recipe = pretrain.PretrainConfig(
        run_dir=str(tmp_path / "run"),
        data=str(data(tmp_path / "data")),
        steps=20,
        batch=4,
        window=32,
        model=config(vocab_size=0),
        optimizer=OptimizerConfig(kind="muon", lr=3e-2, warmup_steps=4, decay_share=0.3),
    )
    run = pretrain.run(recipe)
    losses = [metrics["loss"] for metrics in read_metrics(run)]
    assert losses == pytest.approx(LOSSES, abs=1e-4)
