"""How soon our recipe has the held-out loss that others have after N minutes of training.

    jielong bench time-to-loss TOKENIZE [key=value ...] [--minutes 10] [--share 0.333]
        [--nanogpt FOLDER] [--rates 1e-3 2e-3 4e-3] [--threads N] [--out FOLDER]

TOKENIZE is a finished tokenize run: all read its tokens. Each contestant has a process of its own,
one after the other, and the same threads:

- transformers: its Llama in the plain loop that a careful user would write: shuffled windows, fused
  AdamW with betas .9 and .95 and decay .1, 100 steps of warm-up, cosine to a tenth, clipping at 1;
- nanoGPT, with `--nanogpt`: its `model.py` and its optimizer as they are, not compiled (as it
  advises for a processor), no bias (its default), windows from random places; its settings for
  small networks: betas .9 and .99, decay .1, warm-up, cosine to a tenth, clipping at 1;
- ours: `jielong pretrain` with the small recipe, and so many steps as, by a short calibration, fill
  `--share` of the time.

The first two run once for each rate, and the best one counts; their cosine ends when their time
does. Layers, width, heads, window and rows are the recipe's, which key=value changes
(`model.n_layer=6`), so parameters agree. Time is that of batches and steps; it stands still while
the held-out loss is measured, 20 times, on the windows of `keep_best`, by its own code for all.

Each result is a file in `--out`, and what is there is not run again. At the end come a table,
`curves.svg`, and after how many seconds ours first had the lowest loss of each other.
"""

import argparse
import dataclasses
import json
import math
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import peers
import torch
from shapes import Shape
from torch import Tensor, nn

from jielong.core import config as configs
from jielong.core.allocator import keep_freed_memory
from jielong.core.files import atomic_writer, sha256_file
from jielong.core.recipes import recipe_path
from jielong.core.run_dir import open_finished, read_metrics
from jielong.core.seeds import derive, generator
from jielong.data.shards import Shard, window_rows
from jielong.evaluation import plots
from jielong.generation.loading import load_transformer
from jielong.objectives.language_model import TokenBatch, next_token_loss
from jielong.objectives.loss import Loss
from jielong.stages import pretrain
from jielong.stages.held_out import BATCHES, held_out_loss
from jielong.stages.lessons import causal, window_parts
from jielong.tokenizer.bpe import Tokenizer

EVALUATIONS = 20
CALIBRATION = 40  # steps; the first half warms up
WARMUP, CLIP, FLOOR = 100, 1.0, 0.1

COLOURS = {"transformers": "sft", "nanogpt": "ppo-ptx", "ours": "ppo"}
"""The colour of each kind of contestant; a name is a kind, a dash, and a rate or a share."""

Sum = Callable[[Any, Any], Loss]


class Result(NamedTuple):
    """What a contestant became: (seconds of training, step, held-out nats a token), in order."""

    parameters: int
    points: list[tuple[float, int, float]]


class Text(NamedTuple):
    """What all train and are measured on, and the recipe that sets the shape."""

    folder: Path
    recipe: pretrain.PretrainConfig
    tokenizer: Tokenizer

    @property
    def shape(self) -> Shape:
        """The shape of the recipe's model and batch."""
        model = self.recipe.model
        vocabulary = self.tokenizer.vocab_size
        return Shape(
            model.n_layer,
            model.width,
            model.n_head,
            self.recipe.window,
            self.recipe.batch,
            vocabulary,
        )

    def held_out(self, model: nn.Module, loss: Sum) -> Callable[[], float]:
        """What measures the mean loss on the windows that `keep_best` has, by the same function."""
        parts = self._parts()
        return held_out_loss(model, lambda step: dataclasses.replace(parts(step), objective=loss))

    def bytes_per_token(self) -> float:
        """Of the targets in those windows; marks between documents have no bytes."""
        sizes = np.array([len(piece) for piece in self.tokenizer.token_bytes])
        batches = [batch for n in range(BATCHES) for batch in self._parts()(n).micro_batches]
        targets = torch.cat([batch.ids[:, 1:].flatten() for batch in batches]).numpy()
        return float(sizes[targets].mean())

    def _parts(self) -> Callable[[int], Any]:
        tokens = Shard.load(self.folder / "valid.npz").tokens
        seed = derive(self.recipe.seed, "held out")
        return window_parts(tokens, causal(self.recipe.window), self.recipe.batch, seed)


class Peer(NamedTuple):
    """A model that is not ours, what moves it, and where its rows come from."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    rows: Iterator[Tensor]


def transformers_peer(text: Text, rate: float) -> Peer:
    """Llama with the width inside that ours has, and windows that each epoch shuffles."""
    shape = text.shape
    model = peers.llama(shape, text.recipe.model.ffn_width)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": 0.1},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95), fused=True)
    tokens = Shard.load(text.folder / "train.npz").tokens

    def rows() -> Iterator[Tensor]:
        step = 0
        while True:
            yield torch.from_numpy(window_rows(tokens, shape.tokens + 1, shape.rows, 0, step))
            step += 1

    return Peer(model, optimizer, rows())


def nanogpt_peer(text: Text, rate: float, folder: Path) -> Peer:
    """nanoGPT's model and its own choice of optimizer; windows begin anywhere, each draw anew."""
    shape = text.shape
    model: Any = peers.nanogpt(folder, shape, bias=False)
    optimizer = model.configure_optimizers(0.1, rate, (0.9, 0.99), "cpu")
    tokens = Shard.load(text.folder / "train.npz").tokens
    random = generator(0, "nanogpt")

    def rows() -> Iterator[Tensor]:
        while True:
            starts = random.integers(len(tokens) - shape.tokens, size=shape.rows)
            yield torch.from_numpy(
                np.stack([tokens[i : i + shape.tokens + 1] for i in starts]).astype(np.int64)
            )

    return Peer(model, optimizer, rows())


def train_peer(peer: Peer, rate: float, seconds: float, measure: Callable[[], float]) -> Result:
    """Train for so long; the clock stands still while the held-out loss is measured."""
    loss = peers.loss_of(peer.model)
    points: list[tuple[float, int, float]] = []
    clock, step, warm_s = 0.0, 0, 0.0
    peer.model.train()
    while clock < seconds:
        started = time.perf_counter()
        if step < WARMUP:
            share, warm_s = (step + 1) / (WARMUP + 1), clock
        else:
            way = (clock - warm_s) / (seconds - warm_s)
            share = FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * way)) / 2
        for group in peer.optimizer.param_groups:
            group["lr"] = rate * share
        loss(next(peer.rows)).backward()
        nn.utils.clip_grad_norm_(peer.model.parameters(), CLIP)
        peer.optimizer.step()
        peer.optimizer.zero_grad(set_to_none=True)
        clock += time.perf_counter() - started
        step += 1
        if clock >= min(1.0, (len(points) + 1) / EVALUATIONS) * seconds:
            points.append((clock, step, measure()))
    size = sum(parameter.numel() for parameter in peer.model.parameters())
    return Result(parameters=size, points=points)


def run_peer(name: str, text: Text, options: argparse.Namespace) -> Result:
    """One rate of one peer."""
    rate = name.partition("-")[2]
    torch.manual_seed(0)
    if kind(name) == "nanogpt":
        peer = nanogpt_peer(text, float(rate), options.nanogpt)
    else:
        peer = transformers_peer(text, float(rate))
    mean = peers.loss_of(peer.model)

    def total(_module: nn.Module, batch: TokenBatch) -> Loss:
        items = batch.ids[:, 1:].numel()
        return Loss(mean(batch.ids) * items, torch.tensor(items))

    measure = text.held_out(peer.model, total)
    return train_peer(peer, float(rate), 60 * options.minutes, measure)


def run_ours(text: Text, seconds: float) -> Result:
    """The stage itself, with the steps that fill so many seconds."""
    with tempfile.TemporaryDirectory() as folder:
        calibration = dataclasses.replace(
            text.recipe, run_dir=f"{folder}/calibration", steps=CALIBRATION
        )
        times = [line["step_s"] for line in read_metrics(pretrain.run(calibration))]
        steps = round(seconds / statistics.median(times[CALIBRATION // 2 :]))
        config = dataclasses.replace(
            text.recipe,
            run_dir=f"{folder}/run",
            steps=max(steps, CALIBRATION),
            save_every=max(1, steps // EVALUATIONS),
            keep_best=True,
        )
        run = pretrain.run(config)
        points: list[tuple[float, int, float]] = []
        clock = 0.0
        for line in read_metrics(run):
            clock += line["step_s"]
            if "held_out_loss" in line:
                points.append((clock, line["step"], line["held_out_loss"]))
        model = load_transformer(run, "causal").model
        found, least = text.held_out(model, next_token_loss)(), min(point[2] for point in points)
        # What we measure for others is what the stage measured for ours.
        assert math.isclose(found, least, rel_tol=1e-4), (found, least)
        size = sum(parameter.numel() for parameter in model.parameters())
        return Result(parameters=size, points=points)


def run_one(name: str, text: Text, options: argparse.Namespace) -> None:
    """One contestant, in the process that was started for it; writes its file."""
    torch.set_num_threads(options.threads)
    if kind(name) == "ours":
        result = run_ours(text, 60 * options.minutes * options.share)
    else:
        keep_freed_memory()
        result = run_peer(name, text, options)
    bits = 1 / math.log(2) / text.bytes_per_token()
    points = [
        {"training_s": clock, "step": step, "nats_per_token": nats, "bits_per_byte": nats * bits}
        for clock, step, nats in result.points
    ]
    values = {
        "settings": settings(name, text, options),
        "parameters": result.parameters,
        "points": points,
    }
    with atomic_writer(options.out / f"{name}.json") as file:
        file.write(json.dumps(values, indent=1).encode())


def kind(name: str) -> str:
    """Whose a contestant is."""
    return name.partition("-")[0]


def settings(name: str, text: Text, options: argparse.Namespace) -> dict[str, Any]:
    """All that a contestant's result hangs on, the machine's speed aside; as JSON has it."""
    found: dict[str, Any] = {
        "minutes": options.minutes,
        "threads": options.threads,
        "torch": torch.__version__,
        "train_sha256": sha256_file(text.folder / "train.npy"),
        "valid_sha256": sha256_file(text.folder / "valid.npy"),
        "shape": [*text.shape, text.recipe.model.ffn_width],
    }
    if kind(name) == "ours":
        recipe = configs.to_dict(text.recipe)
        found |= {key: value for key, value in recipe.items() if key not in ("run_dir", "data")}
        found["share"] = options.share
    return json.loads(json.dumps(found))


def run_all(text: Text, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Every contestant's result by its name, of those that are there already too."""
    kinds = (["nanogpt"] if options.nanogpt else []) + ["transformers"]
    names = [f"{kind}-{rate}" for kind in kinds for rate in options.rates]
    results = {}
    for name in [*names, f"ours-{options.share}"]:
        path = options.out / f"{name}.json"
        if not path.exists():
            print(f"{name} ...", flush=True)
            command = [sys.executable, __file__, *sys.argv[1:], "--contestant", name]
            if subprocess.run(command, check=False).returncode:
                sys.exit(f"{name}: ended with the error above; the same command goes on")
        results[name] = json.loads(path.read_text(encoding="utf-8"))
        if results[name]["settings"] != settings(name, text, options):
            sys.exit(f"{path}: was made with other settings: remove it, or choose another --out")
    return results


def lowest(result: dict[str, Any]) -> float:
    """The least held-out loss that was measured."""
    return min(point["nats_per_token"] for point in result["points"])


def report(results: dict[str, dict[str, Any]]) -> None:
    """Print a line for each contestant, and how long ours took for the others' losses."""
    print(f"{'':20} parameters    steps  seconds  nats/token  bits/byte")
    for name, result in results.items():
        best = min(result["points"], key=lambda point: point["nats_per_token"])
        last = result["points"][-1]
        print(
            f"{name:20} {result['parameters'] / 1e6:9.2f}M {last['step']:8,}"
            f" {last['training_s']:8.0f} {best['nats_per_token']:11.4f}"
            f" {best['bits_per_byte']:10.4f}"
        )
    ours = next(result for name, result in results.items() if kind(name) == "ours")
    for peer in dict.fromkeys(map(kind, results)):
        if peer == "ours":
            continue
        rivals = {name: result for name, result in results.items() if kind(name) == peer}
        name = min(rivals, key=lambda name: lowest(rivals[name]))
        loss, whole = lowest(rivals[name]), rivals[name]["points"][-1]["training_s"]
        reached = [p["training_s"] for p in ours["points"] if p["nats_per_token"] <= loss]
        if reached:
            after = f"after {reached[0]:.0f} s = {reached[0] / whole:.2f} of its {whole:.0f} s"
            print(f"ours reaches the loss of {name}, {loss:.4f}, {after}")
        else:
            least, end = lowest(ours), ours["points"][-1]["training_s"]
            print(
                f"ours does not reach the loss of {name}, {loss:.4f}: {least:.4f} after {end:.0f} s"
            )


def plot(results: dict[str, dict[str, Any]], path: Path) -> None:
    """The curves as a figure that stands alone: light colours and a font instead of a page's."""
    best = {
        kind(name): lowest(result)
        for name, result in sorted(results.items(), key=lambda item: -lowest(item[1]))
    }
    label = "held-out loss, nats a token, by seconds of training"
    with plots.drawing("time-to-loss", 3.6, label) as (figure, drawn):
        axis = figure.subplots()
        for name, result in results.items():
            chosen = lowest(result) == best[kind(name)]
            axis.plot(
                [point["training_s"] for point in result["points"]],
                [point["nats_per_token"] for point in result["points"]],
                color=plots.COLOURS[COLOURS[kind(name)]],
                alpha=1.0 if chosen else 0.3,
                label=name if chosen else None,
            )
        axis.set_title(label)
        axis.legend(frameon=False, labelcolor=plots.COLOURS[plots.INK])
    css = (Path(plots.__file__).parent / "templates" / "report.css").read_text(encoding="utf-8")
    light = dict(re.findall(r"--([\w-]+): (#\w+)", css.partition("@media")[0]))
    svg = re.sub(r"var\(--([\w-]+)\)", lambda match: light[match[1]], drawn())
    style = f'font-family="sans-serif" style="background: {light["paper"]}; '
    path.write_text(svg.replace('style="', style, 1), encoding="utf-8")


def main() -> None:
    """Run who has not run yet, and report; or run one contestant."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tokenize", type=Path, metavar="TOKENIZE")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--share", type=float, default=0.333)
    parser.add_argument("--rates", nargs="+", default=["1e-3", "2e-3", "4e-3"], metavar="RATE")
    parser.add_argument("--nanogpt", type=Path, metavar="FOLDER")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("runs/time-to-loss"))
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder = open_finished(str(options.tokenize), "tokenize").path
    overrides = [f"data={folder}", *options.overrides]
    recipe = configs.load(pretrain.PretrainConfig, recipe_path("small/pretrain"), overrides)
    text = Text(folder, recipe, Tokenizer.load(folder))
    if options.nanogpt:
        peers.nanogpt_file(options.nanogpt)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.contestant:
        run_one(options.contestant, text, options)
        return
    results = run_all(text, options)
    plot(results, options.out / "curves.svg")
    report(results)


if __name__ == "__main__":
    main()
