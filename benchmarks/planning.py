"""What `jielong plan` predicts beside what its recipe then takes and reaches.

    python benchmarks/planning.py --data RUN [--minutes 5 15 60] [--out FOLDER]

RUN is a finished tokenize run. For each time: plan, pretrain the recipe as it is, measure the loss
on the held-out text. Time has to be measured on a machine that does nothing else; loss and memory
do not mind.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from jielong.core import config as configs
from jielong.core.run_dir import open_run
from jielong.data.shards import Shard
from jielong.evaluation.language_modeling import score
from jielong.evaluation.models import token_nats
from jielong.generation.loading import load_assistant
from jielong.stages.pretrain import PretrainConfig


def jielong(*arguments: object) -> None:
    """A command in a process of its own: its peak of memory is its own too."""
    subprocess.run([sys.executable, "-m", "jielong", *map(str, arguments)], check=True)


def main() -> None:
    """Print predictions, measurements, and how far they are apart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minutes", type=float, nargs="+", default=[5, 15, 60])
    parser.add_argument("--out", type=Path, default=Path("runs/planning"))
    options = parser.parse_args()
    valid = Shard.load(options.data / "valid.npz")
    rows = []
    for minutes in options.minutes:
        file, run = (options.out / f"{minutes:g}{ending}" for ending in (".toml", "-run"))
        options.out.mkdir(parents=True, exist_ok=True)
        jielong("plan", options.data, "--minutes", minutes, "--out", file)
        jielong("pretrain", file, f"run_dir={run}")
        config, found = configs.load(PretrainConfig, file), open_run(run).manifest
        reached = score(valid, token_nats(load_assistant(run).model, valid, config.window))
        said = config.prediction
        assert said is not None
        pairs = {
            "seconds": (said.seconds, found["train_s"]),
            "memory, MB": (said.memory_mb, found["peak_rss_bytes"] / 1e6),
            "bits per byte": (said.bits_per_byte, reached.overall.estimate),
        }
        rows += [(f"{minutes:g} min", name, *pair) for name, pair in pairs.items()]
    print(f"\n{'plan':8} {'':14} {'predicted':>10} {'measured':>10} {'error':>8}")
    for plan, name, predicted, measured in rows:
        error = 100 * (predicted / measured - 1)
        print(f"{plan:8} {name:14} {predicted:10.4g} {measured:10.4g} {error:+7.1f} %")


if __name__ == "__main__":
    main()
