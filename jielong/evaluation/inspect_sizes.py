"""`jielong sizes`: the parameters, FLOPs and memory of models, finished, planned or published."""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jielong.core import config as configs
from jielong.core.errors import ConfigError
from jielong.evaluation.markup import quantity
from jielong.generation.loading import GGUF, find_model, read_shape
from jielong.model.config import ModelConfig
from jielong.model.published import PUBLISHED, Published
from jielong.model.sizes import TRAINING, forward_flops, memory, parameters
from jielong.tokenizer.bpe import FILE, Tokenizer

CONVENTIONS = (
    "FLOPs: for one token of a full context, on average. A multiply and an add are 2; keys that a "
    "position cannot see are not counted (arXiv:2204.02311, appendix B, counts them); training is "
    f"{TRAINING} times forward.",
    "Memory: float32. To train takes weights, gradients and AdamW's two moments, and an estimated "
    "amount of activations for each token of a batch. The KV cache grows with each token read or "
    "generated.",
)


@dataclass(frozen=True)
class Sized:
    """A model to be measured, and what its paper says if it has one."""

    name: str
    config: ModelConfig
    published: Published | None = None


def find(names: Sequence[str], vocab_size: int | None = None) -> list[Sized]:
    """What each name means: a recipe, a model, or the start of a published name; all without one.

    `vocab_size` serves recipes whose tokenizer has not been made.
    """
    return [found for name in names or [""] for found in _find(name, vocab_size)]


def print_sizes(models: Iterable[Sized], console: Console) -> None:
    """Two tables, and what they rest on."""
    models = list(models)
    console.print(_parameter_table(models))
    console.print()
    console.print(_cost_table(models))
    for line in _notes(models):
        console.print(Text(line, style="dim"))


def _find(name: str, vocab_size: int | None) -> list[Sized]:
    path = Path(name)
    if name and (path.is_dir() or path.suffix == GGUF):
        place, called = find_model(path)
        return [Sized(called, read_shape(place))]
    if name and (path.suffix == ".toml" or path.exists()):
        return [Sized(path.stem, _planned(path, vocab_size))]
    found = [Sized(p.name, p.config, p) for p in PUBLISHED if p.name.startswith(name.lower())]
    if found:
        return found
    known = [p.name for p in PUBLISHED]
    close = difflib.get_close_matches(name.lower(), known, n=1)
    fix = f"did you mean {close[0]}?" if close else f"published ones are {', '.join(known)}"
    raise ConfigError(f"{name}: no recipe, no model, no published name: {fix}")


def _planned(recipe: Path, vocab_size: int | None) -> ModelConfig:
    """The model of a recipe; the size of its vocabulary is known when its tokenizer is."""
    values = configs.read(recipe)
    if not isinstance(values.get("model"), dict):
        raise ConfigError(f"{recipe}: has no [model]: give a recipe for pretraining, or a model")
    told: dict[str, Any] = {}
    if objective := values.get("objective"):
        told = {"objective": objective, "bidirectional": objective == "masked"}
    shape = configs.parse(ModelConfig, values["model"] | told, "model")
    if shape.vocab_size:
        return shape
    file = Path(str(values.get("data", ""))) / FILE
    if vocab_size is None and file.is_file():
        vocab_size = Tokenizer.load(file).vocab_size
    if vocab_size is None:
        raise ConfigError(
            f"{recipe}: its tokenizer ({file}) is not made yet: run that first, or say how many "
            "entries it will have, as --vocab-size 4096"
        )
    return changed(shape, vocab_size=vocab_size)


def _parameter_table(models: Sequence[Sized]) -> Table:
    rows = _table("parameters", "layers", "width", "heads", "context")
    for part in ("embedding", "attention", "feed-forward", "norms", "head", "in all"):
        rows.add_column(part, justify="right", no_wrap=True)
    is_published = any(model.published for model in models)
    for title in ("paper", "recount") if is_published else ():
        rows.add_column(title, justify="right", no_wrap=True)
    for model in models:
        shape, count = model.config, parameters(model.config)
        heads = f"{shape.n_head}"
        heads += f" / {shape.n_kv_head}" if shape.n_kv_head != shape.n_head else ""
        cells = [model.name, f"{shape.n_layer}", f"{shape.width}", heads, f"{shape.context}"]
        parts = (count.embedding, count.attention, count.feed_forward, count.norms, count.head)
        cells += [quantity(part) if part else "–" for part in parts]
        cells.append(f"{count.total:,}")
        if is_published:
            said = model.published
            cells += [said.paper, said.recount] if said else ["–", "–"]
        rows.add_row(*cells)
    return rows


def _cost_table(models: Sequence[Sized]) -> Table:
    rows = _table("for each token", "forward", "training", "activations", "KV cache")
    for title in ("weights", "to train"):
        rows.add_column(title, justify="right", no_wrap=True)
    for model in models:
        flops, kept = forward_flops(model.config), memory(model.config)
        rows.add_row(
            model.name,
            quantity(flops, "FLOP"),
            quantity(TRAINING * flops, "FLOP"),
            quantity(kept.activations, "B"),
            quantity(kept.kv_cache, "B"),
            quantity(kept.weights, "B"),
            quantity(kept.training, "B"),
        )
    return rows


def _table(first: str, *others: str) -> Table:
    rows = Table(box=None, pad_edge=False, header_style="dim")
    rows.add_column(first, no_wrap=True)
    for title in others:
        rows.add_column(title, justify="right", no_wrap=True)
    return rows


def _notes(models: Sequence[Sized]) -> Iterator[str]:
    yield ""
    yield from CONVENTIONS
    found = [model.published for model in models if model.published]
    for about in dict.fromkeys(said.about for said in found):
        names = [said.name for said in found if said.about == about]
        family = names[0].partition("-")[0] if len(names) > 1 else names[0]
        yield f"{family}: {about}."
    for said in found:
        if said.note:
            yield f"{said.name}: {said.note}."
