"""How each kind of model reads: the transformers, and every model that came before them.

A continuation needs two things of a model: the scores of the next token once some ids were read,
and that rows of a batch may leave or fork. A `Reader` is that, with whatever the model remembers
inside: keys and values, a recurrent state, the last few tokens, or a prepared answer.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from jielong.baselines.ngram import NgramModel
from jielong.baselines.recurrent import Recurrent, RecurrentState
from jielong.baselines.rules import RuleTable
from jielong.baselines.seq2seq import Seq2Seq, Source
from jielong.core.errors import DataError
from jielong.model.attention import Memory
from jielong.model.encoder_decoder import EncoderDecoder
from jielong.model.kv_cache import KVCache
from jielong.model.transformer import Transformer
from jielong.tokenizer.bpe import Tokenizer
from jielong.tokenizer.special_tokens import SpecialTokens

NO_LIMIT = 1_000_000
"""The context, in tokens, of what has none of its own."""


@runtime_checkable
class Reader(Protocol):
    """A batch of texts that is being read."""

    def read(self, ids: Tensor, is_token: Tensor | None = None) -> Tensor:
        """Read on (B, T); the scores (B, V) of what comes next.

        The first call reads the prompts, padded on the left, where `is_token` (B, T) is False.
        """
        ...

    def select(self, rows: Tensor) -> None:
        """Keep `rows` (B',) of the batch, in that order: finished rows leave, beams fork."""
        ...


class NgramSpeaker(nn.Module):
    """An n-gram model that speaks. Its counts are buffers, so that it can be told from another."""

    def __init__(self, ngram: NgramModel) -> None:
        super().__init__()
        self.ngram = ngram
        for name, array in ngram.counts().items():
            self.register_buffer(name, torch.from_numpy(array))


class RuleSpeaker(nn.Module):
    """A table of rules that speaks: all probability is on the answer that it gives."""

    def __init__(self, table: RuleTable, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.table = table
        self.tokenizer = tokenizer
        self.register_buffer("text", torch.tensor(list(repr(table).encode()), dtype=torch.uint8))

    def answer(self, ids: Sequence[int]) -> list[int]:
        """The ids of the answer to what the user said last, or to all of a text without turns.

        Of an answer that is begun already, those that are left; raises `DataError` when it is
        begun in another way than the table has it.
        """
        special = self.tokenizer.special
        said, begun = (self.tokenizer.decode(part) for part in _last_turn(ids, special))
        text = self.table.answer(said, max(1, list(ids).count(special.user)))
        if not text.startswith(begun):
            raise DataError(
                f"messages: the answer's beginning {begun!r}: the rules say {text!r}: leave it out"
            )
        return [*self.tokenizer.encode(text.removeprefix(begun)), special.eos]


Speaker = Transformer | EncoderDecoder | Recurrent | Seq2Seq | NgramSpeaker | RuleSpeaker


def open_reader(model: Speaker, batch: int, capacity: int, special: SpecialTokens) -> Reader:
    """Begin to read `batch` texts of at most `capacity` tokens each."""
    match model:
        case Transformer():
            return _TransformerReader(model, batch, capacity)
        case EncoderDecoder():
            return _EncoderDecoderReader(model, batch, capacity, special)
        case Recurrent():
            return _RecurrentReader(model)
        case Seq2Seq():
            return _Seq2SeqReader(model, special)
        case NgramSpeaker():
            return _NgramReader(model.ngram)
        case RuleSpeaker():
            return _RuleReader(model)


def context_of(model: Speaker) -> int:
    """How many tokens the model can be given."""
    return NO_LIMIT if isinstance(model, NgramSpeaker | RuleSpeaker) else model.config.context


def writes_apart(model: Speaker) -> bool:
    """Whether the answer begins a text of its own, opened by `<bos>`: the prompt is its source."""
    return isinstance(model, EncoderDecoder | Seq2Seq)


def size_of(model: Speaker) -> str:
    """How large it is, in words."""
    if isinstance(model, NgramSpeaker):
        return f"{model.ngram.entries / 1e6:.1f}M grams of up to {model.ngram.order} tokens"
    if isinstance(model, RuleSpeaker):
        return f"{len(model.table.rules)} rules"
    return f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f}M parameters"


class _TransformerReader:
    """Each step computes one position; keys and values of the others are kept.

    A causal model reads a prompt as it reads all text; a prefix model reads it both ways at once.
    """

    def __init__(self, model: Transformer, batch: int, capacity: int) -> None:
        self.model = model
        self.device = model.embedding.weight.device
        self.cache = KVCache(model.config, batch, capacity, self.device)

    def read(self, ids: Tensor, is_token: Tensor | None = None) -> Tensor:
        ids = ids.to(self.device)
        prefix = None
        if is_token is not None:
            is_token = is_token.to(self.device)
            prefix = is_token.sum(1) if self.model.config.objective == "prefix" else None
        hidden = self.model.hidden(ids, is_token=is_token, prefix=prefix, cache=self.cache)
        return self.model.logits(hidden[:, -1])

    def select(self, rows: Tensor) -> None:
        self.cache.select(rows)


class _EncoderDecoderReader:
    """The prompt, ended by `<eos>`, is the source; the answer begins with `<bos>`."""

    def __init__(
        self, model: EncoderDecoder, batch: int, capacity: int, special: SpecialTokens
    ) -> None:
        self.model, self.special = model, special
        self.device = next(model.parameters()).device
        self.cache = KVCache(model.config, batch, capacity, self.device)
        self.memory: Memory | None = None

    def read(self, ids: Tensor, is_token: Tensor | None = None) -> Tensor:
        if self.memory is None:
            assert is_token is not None
            source, is_source = _ended(ids, is_token, self.special.eos)
            self.memory = self.model.encode(
                source.to(self.device), is_token=is_source.to(self.device)
            )
            ids = torch.full((len(ids), 1), self.special.bos)
        hidden = self.model.hidden(ids.to(self.device), memory=self.memory, cache=self.cache)
        return self.model.logits(hidden[:, -1])

    def select(self, rows: Tensor) -> None:
        assert self.memory is not None
        self.cache.select(rows)
        self.memory = self.memory.select(rows)


class _RecurrentReader:
    def __init__(self, model: Recurrent) -> None:
        self.model = model
        self.device = model.embedding.weight.device
        self.state = RecurrentState()

    def read(self, ids: Tensor, is_token: Tensor | None = None) -> Tensor:
        mask = None if is_token is None else is_token.to(self.device)
        hidden = self.model.hidden(ids.to(self.device), is_token=mask, state=self.state)
        return self.model.logits(hidden[:, -1])

    def select(self, rows: Tensor) -> None:
        self.state.select(rows)


class _Seq2SeqReader:
    """The prompt is the sentence to be read; what comes next is its counterpart, from the start.

    In a conversation it is the last thing that the user said; an answer that is begun goes on.
    """

    def __init__(self, model: Seq2Seq, special: SpecialTokens) -> None:
        self.model, self.special = model, special
        self.device = model.embedding.weight.device
        self.source: Source | None = None

    def read(self, ids: Tensor, is_token: Tensor | None = None) -> Tensor:
        if self.source is None:
            turns = [_last_turn(row, self.special) for row in _rows(ids, is_token)]
            if not all(said for said, _ in turns):
                raise DataError("prompt: empty: give a sentence to work on")
            sentences = [torch.tensor([*said, self.special.eos]) for said, _ in turns]
            source, is_source = (
                pad_sequence(rows, batch_first=True).to(self.device)
                for rows in (sentences, [torch.ones_like(row).bool() for row in sentences])
            )
            self.source = self.model.read(source, is_source)
            return self._begin([[self.special.bos, *begun] for _, begun in turns])
        hidden = self.model.write(ids.to(self.device), self.source)
        return self.model.logits(hidden[:, -1])

    def _begin(self, answers: list[list[int]]) -> Tensor:
        """Write the beginnings, which may be of any lengths: each row by itself."""
        assert self.source is not None
        sources = [self.source.row(row) for row in range(len(answers))]
        hidden = [
            self.model.write(torch.tensor([answer], device=self.device), source)[:, -1]
            for answer, source in zip(answers, sources, strict=True)
        ]
        self.source.memory = torch.cat([source.memory for source in sources], dim=1)
        return self.model.logits(torch.cat(hidden))

    def select(self, rows: Tensor) -> None:
        assert self.source is not None
        self.source.select(rows)


class _NgramReader:
    """Remembers as many of each row's last tokens as the model looks back to."""

    def __init__(self, model: NgramModel) -> None:
        self.model = model
        self.recent: list[list[int]] = []

    def read(self, ids: Tensor, is_token: Tensor | None = None) -> Tensor:
        new = _rows(ids, is_token)
        seen = [a + b for a, b in zip(self.recent or [[]] * len(new), new, strict=True)]
        self.recent = [row[max(0, len(row) - self.model.order + 1) :] for row in seen]
        p = np.stack([self.model.distribution(row) for row in self.recent])
        return torch.from_numpy(p).log().float()

    def select(self, rows: Tensor) -> None:
        self.recent = [self.recent[row] for row in rows.tolist()]


class _RuleReader:
    """Each row's answer is prepared; of what was said since, only the length matters."""

    def __init__(self, model: RuleSpeaker) -> None:
        self.model = model
        self.answers: list[list[int]] = []
        self.said = 0

    def read(self, ids: Tensor, is_token: Tensor | None = None) -> Tensor:
        if self.answers:
            self.said += ids.shape[1]
        else:
            self.answers = [self.model.answer(row) for row in _rows(ids, is_token)]
        scores = torch.full((len(ids), self.model.tokenizer.vocab_size), -torch.inf)
        for row, answer in zip(scores, self.answers, strict=True):
            row[answer[min(self.said, len(answer) - 1)]] = 0.0
        return scores

    def select(self, rows: Tensor) -> None:
        self.answers = [self.answers[row] for row in rows.tolist()]


def _rows(ids: Tensor, is_token: Tensor | None) -> list[list[int]]:
    """The tokens of each row, without its padding."""
    kept = torch.ones_like(ids, dtype=torch.bool) if is_token is None else is_token
    return [row[mask].tolist() for row, mask in zip(ids, kept, strict=True)]


def _last_turn(ids: Sequence[int], special: SpecialTokens) -> tuple[list[int], list[int]]:
    """What the user said last, and how the answer to it begins; a text without turns is said."""
    start = max((place for place, token in enumerate(ids) if token == special.user), default=-1)
    turn = [*ids[start + 1 :], special.assistant]
    end = turn.index(special.assistant)
    said, begun = (
        [token for token in part if token not in special] for part in (turn[:end], turn[end:])
    )
    return said, begun


def _ended(ids: Tensor, is_token: Tensor, eos: int) -> tuple[Tensor, Tensor]:
    """Sources (B, S) padded on the left, with `<eos>` after each: (B, S + 1)."""
    last = torch.full_like(ids[:, :1], eos)
    return torch.cat([ids, last], 1), torch.cat([is_token, torch.ones_like(last).bool()], 1)
