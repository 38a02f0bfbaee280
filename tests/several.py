"""What tests of several processes need: a short run to be made, and what two equal ends are."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jielong.core import config as configs
from jielong.core.files import sha256_file
from jielong.core.run_dir import RunDir, read_metrics
from jielong.data.shards import Shard
from jielong.stages import pretrain
from jielong.stages.samples import SampleConfig
from jielong.training.checkpoint import latest
from jielong.training.optimizers import OptimizerConfig
from jielong.training.settings import TrainingConfig
from tests.tiny import config, tokenizer

TEXT = "风起云涌,云开见日。日新月异,异口同声: jumping over lazy dogs makes a fox tired.\n"
STEPS = 160


@dataclass(frozen=True, kw_only=True)
class Config:
    seed: int = 0


def write_recipe(folder: Path) -> Path:
    """A recipe of pretraining with dropout, on a text that repeats itself; without `run_dir`."""
    run = RunDir.create(folder / "tokenize", stage="tokenize", config=Config())
    tokenizer().save(run.path)
    ids = np.array(tokenizer().encode(TEXT) * 60, dtype=np.uint16)
    for name, part in (("train", ids), ("valid", ids[:1500])):
        shard = Shard(part, np.array([0]), np.array(["zh"]), np.array([4000]))
        shard.save(run.path / f"{name}.npz")
    run.finish()
    made = pretrain.PretrainConfig(
        run_dir="",
        data=str(run.path),
        steps=STEPS,
        batch=5,
        window=24,
        save_every=30,
        keep_best=True,
        samples=SampleConfig(every=100, prompts=("风",), tokens=3),
        model=config(vocab_size=0, context=48, dropout=0.1),
        optimizer=OptimizerConfig(lr=1e-2, kind="muon", decay_share=0.6),
        training=TrainingConfig(ema_decay=0.9),
    )
    (folder / "recipe.toml").write_text(configs.dumps(made), encoding="utf-8")
    return folder / "recipe.toml"


def assert_same_end(broken: Path, straight: Path) -> None:
    """Both runs end with the same bytes, and each has logged every step once."""
    assert sha256_file(broken / "model" / "model.safetensors") == sha256_file(
        straight / "model" / "model.safetensors"
    )
    ends = [latest(run) for run in (broken, straight)]
    assert ends[0].name == ends[1].name
    files = [sorted(file.name for file in end.iterdir()) for end in ends]
    assert files[0] == files[1]
    for name in files[0]:
        assert sha256_file(ends[0] / name) == sha256_file(ends[1] / name), name
    steps = [m["step"] for m in read_metrics(straight)]
    assert steps == [m["step"] for m in read_metrics(broken)] == list(range(1, len(steps) + 1))
