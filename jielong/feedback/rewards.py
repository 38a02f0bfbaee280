"""Rewards: anything that gives each answer a number.

A reward sees the tokens and the text, so it may be a trained model, a Python function, or a checker
that knows the right answers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from jielong.core.errors import DataError
from jielong.model.heads import ScalarModel


@dataclass(frozen=True)
class Answers:
    """B answers to be judged: rows of `ids` (B, T) with `lengths` (B,), their `texts`, whether they
    `finished` by themselves, and what is known of each prompt (`prompts`)."""

    ids: Tensor
    lengths: Tensor
    texts: Sequence[str]
    finished: Sequence[bool]
    prompts: Sequence[Any] = field(default_factory=tuple)


@runtime_checkable
class Reward(Protocol):
    """Scores (B,) float32; higher is better."""

    def __call__(self, answers: Answers) -> Tensor:
        """Score all rows."""
        ...


@dataclass(frozen=True)
class ModelReward:
    """A trained reward model, read at each row's last real token."""

    model: ScalarModel
    micro_batch: int = 128

    @torch.no_grad()
    def __call__(self, answers: Answers) -> Tensor:
        """Score all rows."""
        parts = zip(
            answers.ids.split(self.micro_batch),
            answers.lengths.split(self.micro_batch),
            strict=True,
        )
        return torch.cat([self.model.rewards(ids, lengths) for ids, lengths in parts])


@dataclass(frozen=True)
class FunctionReward:
    """A plain function of (prompt, text, finished)."""

    function: Callable[[Any, str, bool], float]

    def __call__(self, answers: Answers) -> Tensor:
        """Score all rows; raises `DataError` when the function gives no finite number."""
        rows = zip(answers.prompts, answers.texts, answers.finished, strict=True)
        scores = [self.function(prompt, text, done) for prompt, text, done in rows]
        result = torch.tensor(scores, dtype=torch.float32, device=answers.ids.device)
        if not bool(result.isfinite().all()):
            bad = int((~result.isfinite()).nonzero()[0, 0])
            raise DataError(
                f"reward: {scores[bad]} for the answer {answers.texts[bad][:60]!r}: "
                "return a finite number for every answer"
            )
        return result


def apply_no_eos_rule(scores: Tensor, finished: Tensor, rule: str, amount: float) -> Tensor:
    """What an answer that was cut short is worth, (B,).

    `rule` "none": as scored; "set": a fixed -`amount`; "subtract": its score less `amount`.
    """
    if rule == "set":
        return torch.where(finished, scores, torch.full_like(scores, -amount))
    if rule == "subtract":
        return scores - amount * (~finished)
    if rule != "none":
        raise ValueError(f"no_eos: {rule!r}: choose none, set or subtract")
    return scores
