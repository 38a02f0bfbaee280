"""LoRA: to adapt a large model, leave it as it is and learn a small change of some matrices.

h = W x + (alpha / r) B A x,  W (out, in) frozen, B (out, r), A (r, in)    (arXiv:2106.09685, eq. 3)
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jielong.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Which linear layers are adapted, and how.

    `targets` are their names or the ends of them, with `*` for anything: "qkv", "attention.*",
    "blocks.0.*". `dropout` is of what an adapter reads, x.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ("attention.*", "feed_forward.*")

    def __post_init__(self) -> None:
        """Refuse what adapts nothing."""
        if self.rank < 1:
            raise ValueError(f"rank: {self.rank}: must be at least 1")
        if not self.alpha > 0:
            raise ValueError(f"alpha: {self.alpha}: must be above 0")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: {self.dropout}: must be at least 0 and below 1")
        if not self.targets:
            raise ValueError("targets: empty: name the layers to adapt, such as 'attention.*'")

    @property
    def scale(self) -> float:
        """What B A is multiplied by."""
        return self.alpha / self.rank


class LoraLinear(nn.Linear):
    """A linear layer, frozen, with an adapter: its names are those of the layer, and two more.

    A starts as N(0, 1/in), B at zero (ibid., section 4.1): the first step sees the model as it was.
    """

    def __init__(self, linear: nn.Linear, config: LoraConfig) -> None:
        has_bias = linear.bias is not None
        # On "meta" nothing is drawn: the weights are those of the layer.
        super().__init__(linear.in_features, linear.out_features, bias=has_bias, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.config, self.enabled = config, True
        self.dropout = nn.Dropout(config.dropout)
        self.lora_a = nn.Parameter(self.weight.new_empty(config.rank, linear.in_features))
        self.lora_b = nn.Parameter(self.weight.new_zeros(linear.out_features, config.rank))
        nn.init.normal_(self.lora_a, std=linear.in_features**-0.5)
        self.train(linear.training)

    def forward(self, input: Tensor) -> Tensor:
        """`input` (..., in) -> (..., out)."""
        y = super().forward(input)
        if not self.enabled:
            return y
        inner = self.config.scale * F.linear(self.dropout(input), self.lora_a)
        return y + F.linear(inner, self.lora_b)

    def merged(self) -> Tensor:
        """W + (alpha / r) B A, (out, in)."""
        return self.weight + self.config.scale * (self.lora_b @ self.lora_a)


def add_adapters(model: nn.Module, config: LoraConfig) -> None:
    """Freeze the model, and adapt its `targets`."""
    assert not adapters(model), "the model has adapters already"
    chosen = targets(model, config)
    model.requires_grad_(False)
    for name, linear in chosen.items():
        model.set_submodule(name, LoraLinear(linear, config))


def targets(model: nn.Module, config: LoraConfig) -> dict[str, nn.Linear]:
    """The linear layers that `config.targets` name.

    Raises `ConfigError` for a target that names none.
    """
    linears = {name: m for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    for target in config.targets:
        if not any(_is_meant(name, target) for name in linears):
            known = sorted({re.sub(r".*\bblocks\.\d+\.", "", name) for name in linears})
            raise ConfigError(
                f"lora.targets: {target!r}: names no linear layer: there are {', '.join(known)}"
            )
    return {n: m for n, m in linears.items() if any(_is_meant(n, t) for t in config.targets)}


def adapters(model: nn.Module) -> dict[str, LoraLinear]:
    """The adapted layers by name."""
    return {name: m for name, m in model.named_modules() if isinstance(m, LoraLinear)}


@contextmanager
def adapters_off(model: nn.Module) -> Iterator[None]:
    """Inside the block the model is what it was before it was adapted: a reference that costs no
    second copy of the weights."""
    before = {layer: layer.enabled for layer in adapters(model).values()}
    for layer in before:
        layer.enabled = False
    try:
        yield
    finally:
        for layer, enabled in before.items():
            layer.enabled = enabled


@torch.no_grad()
def merged_state(model: nn.Module) -> dict[str, Tensor]:
    """The model's `state_dict`, each adapter added to its matrix: that of a model without any."""
    state = dict(model.state_dict())
    for name, layer in adapters(model).items():
        state[f"{name}.weight"] = layer.merged()
        del state[f"{name}.lora_a"], state[f"{name}.lora_b"]
    return state


def _is_meant(name: str, target: str) -> bool:
    return fnmatchcase(name, target) or fnmatchcase(name, f"*.{target}")
