"""Where else the figures of a run go, beside `metrics.jsonl`: programs that others made.

Each is imported when a recipe asks for it. Nothing leaves the machine unless `online` is set.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from jielong.core.errors import ConfigError
from jielong.core.optional import load

Name = Literal["tensorboard", "wandb", "swanlab", "trackio"]
Figures = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """The trackers that a run's figures go `to`, under which `project`; `online` to their servers.

    TensorBoard writes into the run's own directory and knows no projects.
    """

    to: tuple[Name, ...] = ()
    project: str = "jielong"
    online: bool = False


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The run to be tracked: `identity` is the same when it is resumed, `step` where it goes on."""

    folder: Path
    identity: str
    settings: Mapping[str, Any]
    step: int = 0

    @property
    def name(self) -> str:
        """What a person calls it."""
        return self.folder.resolve().name


@runtime_checkable
class Tracker(Protocol):
    """One place that figures go to."""

    def start(self, subject: Subject) -> None:
        """Begin, or go on with a run that was resumed."""
        ...

    def log(self, step: int, figures: Figures) -> None:
        """The figures of one step."""
        ...

    def finish(self) -> None:
        """Write what is still in memory."""
        ...


class TensorBoard:
    """Event files in `RUN/tensorboard`; `tensorboard --logdir RUNS` shows them."""

    def start(self, subject: Subject) -> None:
        """Begin; what was written of steps that are made again is hidden."""
        load("tensorboard", "the tracker 'tensorboard'", extra="tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        folder = str(subject.folder / "tensorboard")
        self._writer = SummaryWriter(folder, purge_step=subject.step + 1 if subject.step else None)

    def log(self, step: int, figures: Figures) -> None:
        """One scalar for each figure."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def finish(self) -> None:
        """Close the file."""
        self._writer.close()


@dataclass
class Hosted:
    """A library with `init`, a run that takes dictionaries, and `finish`, as many have it.

    `options` are what its `init` is given.
    """

    module: str
    options: Callable[[TrackingConfig, Subject], dict[str, Any]]
    config: TrackingConfig

    def start(self, subject: Subject) -> None:
        """Begin; raises `ConfigError` when the library refuses."""
        self._library = load(self.module, f"the tracker {self.module!r}", extra=self.module)
        try:
            self._library.init(**self.options(self.config, subject))
        except Exception as error:  # noqa: BLE001 - each library raises kinds of its own
            reason = str(error).strip().partition("\n")[0]
            raise ConfigError(
                f"loop.tracking.to: {self.module} cannot start ({reason}): log in to it, set "
                "loop.tracking.online=false, or leave it out"
            ) from None

    def log(self, step: int, figures: Figures) -> None:
        """All figures at once, the step among them: it may go back, which some libraries refuse."""
        self._library.log({"training_step": step, **figures})

    def finish(self) -> None:
        """Wait until all is written or sent."""
        self._library.finish()


def trackers(config: TrackingConfig) -> list[Tracker]:
    """Those that a recipe asks for, not yet started."""
    return [
        TensorBoard() if name == "tensorboard" else Hosted(name, _OPTIONS[name], config)
        for name in config.to
    ]


def log_all(started: Sequence[Tracker], step: int, metrics: Mapping[str, Any]) -> None:
    """Give each tracker the numbers among the metrics."""
    figures = {name: float(v) for name, v in metrics.items() if isinstance(v, int | float)}
    for tracker in started:
        tracker.log(step, figures)


def _wandb(config: TrackingConfig, subject: Subject) -> dict[str, Any]:
    return {
        "project": config.project,
        "name": subject.name,
        "id": subject.identity,
        "resume": "allow",
        "dir": str(subject.folder),
        "config": dict(subject.settings),
        "mode": "online" if config.online else "offline",
    }


def _swanlab(config: TrackingConfig, subject: Subject) -> dict[str, Any]:
    options = {
        "project": config.project,
        "name": subject.name,
        "log_dir": str(subject.folder / "swanlog"),
        "config": dict(subject.settings),
        "mode": "online" if config.online else "offline",
    }
    return options | ({"id": subject.identity, "resume": "allow"} if config.online else {})


def _trackio(config: TrackingConfig, subject: Subject) -> dict[str, Any]:
    return {
        "project": config.project,
        "name": f"{subject.name}-{subject.identity}",
        "config": dict(subject.settings),
        "resume": "allow",
        "embed": False,
    }


_OPTIONS = {"wandb": _wandb, "swanlab": _swanlab, "trackio": _trackio}
