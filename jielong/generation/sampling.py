"""How the next token is chosen from the scores over the vocabulary."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from jielong.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """A decoding rule. `temperature` 0 is greedy; `top_p` 1 and `top_k` None keep all tokens."""

    strategy: Literal["greedy", "sample", "beam"] = "sample"
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    max_tokens: int = 128
    seed: int = 0
    beams: int = 4
    length_penalty: float = 1.0
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values outside their range, naming the setting."""
        bounds = {
            "temperature": (self.temperature, 0, 100),
            "top_p": (self.top_p, 0, 1),
            "max_tokens": (self.max_tokens, 1, 1_000_000),
            "top_k": (self.top_k if self.top_k is not None else 1, 1, 1_000_000),
            "beams": (self.beams, 1, 64),
        }
        for name, (value, low, high) in bounds.items():
            if not low <= value <= high:
                raise ConfigError(f"{name}: {value}: must be between {low} and {high}")

    @property
    def is_greedy(self) -> bool:
        """Whether the most probable token is always taken; temperatures near 0 would overflow."""
        return self.strategy == "greedy" or self.temperature < 1e-3 or self.top_p == 0


def keep_top_k(scores: Float[Tensor, "B V"], k: int) -> Float[Tensor, "B V"]:
    """Keep the k largest scores of each row (B, V); the others become -inf (arXiv:1805.04833)."""
    smallest = scores.topk(min(k, scores.shape[-1]), dim=-1).values[..., -1:]
    return scores.masked_fill(scores < smallest, -torch.inf)


def keep_top_p(scores: Float[Tensor, "B V"], p: float) -> Float[Tensor, "B V"]:
    """Keep the fewest most probable tokens whose probabilities reach p (arXiv:1904.09751)."""
    ordered, order = scores.sort(dim=-1, descending=True)
    probabilities = ordered.softmax(dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities
    # The most probable token always stays; a later one goes when those before it already reach p.
    drop = before >= p
    drop[..., 0] = False
    return scores.masked_fill(drop.scatter(-1, order, drop), -torch.inf)


def choose(
    scores: Float[Tensor, "B V"], sampling: Sampling, uniforms: Float[Tensor, "B"]
) -> tuple[Int[Tensor, "B"], Float[Tensor, "B"]]:
    """One token a row (B,) and its log-probability (B,) under the distribution it was drawn from.

    `scores` (B, V) raw; `uniforms` (B,) in [0, 1). The order is temperature, top-k, top-p, as
    the field's processors apply them. Drawing inverts the cumulative distribution in float64, so a
    row's token depends on its own scores and its own uniform only.
    """
    if sampling.is_greedy:
        tokens = scores.argmax(dim=-1)
        logp = scores.log_softmax(dim=-1)
    else:
        scores = scores / sampling.temperature
        if sampling.top_k is not None:
            scores = keep_top_k(scores, sampling.top_k)
        if sampling.top_p < 1:
            scores = keep_top_p(scores, sampling.top_p)
        logp = scores.log_softmax(dim=-1)
        cumulative = logp.double().exp().cumsum(dim=-1)
        targets = uniforms.double()[:, None] * cumulative[:, -1:]
        tokens = torch.searchsorted(cumulative, targets, right=True).squeeze(-1)
        tokens = tokens.clamp(max=scores.shape[-1] - 1)
    return tokens, logp.gather(-1, tokens[:, None]).squeeze(-1)
