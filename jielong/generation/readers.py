"""How each kind of model reads: the transformers, and every model that came before them.

A continuation needs two things of a model: the scores of the next token once some ids were read,
and that rows of a batch may leave or fork. A `Reader` is that, with whatever the model remembers
inside: keys and values, a recurrent state, the last few tokens, or a prepared answer.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

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
        """The ids of the answer to what the user said last, or to all of a text without turns."""
        special = self.tokenizer.special
        turns = [place for place, token in enumerate(ids) if token == special.user]
        said = ids[turns[-1] + 1 :] if turns else ids
        text = self.table.answer(self.tokenizer.decode(said), max(1, len(turns)))
        return [*self.tokenizer.encode(text), special.eos]


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
            return _HistoryReader(partial(_ngram_scores, model.ngram))
        case RuleSpeaker():
            return _HistoryReader(partial(_rule_scores, model))


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

    In a conversation it is the last thing that the user said.
    """

    def __init__(self, model: Seq2Seq, special: SpecialTokens) -> None:
        self.model, self.special = model, special
        self.device = model.embedding.weight.device
        self.source: Source | None = None

    def read(self, ids: Tensor, is_token: Tensor | None = None) -> Tensor:
        if self.source is None:
            assert is_token is not None
            turns_to_come = (ids == self.special.user).flip(1).cumsum(dim=1).flip(1)
            is_word = ~torch.isin(ids, torch.tensor(self.special))
            is_source = is_token & is_word & (turns_to_come == 0)
            if not is_source.any(dim=1).all():
                raise DataError("prompt: empty: give a sentence to work on")
            source, is_source = _ended(ids, is_source, self.special.eos)
            self.source = self.model.read(source.to(self.device), is_source.to(self.device))
            ids = torch.full((len(ids), 1), self.special.bos)
        hidden = self.model.write(ids.to(self.device), self.source)
        return self.model.logits(hidden[:, -1])

    def select(self, rows: Tensor) -> None:
        assert self.source is not None
        self.source.select(rows)


class _HistoryReader:
    """Remembers each row's prompt and what was said since, and asks for the scores (V,) anew."""

    def __init__(self, scores: Callable[[list[int], list[int]], Tensor]) -> None:
        self.scores = scores
        self.rows: list[tuple[list[int], list[int]]] = []

    def read(self, ids: Tensor, is_token: Tensor | None = None) -> Tensor:
        if self.rows:
            self.rows = [
                (prompt, [*said, *new])
                for (prompt, said), new in zip(self.rows, ids.tolist(), strict=True)
            ]
        else:
            kept = torch.ones_like(ids, dtype=torch.bool) if is_token is None else is_token
            self.rows = [(row[mask].tolist(), []) for row, mask in zip(ids, kept, strict=True)]
        return torch.stack([self.scores(prompt, said) for prompt, said in self.rows])

    def select(self, rows: Tensor) -> None:
        self.rows = [self.rows[row] for row in rows.tolist()]


def _ended(ids: Tensor, is_token: Tensor, eos: int) -> tuple[Tensor, Tensor]:
    """Sources (B, S) padded on the left, with `<eos>` after each: (B, S + 1)."""
    last = torch.full_like(ids[:, :1], eos)
    return torch.cat([ids, last], 1), torch.cat([is_token, torch.ones_like(last).bool()], 1)


def _ngram_scores(model: NgramModel, prompt: list[int], said: list[int]) -> Tensor:
    history = [*prompt, *said]
    p = model.distribution(history[max(0, len(history) - model.order + 1) :])
    return torch.from_numpy(p).log().float()


def _rule_scores(model: RuleSpeaker, prompt: list[int], said: list[int]) -> Tensor:
    answer = model.answer(prompt)
    scores = torch.full((model.tokenizer.vocab_size,), -torch.inf)
    scores[answer[min(len(said), len(answer) - 1)]] = 0.0
    return scores
