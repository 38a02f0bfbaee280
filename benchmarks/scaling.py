"""The scaling study: one family of models, several sizes, several numbers of tokens, one law.

    python benchmarks/scaling.py --data RUN [--out FOLDER] [--minutes M] [--points 2:120 ...]

RUN is a finished tokenize run. A point `depth:steps` is a model of `jielong/stages/dial.py` that
was trained for so many steps, and its loss on the held-out text. What the runs are is said by
tokens and never by seconds: a slower or busier machine takes longer and finds the same. The rate is
flat until the cool-down begins, so one run at the flat rate gives every number of tokens, and each
has a cool-down of its own (arXiv:2405.18392). Points that FOLDER has already are not made again;
after M minutes no new one is begun. `--check` compares the law with other finished runs on RUN, and
`--write` makes it the one that `jielong plan` predicts by.
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
from jielong.model.sizes import TRAINING, forward_flops, parameters
from jielong.model.transformer import Transformer
from jielong.stages.dial import BATCH, WINDOW, optimizer_of, shape_of
from jielong.stages.pretrain import PretrainConfig, document_parts, with_vocabulary
from jielong.tokenizer.bpe import Tokenizer
from jielong.training.checkpoint import resume, save_checkpoint
from jielong.training.learner import Learner
from jielong.training.loop import train
from jielong.training.optimizers import Schedule, make_optimizers

POINTS = "2:120 2:240 3:120 3:240 4:120 2:480 3:480 4:240 2:960 6:120 3:960 4:480 6:240 4:960 6:480"
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
        tokens = steps * BATCH * WINDOW
        return {
            "depth": depth,
            "steps": steps,
            "parameters": parameters(shape).inner,
            "vocabulary": shape.vocab_size,
            "tokens": tokens,
            "bytes": round(tokens * self.bytes_per_token),
            "bits_per_byte": score(self.valid, nats).overall.estimate,
            "training_loss_nats": sum(losses[-20:]) / 20,
            "flops": TRAINING * forward_flops(shape, WINDOW) * tokens,
            "seconds": time.perf_counter() - started,
            "cpu_s": time.process_time() - cpu,
            "corpus": self.corpus,
        }

    def check(self, run: Path, law: Law) -> None:
        """Print how far a finished pretraining run on this corpus is from the law."""
        config = configs.load(PretrainConfig, run / "config.toml")
        model = load_assistant(run)
        measured = score(self.valid, token_nats(model.model, self.valid, config.window))
        read = config.steps * config.batch * config.window * self.bytes_per_token
        count = parameters(model.model.config).inner
        loss = law.loss(count, fresh_worth(read, self.bytes))
        found = measured.overall.estimate
        print(
            f"{run}: {count:,} parameters, {read / 1e6:.1f} MB read: predicted {loss:.4f}, "
            f"measured {found:.4f}, error {100 * (loss / found - 1):+.1f} %"
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
        without = scaling.fit(others).loss(*row[:2]) if len(others) > 5 else math.nan
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
    parser.add_argument("--write", action="store_true", help="make it the law of the package")
    options = parser.parse_args()
    started = time.monotonic()
    study = Runs(options.data, options.out)
    file = options.out / POINTS_FILE
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.points:
        depth, steps = map(int, name.split(":"))
        size = study.tokenizer.vocab_size
        done = {(p["depth"], p["steps"], p["vocabulary"]) for p in read_points(file)}
        if (depth, steps, size) in done:
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
    made = fitted(study, read_points(file))
    for run in options.check:
        study.check(run, made.law)
    if options.write:
        write_atomic(scaling.SHIPPED, configs.dumps(made))


def read_points(file: Path) -> list[dict[str, float]]:
    """What was measured before."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


if __name__ == "__main__":
    main()
