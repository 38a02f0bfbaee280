"""One transformer block: attention, what an encoder made if there is one, feed-forward."""

from collections.abc import Callable

from torch import Tensor, nn

from jielong.model.attention import Attention, CrossAttention, Memory
from jielong.model.config import ModelConfig
from jielong.model.feed_forward import FeedForward
from jielong.model.kv_cache import KVCache
from jielong.model.norm import make_norm
from jielong.model.visibility import Visibility


class Block(nn.Module):
    """Each sub-layer f is added back to its input, with a norm n where `norm_place` says.

    pre: x + f(n(x))        post: n(x + f(x))        both: x + n'(f(n(x)))
    """

    def __init__(self, config: ModelConfig, layer: int, *, cross: bool = False) -> None:
        super().__init__()
        self.place = config.norm_place
        self.windowed = config.pattern(layer).kind == "sliding"
        self.attention_norm = make_norm(config)
        self.attention = Attention(config, layer)
        if cross:
            self.cross_norm = make_norm(config)
            self.cross = CrossAttention(config, layer)
        self.feed_forward_norm = make_norm(config)
        self.feed_forward = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)
        if self.place == "both":
            self.attention_after = make_norm(config)
            self.feed_forward_after = make_norm(config)
            if cross:
                self.cross_after = make_norm(config)

    def forward(
        self,
        x: Tensor,
        rotary: tuple[Tensor, Tensor] | None,
        sight: Visibility,
        cache: KVCache | None = None,
        memory: Memory | None = None,
    ) -> Tensor:
        """`x` (B, T, C) -> (B, T, C); the other arguments as in `Attention`."""
        x = self._add("attention", x, lambda y: self.attention(y, rotary, sight, cache))
        if memory is not None:
            x = self._add("cross", x, lambda y: self.cross(y, memory))
        return self._add("feed_forward", x, self.feed_forward)

    def _add(self, name: str, x: Tensor, sub_layer: Callable[[Tensor], Tensor]) -> Tensor:
        norm = getattr(self, f"{name}_norm")
        if self.place == "post":
            return norm(x + self.dropout(sub_layer(x)))
        y = self.dropout(sub_layer(norm(x)))
        return x + (getattr(self, f"{name}_after")(y) if self.place == "both" else y)
