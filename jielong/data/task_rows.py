"""Examples of a task with right answers, and how each kind of task becomes rows of tokens.

    classification    <bos> text <eos>
    similarity        <bos> first $ second <eos>,  <bos> second $ first <eos>
    entailment        <bos> premise $ hypothesis <eos>
    choice            <bos> context $ choice <eos>  for each choice

(Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training", figure 1.) The
delimiter $ and <eos> are tokens that pretraining has not seen, as they were in GPT-1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jielong.core import json_lines
from jielong.core.errors import DataError
from jielong.core.seeds import generator
from jielong.data.lexicon import Lexicon
from jielong.data.tasks import category
from jielong.data.tasks.base import Split
from jielong.tokenizer.bpe import Tokenizer

Kind = Literal["classification", "similarity", "entailment", "choice"]
_TEXTS: dict[Kind, tuple[str, ...]] = {
    "classification": ("text",),
    "similarity": ("first", "second"),
    "entailment": ("premise", "hypothesis"),
    "choice": ("context",),
}


@dataclass(frozen=True)
class Example:
    """The texts of each row, and the right answer: a label, or the number of a row from 0."""

    rows: tuple[tuple[str, ...], ...]
    label: str


def read_examples(path: Path, kind: Kind) -> list[Example]:
    """The examples of a JSONL file; raises `DataError` naming file, line and field.

    A line has the texts of its kind and `label`: {"text": .., "label": ..}, {"first": .., "second":
    ..}, {"premise": .., "hypothesis": ..}, {"context": .., "choices": [..], "label": 0}.
    """
    found = [_example(value, kind, where) for where, value in json_lines.read(path)]
    if not found:
        raise DataError(f"{path}: empty: write one example a line")
    return found


def word_examples(lexicon: Lexicon, split: Split, seed: int) -> list[Example]:
    """Words, and the one field that each belongs to (the task family `category`)."""
    items = category.items(lexicon, split, seed)
    found = [
        Example(((item.meta["word"],),), item.answers[0])
        for item in items
        if len(item.answers) == 1
    ]
    if not found:
        raise DataError(f"lexicon: no {split} words of known fields: add the source thuocl")
    return found


def _example(record: Any, kind: Kind, where: str) -> Example:  # noqa: ANN401 - what JSON gave
    fields = (*_TEXTS[kind], *(("choices",) if kind == "choice" else ()), "label")
    if not isinstance(record, dict) or set(record) != set(fields):
        has = ", ".join(sorted(record)) if isinstance(record, dict) else type(record).__name__
        raise DataError(f"{where}: has {has or 'nothing'}: a {kind} line has {', '.join(fields)}")
    texts = tuple(_text(record[name], where, name) for name in _TEXTS[kind])
    label = record["label"]
    if kind == "choice":
        choices = record["choices"]
        if not isinstance(choices, list) or len(choices) < 2:
            raise DataError(f"{where}: choices: expected a list of at least two texts")
        rows = tuple((*texts, _text(c, where, f"choices[{i}]")) for i, c in enumerate(choices))
        if type(label) is not int or not 0 <= label < len(choices):
            raise DataError(f"{where}: label: {label!r}: give the right choice's number, from 0")
        return Example(rows, str(label))
    if isinstance(label, bool | float) or not isinstance(label, str | int) or label == "":
        raise DataError(f"{where}: label: {label!r}: give a word or a whole number")
    return Example((texts, texts[::-1]) if kind == "similarity" else (texts,), str(label))


def _text(value: Any, where: str, name: str) -> str:  # noqa: ANN401 - what JSON gave
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: {name}: expected text that is not empty")
    return value


@dataclass(frozen=True)
class Encoded:
    """An example as ids: its rows, the number of its label, and whether a text lost its end."""

    rows: tuple[tuple[int, ...], ...]
    label: int
    is_cut: bool


def encode(
    tokenizer: Tokenizer, examples: Sequence[Example], labels: Sequence[str], longest: int
) -> list[Encoded]:
    """The rows of each example, of at most `longest` tokens.

    Where they are too long the longer text of a row loses its end. A label that is not among
    `labels` gets the number -1: it can be asked about, and never be answered.
    """
    numbers = {label: number for number, label in enumerate(labels)}
    special, found = tokenizer.special, []
    for example in examples:
        rows, is_cut = [], False
        for texts in example.rows:
            pieces = tokenizer.encode_batch(texts)
            room = longest - len(pieces) - 1  # <bos>, the delimiters, <eos>
            while sum(map(len, pieces)) > room:
                max(pieces, key=len).pop()
                is_cut = True
            row = [special.bos]
            for i, piece in enumerate(pieces):
                row += [special.delimiter, *piece] if i else piece
            rows.append((*row, special.eos))
        found.append(Encoded(tuple(rows), numbers.get(example.label, -1), is_cut))
    return found


def batch_of(examples: Sequence[Encoded], pad: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids (P, K, T) padded on the right, lengths (P, K), 0 where there is no row, labels (P,)."""
    most = max(len(example.rows) for example in examples)
    longest = max(len(row) for example in examples for row in example.rows)
    ids = np.full((len(examples), most, longest), pad, dtype=np.int64)
    lengths = np.zeros((len(examples), most), dtype=np.int64)
    for i, example in enumerate(examples):
        for j, row in enumerate(example.rows):
            ids[i, j, : len(row)] = row
            lengths[i, j] = len(row)
    return ids, lengths, np.array([example.label for example in examples], dtype=np.int64)


def drawn(examples: Sequence[Encoded], batch: int, seed: int, step: int) -> list[Encoded]:
    """The `step`-th batch: each pass over the examples is in another order."""
    return [examples[place] for place in _places(len(examples), batch, seed, step)]


def _places(count: int, batch: int, seed: int, step: int) -> Iterator[int]:
    orders: dict[int, np.ndarray] = {}
    for index in range(step * batch, (step + 1) * batch):
        epoch, place = divmod(index, count)
        if epoch not in orders:
            orders[epoch] = generator(seed, "examples", epoch).permutation(count)
        yield int(orders[epoch][place])
