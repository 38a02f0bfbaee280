"""The scaling study: one family of models, several sizes, several numbers of tokens, one law.

    python benchmarks/scaling.py --data RUN [--out FOLDER] [--minutes M] [--points 2:120 ...]

RUN is a finished tokenize run. A point `depth:steps` is a model of `jielong/stages/dial.py` that
was trained for so many steps, and its loss on the held-out text. What the runs are is said by
tokens and never by seconds: a slower or busier machine takes longer and finds the same. The rate is
flat until the cool-down begins, so one run at the flat rate gives every number of tokens, and each
has a cool-down of its own (arXiv:2405.18392). Points that FOLDER has already are not made again;
after M minutes no new one is begun. `--include` takes finished pretraining runs of the family as
points too, `--check` compares the law with such runs, and `--write` makes it the one that
`jielong plan` predicts by.
"""

import argparse
import copy
import json
import math
import time
from pathlib import Path

import torch

from jielong.core import config as configs
from jielong.core.files import append_line, write_atomic
from jielong.core.run_dir import open_finished
from jielong.core.seeds import derive
from jielong.data.shards import Shard
from jielong.evaluation import scaling
from jielong.evaluation.language_modeling import score
from jielong.evaluation.models import token_nats
from jielong.evaluation.scaling import Law, fresh_worth
from jielong.generation.loading import load_assistant
from jielong.model.config import ModelConfig
from jielong.model.sizes import TRAINING, forward_flops, parameters
from jielong.model.transformer import Transformer
from jielong.stages.dial import BATCH, WINDOW, optimizer_of, shape_of
from jielong.stages.pretrain import PretrainConfig, document_parts, with_vocabulary
from jielong.tokenizer.bpe import Tokenizer
from jielong.training.checkpoint import resume, save_checkpoint
from jielong.training.learner import Learner
from jielong.training.loop import train
from jielong.training.optimizers import Schedule, make_optimizers

POINTS = (
    "1:240 2:240 3:240 4:240 1:480 2:480 3:480 6:240 2:960 4:480 3:960 2:1920 6:480 4:960 4:1920"
)
POINTS_FILE = "points.jsonl"


class Runs:
    """The runs on one tokenized corpus."""

    def __init__(self, data: Path, folder: Path) -> None:
        run = open_finished(data, "tokenize")
        self.train, self.valid = (Shard.load(data / f"{side}.npz") for side in ("train", "valid"))
        self.tokenizer = Tokenizer.load(data)
        self.bytes = run.manifest["train"]["bytes"]
        self.bytes_per_token = self.bytes / run.manifest["train"]["tokens"]
        self.corpus = run.manifest["train"]["sha256"]
        self.folder = folder
        self.part = document_parts(self.train.tokens, BATCH, WINDOW, seed=0)

    def point(self, depth: int, steps: int) -> dict[str, float]:
        """Train one model for `steps` steps and measure it."""
        shape = with_vocabulary(shape_of(depth), self.tokenizer)
        optimizer = optimizer_of(shape.width)
        torch.manual_seed(derive(0, "weights"))
        model = Transformer(shape)
        learner = Learner(model, make_optimizers(model, optimizer), Schedule.of(optimizer, steps))
        flat = Schedule(steps, optimizer.warmup_steps, optimizer.warmup_from)
        trunk = self.folder / f"depth-{depth}-vocabulary-{shape.vocab_size}"
        resume(trunk, learner)
        begins = round((1 - optimizer.decay_share) * steps)
        assert learner.step <= begins, "points of one depth come in order of their steps"
        learner.schedule, cooled = flat, learner.schedule
        started, cpu = time.perf_counter(), time.process_time()
        train(learner, lambda step: [self.part(step)], begins)
        save_checkpoint(trunk, learner, keep=1)
        branch = copy.deepcopy(learner)
        branch.schedule = cooled
        losses = []
        train(
            branch,
            lambda step: [self.part(step)],
            steps,
            [lambda _, metrics: losses.append(metrics["loss"])],
        )
        nats = token_nats(branch.module, self.valid, WINDOW)
        return self._point(shape, steps, steps * BATCH * WINDOW) | {
            "bits_per_byte": score(self.valid, nats).overall.estimate,
            "training_loss_nats": sum(losses[-20:]) / 20,
            "seconds": time.perf_counter() - started,
            "cpu_s": time.process_time() - cpu,
        }

    def finished(self, run: Path) -> dict[str, float]:
        """The point that a finished pretraining run on this corpus is."""
        config = configs.load(PretrainConfig, run / "config.toml")
        trained = load_assistant(run)
        shape = trained.model.config
        assert trained.tokenizer.sha256 == self.tokenizer.sha256, f"{run}: another vocabulary"
        tokens = config.steps * config.batch * config.window
        nats = token_nats(trained.model, self.valid, config.window)
        return self._point(shape, config.steps, tokens) | {
            "bits_per_byte": score(self.valid, nats).overall.estimate,
        }

    def _point(self, shape: ModelConfig, steps: int, tokens: int) -> dict[str, float]:
        return {
            "depth": shape.n_layer,
            "steps": steps,
            "parameters": parameters(shape).inner,
            "vocabulary": shape.vocab_size,
            "tokens": tokens,
            "bytes": round(tokens * self.bytes_per_token),
            "flops": TRAINING * forward_flops(shape, WINDOW) * tokens,
            "corpus": self.corpus,
        }


def compare(law: Law, name: str, point: dict[str, float], unique: int) -> None:
    """Print how far a run that is not in the law is from it."""
    loss = law.loss(point["parameters"], fresh_worth(point["bytes"], unique))
    found = point["bits_per_byte"]
    print(
        f"{name}: {point['parameters']:,} parameters, {point['bytes'] / 1e6:.1f} MB read: "
        f"predicted {loss:.4f}, measured {found:.4f}, error {100 * (loss / found - 1):+.1f} %"
    )


def fitted(study: Runs, points: list[dict[str, float]]) -> scaling.Study:
    """The law of the points that were measured with this vocabulary."""
    rows = [
        (p["parameters"], fresh_worth(p["bytes"], study.bytes), p["bits_per_byte"])
        for p in points
        if p["vocabulary"] == study.tokenizer.vocab_size
    ]
    law = scaling.fit(rows)
    print("\nparameters  MB read  measured     law  error   law without it")
    for row in rows:
        others = [other for other in rows if other != row]
        without = scaling.fit(others).loss(*row[:2]) if len(others) > 4 else math.nan
        loss = law.loss(*row[:2])
        print(
            f"{row[0]:10,} {row[1] / 1e6:8.2f} {row[2]:9.4f} {loss:7.4f} "
            f"{100 * (loss / row[2] - 1):+5.2f} %  {100 * (without / row[2] - 1):+5.2f} %"
        )
    print(f"\n{configs.dumps(law)}")
    return scaling.Study(
        measured=f"benchmarks/scaling.py: {len(rows)} runs of jielong/stages/dial.py's models in "
        f"steps of {BATCH} x {WINDOW} tokens, seed 0, the quickstart's text",
        corpus=study.corpus,
        corpus_bytes=study.bytes,
        vocab_size=study.tokenizer.vocab_size,
        law=law,
        points=tuple(rows),
    )


def main() -> None:
    """Make the points that are missing, fit the law, compare it with runs of another making."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a finished tokenize run")
    parser.add_argument("--out", type=Path, default=Path("runs/scaling"))
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--points", nargs="*", default=POINTS.split(), metavar="DEPTH:STEPS")
    parser.add_argument("--check", nargs="*", default=[], type=Path, metavar="RUN")
    parser.add_argument("--include", nargs="*", default=[], type=Path, metavar="RUN")
    parser.add_argument("--write", action="store_true", help="make it the law of the package")
    options = parser.parse_args()
    started = time.monotonic()
    study = Runs(options.data, options.out)
    file = options.out / POINTS_FILE
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.points:
        depth, steps = map(int, name.split(":"))
        if (depth, steps, study.tokenizer.vocab_size) in map(key, read_points(file)):
            continue
        if time.monotonic() - started > 60 * options.minutes:
            break
        found = study.point(depth, steps)
        append_line(file, json.dumps(found))
        print(
            f"{name:8} {found['bits_per_byte']:.4f} bits per byte  {found['seconds']:.0f} s "
            f"({found['cpu_s']:.0f} s of processor)",
            flush=True,
        )
    for run in options.include:
        found = study.finished(run)
        if key(found) not in map(key, read_points(file)):
            append_line(file, json.dumps(found))
    made = fitted(study, read_points(file))
    for run in options.check:
        compare(made.law, str(run), study.finished(run), study.bytes)
    if options.write:
        write_atomic(scaling.SHIPPED, configs.dumps(made))


def read_points(file: Path) -> list[dict[str, float]]:
    """What was measured before."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def key(point: dict[str, float]) -> tuple[float, ...]:
    """What tells points apart."""
    return point["depth"], point["steps"], point["vocabulary"]


if __name__ == "__main__":
    main()
