"""Which optimizer moves which parameter, and how the rate changes over a run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from jielong.core.sharded import is_part
from jielong.training.muon import Muon

Kind = Literal["sgd", "momentum", "adam", "adamw", "muon"]
Shape = Literal["wsd", "linear", "cosine"]


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """`lr` is the peak rate; with "muon" that of AdamW, and the matrices inside the blocks move at
    `muon_lr`.

    Each kind reads its own settings: `momentum` and `nesterov` are those of "momentum",
    `muon_momentum` Muon's; `beta1`, `beta2` and `eps` belong to the three with Adam in them. The
    rate warms up, then follows `schedule`; `decay_share` is for "wsd" alone.
    """

    kind: Kind = "adamw"
    lr: float
    muon_lr: float = 0.02
    muon_momentum: float = 0.95
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    clip: float = 1.0
    schedule: Shape = "wsd"
    warmup_steps: int = 0
    warmup_from: float = 0.0
    decay_share: float = 0.0
    final_share: float = 0.0

    def __post_init__(self) -> None:
        """Refuse rates that cannot train."""
        for name in ("lr", "muon_lr", "eps", "weight_decay", "clip", "warmup_steps"):
            value = getattr(self, name)
            if value < 0:
                raise ValueError(f"{name}: {value}: must not be negative")
            if not math.isfinite(value):
                raise ValueError(f"{name}: {value}: must be finite")
        for name in ("beta1", "beta2", "momentum", "muon_momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)}: must be at least 0 and below 1")
        for name in ("decay_share", "final_share", "warmup_from"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: {getattr(self, name)}: must lie between 0 and 1")
        if self.nesterov and not (self.kind == "momentum" and self.momentum > 0):
            raise ValueError("nesterov: true: is for the kind 'momentum', with some momentum")
        if self.decay_share and self.schedule != "wsd":
            raise ValueError(
                f"decay_share: {self.decay_share}: the schedule {self.schedule!r} falls from the "
                "warm-up to the end: leave it out, or choose 'wsd'"
            )


def make_optimizers(module: nn.Module, config: OptimizerConfig) -> list[Optimizer]:
    """One optimizer for everything; or Muon for the blocks' matrices, and AdamW for the rest.

    Muon's geometry is that of a linear map between hidden states; embeddings, heads and norms are
    not such maps. Weight decay acts on matrices only. What takes no gradient is left out.
    """
    matrices, embeddings, others = [], [], []
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        if parameter.ndim < 2:
            others.append(parameter)
        elif config.kind == "muon" and "blocks." in name:
            matrices.append(parameter)
        else:
            embeddings.append(parameter)
    groups = [
        {"params": embeddings, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    made = [_make_one(groups, config)] if groups else []
    if matrices:
        made.append(
            Muon(
                matrices,
                lr=config.muon_lr,
                momentum=config.muon_momentum,
                weight_decay=config.weight_decay,
            )
        )
    return made


def _make_one(groups: Sequence[dict[str, Any]], config: OptimizerConfig) -> Optimizer:
    if config.kind in ("sgd", "momentum"):
        momentum = config.momentum if config.kind == "momentum" else 0.0
        nesterov = config.nesterov
        # PyTorch has no fused step of this kind for weights that several processes hold in parts.
        fused = not any(is_part(weight) for group in groups for weight in group["params"])
        return SGD(groups, lr=config.lr, momentum=momentum, nesterov=nesterov, fused=fused)
    adam = Adam if config.kind == "adam" else AdamW
    betas = (config.beta1, config.beta2)
    return adam(groups, lr=config.lr, betas=betas, eps=config.eps, fused=True)


@dataclass(frozen=True)
class Schedule:
    """The rate's multiplier: a warm-up from `warmup_from`, then one of three ways to the end.

    - "wsd" (warm-up, stable, decay): flat, and over the last `decay_share` of the steps linearly to
      `final_share`. It does as well as a cosine and does not need to know the end before the
      cool-down begins (arXiv:2405.18392).
    - "linear": from the warm-up straight to `final_share` (as BERT's, arXiv:1810.04805, appendix
      A.2).
    - "cosine": f + (1 - f) (1 + cos(pi t / T)) / 2 of the T steps after the warm-up, f the
      `final_share` (arXiv:1608.03983, eq. 5, without restarts).
    """

    steps: int
    warmup_steps: int = 0
    warmup_from: float = 0.0
    decay_share: float = 0.0
    final_share: float = 0.0
    shape: Shape = "wsd"

    @classmethod
    def of(cls, config: OptimizerConfig, steps: int) -> "Schedule":
        """The schedule a configuration asks for over `steps` steps."""
        return cls(
            steps,
            config.warmup_steps,
            config.warmup_from,
            config.decay_share,
            config.final_share,
            config.schedule,
        )

    def __call__(self, step: int) -> float:
        """The multiplier for step `step` (from 0)."""
        if step < self.warmup_steps:
            return self.warmup_from + (1 - self.warmup_from) * (step + 1) / self.warmup_steps
        left = self.steps - step
        if self.shape == "wsd":
            decay_steps = self.decay_share * self.steps
            if decay_steps and left < decay_steps:
                return self.final_share + (1 - self.final_share) * left / decay_steps
            return 1.0
        height = left / max(1, self.steps - self.warmup_steps)
        if self.shape == "cosine":
            height = (1 - math.cos(math.pi * height)) / 2
        return self.final_share + (1 - self.final_share) * height
