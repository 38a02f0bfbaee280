"""Which optimizer moves which parameter, and how the rate changes over a run."""

from dataclasses import dataclass
from typing import Literal

from torch import nn
from torch.optim import AdamW, Optimizer

from jielong.training.muon import Muon


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """`lr` is AdamW's peak rate; with "muon" the matrices inside the blocks move at `muon_lr`."""

    kind: Literal["muon", "adamw"] = "adamw"
    lr: float
    muon_lr: float = 0.02
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    clip: float = 1.0
    warmup_steps: int = 0
    warmup_from: float = 0.0
    decay_share: float = 0.0
    final_share: float = 0.0

    def __post_init__(self) -> None:
        """Refuse rates that cannot train."""
        for name in ("lr", "muon_lr", "eps", "weight_decay", "clip"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name)}: must not be negative")
        if not 0 <= self.decay_share <= 1:
            raise ValueError(f"decay_share: {self.decay_share}: must lie between 0 and 1")


def make_optimizers(module: nn.Module, config: OptimizerConfig) -> list[Optimizer]:
    """AdamW for everything, or Muon for the blocks' matrices and AdamW for the rest.

    Muon's geometry is that of a linear map between hidden states; embeddings, heads and norms are
    not such maps. Weight decay acts on matrices only.
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
    adam = AdamW(
        [group for group in groups if group["params"]],
        lr=config.lr,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        fused=True,
    )
    if not matrices:
        return [adam]
    return [adam, Muon(matrices, lr=config.muon_lr, weight_decay=config.weight_decay)]


@dataclass(frozen=True)
class Schedule:
    """The rate's multiplier: a warm-up from `warmup_from`, flat, a decay to `final_share`.

    The flat part with a linear cool-down (arXiv:2405.18392) does as well as a cosine and does not
    need to know the end before the cool-down begins.
    """

    steps: int
    warmup_steps: int = 0
    warmup_from: float = 0.0
    decay_share: float = 0.0
    final_share: float = 0.0

    @classmethod
    def of(cls, config: OptimizerConfig, steps: int) -> "Schedule":
        """The schedule a configuration asks for over `steps` steps."""
        return cls(
            steps, config.warmup_steps, config.warmup_from, config.decay_share, config.final_share
        )

    def __call__(self, step: int) -> float:
        """The multiplier for step `step` (from 0)."""
        if step < self.warmup_steps:
            return self.warmup_from + (1 - self.warmup_from) * (step + 1) / self.warmup_steps
        decay_steps = self.decay_share * self.steps
        left = self.steps - step
        if decay_steps and left < decay_steps:
            return self.final_share + (1 - self.final_share) * left / decay_steps
        return 1.0
