"""The norm of a model, as its configuration names it."""

from torch import Tensor, nn

from jielong.model.config import ModelConfig


class RMSNorm(nn.RMSNorm):
    """The norm in the gain's own type: under autocast what comes in may be half as wide."""

    def forward(self, x: Tensor) -> Tensor:
        """`x` (..., C) -> (..., C)."""
        return super().forward(x.to(self.weight.dtype))


def make_norm(config: ModelConfig) -> nn.RMSNorm | nn.LayerNorm:
    """x / rms(x) (arXiv:1910.07467) or (x - mean) / std + bias (arXiv:1607.06450), times a gain."""
    kind = RMSNorm if config.norm == "rms" else nn.LayerNorm
    return kind(config.width, eps=config.norm_eps)
