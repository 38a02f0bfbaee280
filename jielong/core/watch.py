"""Live curves of a run in the terminal, read from its directory and nothing else."""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from jielong.core.curves import Point, curve
from jielong.core.errors import ConfigError
from jielong.core.run_dir import METRICS, SAMPLES, RunDir, open_run, read_lines

FIRST = (
    "loss",
    "chat_loss",
    "held_out_loss",
    "reward_mean",
    "gold_mean",
    "kl_nats",
    "gradient_norm",
    "tokens_per_s",
    "utilisation",
    "lr",
)
"""Which curves are shown when nobody chose any, the first that a run has."""

MOST, HEIGHT, LABEL = 4, 8, 10
WIDE = 100
"""Characters of a terminal from which two curves stand side by side."""


@dataclass
class Tail:
    """The lines of a log that grows; what was read once is not read again."""

    path: Path
    lines: list[dict[str, Any]] = field(default_factory=list)
    _place: int = 0
    _file: int = 0

    def read(self) -> list[dict[str, Any]]:
        """All whole lines so far. A resumed run replaces its log: that one is read anew."""
        try:
            with self.path.open("rb") as file:
                found = self.path.stat()
                if found.st_ino != self._file or found.st_size < self._place:
                    self.lines, self._place, self._file = [], 0, found.st_ino
                file.seek(self._place)
                new = file.read()
        except FileNotFoundError:
            return self.lines
        whole = new[: new.rfind(b"\n") + 1]
        self._place += len(whole)
        for line in whole.decode(errors="replace").split("\n"):
            try:
                self.lines.append(json.loads(line))
            except json.JSONDecodeError:  # a kill cut it
                continue
        return self.lines


def watch(
    path: Path, names: Sequence[str] = (), *, once: bool = False, seconds: float = 1.0
) -> None:
    """Draw the curves of a run, or of the stage that a quickstart is at, until it has finished.

    `names` are the metrics to show. `once` draws what there is and ends. Raises `ConfigError` when
    the run has no such metric.
    """
    # In a pipe nobody knows a width; and there a picture that changes has no meaning.
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(highlight=False, width=WIDE)
    tails: dict[Path, Tail] = {}

    def picture() -> tuple[RenderableType, bool]:
        top, run = open_run(path), current(path)
        tail = tails.setdefault(run.path, Tail(run.path / METRICS))
        return draw(run, tail.read(), names, console.width), top.finished

    if once or not console.is_terminal:
        console.print(picture()[0])
        return
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        finished = False
        while not finished:
            shown, finished = picture()
            live.update(shown, refresh=True)
            if not finished:
                time.sleep(seconds)


def current(path: Path) -> RunDir:
    """The run at `path`; of a quickstart, that of its stages which wrote to its log last."""
    run = open_run(path)
    logs = list(path.glob(f"*/{METRICS}")) if run.manifest.get("stage") == "quickstart" else []
    return open_run(max(logs, key=lambda log: log.stat().st_mtime).parent) if logs else run


def draw(
    run: RunDir, lines: Sequence[dict[str, Any]], names: Sequence[str], width: int
) -> RenderableType:
    """Title, curves, what went wrong, and the newest samples."""
    title = f"{run.manifest.get('stage')}  {run.path}  {_state(run, lines)}"
    parts: list[RenderableType] = [Text(title, style="bold")]
    series = {name: found for name in _chosen(lines, names) if (found := points(lines, name))}
    columns = 2 if width >= WIDE and len(series) > 1 else 1
    grid = Table.grid(padding=(0, 2), expand=False)
    charts = [chart(name, found, width // columns - 2) for name, found in series.items()]
    for start in range(0, len(charts), columns):
        grid.add_row(*charts[start : start + columns])
    parts.append(grid)
    for event in run.manifest.get("diverged", ()):
        parts.append(Text(f"step {event['step']}: {event['reason']}: back to {event['back_to']}"))
    samples = read_lines(run.path / SAMPLES)
    newest = [s for s in samples if s["step"] == samples[-1]["step"]]
    for sample in newest[-MOST:]:
        text = f"step {sample['step']}: {sample['prompt']}|{sample['text']}".replace("\n", " ")
        parts.append(Text(text, no_wrap=True, overflow="ellipsis", style="dim"))
    return Group(*parts)


def points(lines: Sequence[dict[str, Any]], name: str) -> list[Point]:
    """(step, value) of each line that has the metric; what is not finite cannot be drawn."""
    return [
        (float(line["step"]), float(line[name]))
        for line in lines
        if isinstance(line.get(name), int | float) and math.isfinite(line[name]) and "step" in line
    ]


def chart(name: str, series: Sequence[Point], width: int) -> Text:
    """One curve with its name, its newest value and its range."""
    values = [y for _, y in series]
    rows = curve(series, max(8, width - LABEL), HEIGHT)
    labels = [f"{max(values):.4g}", *[""] * (HEIGHT - 2), f"{min(values):.4g}"]
    text = Text(f"{name} {values[-1]:.4g}\n", style="bold")
    for label, row in zip(labels, rows, strict=True):
        text.append(f"{label:>{LABEL - 1}} ", style="not bold dim")
        text.append(f"{row}\n", style="not bold cyan")
    return text


def _chosen(lines: Sequence[dict[str, Any]], names: Sequence[str]) -> list[str]:
    known = list(dict.fromkeys(name for line in lines for name in line if name != "step"))
    for name in names:
        if lines and name not in known:
            raise ConfigError(f"--metric: {name}: choose among {', '.join(known)}")
    return list(names) or [name for name in FIRST if name in known][:MOST]


def _state(run: RunDir, lines: Sequence[dict[str, Any]]) -> str:
    if run.finished:
        return "finished" if lines else "finished; this stage logs no steps"
    return f"step {lines[-1]['step']}" if lines else "no step logged yet"
