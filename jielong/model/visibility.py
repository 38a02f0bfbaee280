"""Which positions see which, in one forward pass: order, padding, prefix, documents, cache."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from jielong.model import patterns
from jielong.model.kv_cache import KVCache
from jielong.model.patterns import Pattern


@dataclass(frozen=True)
class Visibility:
    """What the queries of a pass may attend to; each layer's pattern narrows it further.

    `queries` and `keys` are positions, (T,) and (S,) or with a batch (B, T) and (B, S). Without a
    `rule` there is nothing but the order, which kernels know by themselves; `documents` (B, T) is a
    rule that the kernels of sparse patterns know too.
    """

    queries: Tensor
    keys: Tensor
    causal: bool
    rule: Callable[[], Tensor] | None = None
    documents: Tensor | None = None
    _masks: dict[Pattern | None, Tensor | None] = field(default_factory=dict)

    @property
    def is_structured(self) -> bool:
        """Whether a kernel can tell from the pattern, and `documents`, what is seen."""
        return self.rule is None or self.documents is not None

    def mask(self, pattern: Pattern) -> Tensor | None:
        """(B or 1, 1, T, S), True where attended; None is all, or all before in a causal pass."""
        if self.rule is None and pattern.kind == "dense":
            return None
        if pattern not in self._masks:
            self._masks[pattern] = self._narrowed(pattern)
        return self._masks[pattern]

    def _narrowed(self, pattern: Pattern) -> Tensor | None:
        if None not in self._masks:
            self._masks[None] = self.rule()[:, None] if self.rule else None
        rule = self._masks[None]
        if pattern.kind == "dense":
            return rule
        seen = patterns.allowed(pattern, self.queries, self.keys)
        seen = seen[None, None] if seen.dim() == 2 else seen[:, None]
        return seen if rule is None else rule & seen


def look(
    ids: Tensor,
    *,
    causal: bool,
    is_token: Tensor | None = None,
    documents: Tensor | None = None,
    prefix: Tensor | None = None,
    cache: KVCache | None = None,
) -> Visibility:
    """The visibility of `ids` (B, T); see `Transformer.hidden` for the arguments.

    With a cache, it learns here which of its slots hold tokens; the whole prefix has to be among
    `ids`, for what is in the cache already has not seen it.
    """
    assert cache is None or documents is None
    assert cache is None or prefix is None or cache.length == 0
    assert documents is None or (is_token is None and prefix is None)
    places = torch.arange(ids.shape[1], device=ids.device)
    if documents is not None:
        order = _order(places, places, causal)
        within = documents[:, :, None] == documents[:, None, :]
        return Visibility(places, places, causal, lambda: within & order, documents)
    if is_token is None and cache is None:
        if prefix is None:
            return Visibility(places, places, causal)
        seen = _order(places, places, causal) | (places < prefix[:, None])[:, None, :]
        return Visibility(places, places, causal, lambda: seen)
    if cache is not None and prefix is None and cache.length == 0 and _is_whole(is_token):
        # The usual prompt: no mask over all pairs has to be made for it.
        cache.is_token[:, : ids.shape[1]] = True
        return Visibility(places, places, causal)
    return _padded(ids, is_token, prefix, cache, causal=causal)


def _is_whole(is_token: Tensor | None) -> bool:
    return is_token is None or bool(is_token.all())


def _padded(
    ids: Tensor,
    is_token: Tensor | None,
    prefix: Tensor | None,
    cache: KVCache | None,
    *,
    causal: bool,
) -> Visibility:
    if is_token is None:
        is_token = torch.ones_like(ids, dtype=torch.bool)
    start = 0
    if cache is not None:
        start = cache.length
        cache.is_token[:, start : start + ids.shape[1]] = is_token
        is_token = cache.is_token[:, : start + ids.shape[1]]
    positions = (is_token.cumsum(dim=1) - 1).clamp(min=0)
    places = torch.arange(is_token.shape[1], device=ids.device)
    order = _order(places[start:], places, causal)
    if prefix is not None:
        order = order | (positions < prefix[:, None])[:, None, :]
    # A padding row attends to itself alone: softmax over nothing would be NaN.
    itself = places[start:, None] == places
    rule = (order & is_token[:, None, :]) | itself
    return Visibility(positions[:, start:], positions, causal, lambda: rule)


def _order(queries: Tensor, keys: Tensor, causal: bool) -> Tensor:
    before = keys <= queries[:, None]
    return before if causal else torch.ones_like(before)
