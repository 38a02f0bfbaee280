"""What a model makes of a text, in numbers for a page: predictions, logit lens, attention, kin.

A model that reads from left to right is asked at each position for the next token; one that sees
both ways, for the token that stands there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from jielong.core.errors import ConfigError
from jielong.evaluation.inspect_trace import Trace, trace
from jielong.generation.loading import Trained
from jielong.model.transformer import Transformer
from jielong.tokenizer.bpe import Tokenizer
from jielong.tokenizer.commands import visible

MOST = 100
"""Tokens that still make a page one can read."""


@dataclass(frozen=True)
class Token:
    """One token of the text: how to show it, and of which characters it is a part, if of such."""

    id: int
    text: str
    part_of: str = ""


@dataclass(frozen=True)
class Guess:
    """A token, and how probable it is or how near to another."""

    token: Token
    value: float


@dataclass(frozen=True)
class Truth:
    """The token that did stand there: its log-probability, and its place among all, from 1."""

    token: Token
    logp: float
    rank: int

    @property
    def probability(self) -> float:
        """How probable the model found it."""
        return math.exp(self.logp)

    @property
    def bits(self) -> float:
        """How surprising it is: -log2 p."""
        return -self.logp / math.log(2)


@dataclass(frozen=True)
class Reading:
    """What the scores say at one position: the likeliest tokens, and the true one if known."""

    best: tuple[Guess, ...]
    truth: Truth | None


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """All that the page shows.

    `readings` has one entry a position, `lens[position]` one for each state from the embedding to
    the last layer. `text_tokens` is how many tokens the text has, which may be more than are shown;
    `text_bytes` are those of the tokens that were asked for.
    """

    name: str
    model: Transformer
    tokens: tuple[Token, ...]
    text_tokens: int
    text_bytes: int
    readings: tuple[Reading, ...]
    lens: tuple[tuple[Reading, ...], ...]
    attention: Float[Tensor, "L H T T"]
    neighbours: tuple[tuple[Token, tuple[Guess, ...]], ...]

    @property
    def is_causal(self) -> bool:
        """Whether a reading is about the next token, not about the one that stands there."""
        return not self.model.config.bidirectional

    @property
    def surprises(self) -> tuple[float | None, ...]:
        """Bits of each token of the text; none for what the text begins with."""
        bits = [reading.truth.bits if reading.truth else None for reading in self.readings]
        return (None, *bits[:-1]) if self.is_causal else tuple(bits)


def inspect_text(assistant: Trained[Transformer], text: str, best: int = 5) -> Inspection:
    """Read `text` with a model, as far as a page and the model's context go.

    `best` is how many tokens each list holds. Raises `ConfigError` when that is none or too many.
    """
    model, tokenizer = assistant.model, assistant.tokenizer
    if not 1 <= best < model.config.vocab_size:
        raise ConfigError(f"best: {best}: must be from 1 to {model.config.vocab_size - 1}")
    whole = tokenizer.prompt(text)
    most = min(MOST, model.config.context)
    ids = whole[:most]
    found = trace(model, ids)
    name = Names(tokenizer)
    targets = ids if model.config.bidirectional else [*ids[1:], None]
    return Inspection(
        name=assistant.name,
        model=model,
        tokens=tuple(name.in_text(whole[: most + 3])[:most]),  # 3 complete any character
        text_tokens=len(whole),
        text_bytes=len(tokenizer.decode_bytes(i for i in targets if i is not None)),
        readings=tuple(read(found.scores, targets, best, name)),
        lens=tuple(zip(*_lens(model, found, targets, name), strict=True)),
        attention=found.attention.cpu(),
        neighbours=tuple(_neighbours(model, ids, best, name)),
    )


class Names:
    """How tokens are written on a page."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._bytes = tokenizer.token_bytes
        self._special = {i: f"<{name}>" for name, i in tokenizer.special._asdict().items()}

    def __call__(self, token: int) -> Token:
        """A token by itself; one that stands for no bytes goes by its number."""
        content = self._bytes[token] if token < len(self._bytes) else b""
        return Token(token, self._special.get(token) or visible(content) or f"<{token}>")

    def in_text(self, ids: Sequence[int]) -> list[Token]:
        """The tokens of a text, with the characters that some hold only a part of."""
        contents = [self._bytes[i] for i in ids]
        whole = b"".join(contents)
        tokens, start = [], 0
        for i, content in zip(ids, contents, strict=True):
            end = start + len(content)
            first, last = start, end
            while first > 0 and _is_inside(whole, first):
                first -= 1
            while _is_inside(whole, last):
                last += 1
            is_part = bool(content) and (first, last) != (start, end)
            characters = whole[first:last].decode("utf-8", errors="replace") if is_part else ""
            tokens.append(Token(i, self(i).text, characters))
            start = end
        return tokens


def read(
    scores: Float[Tensor, "T V"], targets: Sequence[int | None], best: int, name: Names
) -> list[Reading]:
    """The `best` likeliest tokens of each position, and how its target did."""
    logp = scores.float().log_softmax(dim=-1)
    top = logp.topk(best, dim=-1)
    readings = []
    for row, target in enumerate(targets):
        pairs = zip(top.indices[row].tolist(), top.values[row].tolist(), strict=True)
        guesses = tuple(Guess(name(token), math.exp(value)) for token, value in pairs)
        truth = None
        if target is not None:
            at_target = logp[row, target]
            rank = 1 + int((logp[row] > at_target).sum())
            truth = Truth(name(target), float(at_target), rank)
        readings.append(Reading(guesses, truth))
    return readings


@torch.no_grad()
def _lens(
    model: Transformer, found: Trace, targets: Sequence[int | None], name: Names
) -> list[list[Reading]]:
    """What each state would say if the scores were read from it: with the final norm and the head.

    The logit lens (nostalgebraist, 2020). One state at a time: all scores of a deep model with a
    large vocabulary would not fit.
    """
    return [read(model.logits(model.norm(state)), targets, 1, name) for state in found.states]


@torch.no_grad()
def _neighbours(
    model: Transformer, ids: Sequence[int], best: int, name: Names
) -> list[tuple[Token, tuple[Guess, ...]]]:
    """The tokens whose embeddings point the same way, for each different token of the text."""
    weight = model.embedding.weight
    rows, lengths = list(dict.fromkeys(ids)), weight.norm(dim=-1).clamp(min=1e-12)
    near = weight[rows] @ weight.T / (lengths[rows, None] * lengths)
    near[range(len(rows)), rows] = -torch.inf
    top = near.topk(best, dim=-1)
    lists = zip(rows, top.indices.tolist(), top.values.tolist(), strict=True)
    return [
        (name(row), tuple(Guess(name(i), v) for i, v in zip(tokens, cosines, strict=True)))
        for row, tokens, cosines in lists
    ]


def _is_inside(text: bytes, place: int) -> bool:
    """Whether a character goes on at `place`."""
    return place < len(text) and text[place] & 0xC0 == 0x80
