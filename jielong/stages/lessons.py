"""What windows of the corpus teach under each objective: the batch, and its loss.

Everything is a pure function of (configuration, tokens, seed, step).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from jielong.core.device import default_device
from jielong.core.seeds import derive, generator
from jielong.data.shards import window_rows
from jielong.data.words import number_words
from jielong.model.config import Objective
from jielong.objectives.language_model import TokenBatch, next_token_loss
from jielong.objectives.masked import corrupt, masked_loss
from jielong.objectives.prefix import cut_prefixes, prefix_loss
from jielong.objectives.sequence_to_sequence import (
    Marks,
    corrupt_spans,
    cut_in_two,
    span_counts,
    target_loss,
)
from jielong.tokenizer.bpe import Tokenizer
from jielong.training.learner import Part


@dataclass(frozen=True, kw_only=True)
class CorruptionConfig:
    """What is hidden from a masked model, and from an encoder whose `source` is "spans".

    `share` of the tokens; with `whole_words` (masked only) all tokens of a word, else (spans only)
    runs of `span_length` on average. With the `source` "first_part" an encoder reads all that
    stands before some place of the window, and the decoder writes what follows.
    """

    share: float = 0.15
    whole_words: bool = False
    source: Literal["first_part", "spans"] = "first_part"
    span_length: float = 3.0

    def __post_init__(self) -> None:
        """Refuse what hides nothing, or everything."""
        if not 0 < self.share < 1:
            raise ValueError(f"share: {self.share}: must lie between 0 and 1")
        if not self.span_length >= 1:
            raise ValueError(f"span_length: {self.span_length}: must be at least 1")

    def longest(self, window: int) -> int:
        """The tokens of the longer side, source or target, when spans leave a window."""
        taken, spans = span_counts(window, self.share, self.span_length)
        return max(window - taken, taken) + spans + 1  # a mask for each span, and <eos>


class Windows(NamedTuple):
    """`ids` (B, W) of one step, the numbers of their `words` if asked for, and what to draw by."""

    ids: Tensor
    words: Tensor | None
    random: np.random.Generator


@dataclass(frozen=True)
class Lesson:
    """Windows of `width` tokens become a batch, which `loss` scores.

    `words` numbers the words of a corpus, where a lesson needs that.
    """

    width: int
    batch: Callable[[Windows], tuple[Any, ...]]
    loss: Callable[[Any, Any], Any]
    words: Callable[[np.ndarray], np.ndarray] | None = None


def causal(window: int) -> Lesson:
    """Predict every next token."""
    return Lesson(
        window + 1,
        lambda rows: TokenBatch(rows.ids, torch.ones_like(rows.ids, dtype=torch.bool)),
        next_token_loss,
    )


def lesson(
    objective: Objective, window: int, corruption: CorruptionConfig, tokenizer: Tokenizer
) -> Lesson:
    """What a model of this objective learns from a window."""
    if objective == "masked":
        return _masked(window, corruption, tokenizer)
    if objective == "prefix":
        return Lesson(window + 1, lambda rows: cut_prefixes(rows.ids, rows.random), prefix_loss)
    if objective == "encoder_decoder":
        return _source_and_target(window, corruption, tokenizer)
    return causal(window)


def _masked(window: int, corruption: CorruptionConfig, tokenizer: Tokenizer) -> Lesson:
    ordinary = torch.tensor([len(piece) > 0 for piece in tokenizer.token_bytes])

    def batch(rows: Windows) -> tuple[Any, ...]:
        return corrupt(
            rows.ids,
            ordinary=ordinary,
            mask=tokenizer.special.mask,
            random=rows.random,
            words=rows.words,
            share=corruption.share,
        )

    def words(tokens: np.ndarray) -> np.ndarray:
        return number_words(tokens, tokenizer.token_bytes)

    return Lesson(window, batch, masked_loss, words if corruption.whole_words else None)


def _source_and_target(window: int, corruption: CorruptionConfig, tokenizer: Tokenizer) -> Lesson:
    special = tokenizer.special
    marks = Marks(special.pad, special.bos, special.eos, special.mask)

    def parts(rows: Windows) -> tuple[Any, ...]:
        return cut_in_two(rows.ids, marks=marks, random=rows.random)

    def spans(rows: Windows) -> tuple[Any, ...]:
        return corrupt_spans(
            rows.ids,
            marks=marks,
            random=rows.random,
            share=corruption.share,
            length=corruption.span_length,
        )

    return Lesson(window, spans if corruption.source == "spans" else parts, target_loss)


def window_parts(
    tokens: np.ndarray,
    lesson: Lesson,
    batch: int,
    seed: int,
    weight: float = 1.0,
    name: str = "",
) -> Callable[[int], Part]:
    """Windows of plain text as a term of a step: pretraining itself, a share of SFT and PPO-ptx."""
    words = None if lesson.words is None else lesson.words(tokens)
    order = derive(seed, "documents")

    def rows(source: np.ndarray, step: int) -> Tensor:
        return torch.from_numpy(window_rows(source, lesson.width, batch, order, step))

    def part(step: int) -> Part:
        # The same windows of both: where they are cut depends on how many tokens there are.
        numbers = None if words is None else rows(words, step)
        windows = Windows(rows(tokens, step), numbers, generator(seed, "lesson", step))
        return Part([_on_device(lesson.batch(windows))], lesson.loss, weight, name)

    return part


def _on_device(batch: Any) -> Any:  # noqa: ANN401 - any batch of tensors
    device = default_device()
    return type(batch)(*(None if tensor is None else tensor.to(device) for tensor in batch))
