"""What a run is besides its batches: how long, how it is kept, guarded and watched."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from jielong.core.config import check_positive
from jielong.training.guard import GuardConfig
from jielong.training.speed import Work
from jielong.training.trackers import TrackingConfig


@runtime_checkable
class State(Protocol):
    """What a stage keeps between steps beside the learner, as plain JSON values."""

    def to_dict(self) -> dict[str, Any]:
        """Everything, for a checkpoint."""
        ...

    def from_dict(self, values: Mapping[str, Any]) -> None:
        """Put back what `to_dict` gave."""
        ...


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """The table `loop` of every recipe that trains: the `keep_last` newest checkpoints stay."""

    keep_last: int = 2
    guard: GuardConfig = field(default_factory=GuardConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)

    def __post_init__(self) -> None:
        """Refuse to keep nothing."""
        check_positive(self, "keep_last")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long a run is, how often it is saved, and what else it keeps.

    Checkpoints fall on multiples of `boundary` steps: where `batches` may start from nothing. With
    `held_out_loss` each is measured, the best one stays, and training ends with its weights. The
    metric `headline` is shown; `guarded` is the loss that must not explode, if there is one.
    """

    steps: int
    save_every: int
    boundary: int = 1
    state: State | None = None
    headline: str = "loss"
    guarded: str | None = "loss"
    held_out_loss: Callable[[], float] | None = None
    work: Work | None = None
    loop: LoopConfig = field(default_factory=LoopConfig)

    @property
    def interval(self) -> int:
        """The steps between two checkpoints."""
        return self.boundary * max(1, self.save_every // self.boundary)
