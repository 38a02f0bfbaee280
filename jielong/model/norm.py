"""The norm of a model, as its configuration names it."""

from torch import nn

from jielong.model.config import ModelConfig


def make_norm(config: ModelConfig) -> nn.RMSNorm | nn.LayerNorm:
    """x / rms(x) (arXiv:1910.07467) or (x - mean) / std + bias (arXiv:1607.06450), times a gain."""
    kind = nn.RMSNorm if config.norm == "rms" else nn.LayerNorm
    return kind(config.width, eps=config.norm_eps)
