"""A run directory: all that is needed to read, repeat, resume and judge one run.

`config.toml` (every setting), `manifest.json` (what made it, from what, and whether it finished),
`metrics.jsonl` (one line a step), and whatever the stage adds beside them. Of several processes
that make one run the first alone writes.
"""

import json
import subprocess
import sys
import time
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from jielong import __version__
from jielong.core import config as configs
from jielong.core.errors import RunDirectoryError
from jielong.core.files import (
    append_line,
    is_unfinished,
    remove_unfinished,
    sha256_file,
    write_atomic,
)
from jielong.core.processes import first_ahead, is_first
from jielong.core.resources import peak_rss_bytes

MANIFEST, CONFIG = "manifest.json", "config.toml"
METRICS, SAMPLES = "metrics.jsonl", "samples.jsonl"


@dataclass
class RunDir:
    """One run's directory. Made by `create`, or opened to be read by `open_run`."""

    path: Path
    manifest: dict[str, Any] = field(default_factory=dict)
    started_s: float = field(default_factory=time.monotonic)
    earlier_s: float = 0.0
    resume_from: str | None = None

    @classmethod
    def create(
        cls,
        path: Path | str,
        *,
        stage: str,
        config: Any,  # noqa: ANN401 - any config dataclass
        inputs: Mapping[str, Path] | None = None,
        resume: bool | str = False,
        may_change: Collection[str] = (),
    ) -> "RunDir":
        """Start a run in a new directory, or take up an unfinished one again.

        `resume` may name the checkpoint to go on from, when that is not to be the newest. Settings
        named in `may_change` may be others when the run is resumed.
        Raises `RunDirectoryError` when the directory holds a run and `resume` is not asked for,
        when the run to resume is finished, or when it was started with another configuration.
        """
        path = Path(path)
        with first_ahead():
            if not is_first():
                run = open_run(path)
            elif (path / MANIFEST).exists():
                run = cls._reopen(path, stage, inputs or {}, bool(resume))
                _check_same(path, configs.dumps(config), may_change)
                remove_unfinished(path)
            else:
                run = cls._begin(path, stage, configs.dumps(config), inputs or {})
        run.resume_from = resume if isinstance(resume, str) else None
        return run

    @classmethod
    def _begin(cls, path: Path, stage: str, text: str, inputs: Mapping[str, Path]) -> "RunDir":
        # A start that was killed leaves the configuration, or half of it, and nothing else. Files
        # that are no run's are the user's: none of them is touched.
        if path.is_dir() and not all(map(_is_of_a_start, path.iterdir())):
            raise RunDirectoryError(
                f"{path}: holds files but no run ({MANIFEST} is missing): give another run_dir, or "
                "move them away"
            )
        manifest = {
            "stage": stage,
            "finished": False,
            "command": sys.argv[1:],
            "jielong": __version__,
            **_commit(),
            "versions": {name: metadata.version(name) for name in ("torch", "tokenizers", "numpy")},
            "inputs": {name: _fingerprint(source) for name, source in inputs.items()},
        }
        remove_unfinished(path)
        write_atomic(path / CONFIG, text)
        run = cls(path, manifest)
        run._write()
        return run

    @classmethod
    def _reopen(cls, path: Path, stage: str, inputs: Mapping[str, Path], resume: bool) -> "RunDir":
        run = open_run(path)
        if not resume:
            raise RunDirectoryError(
                f"{path}: already holds a {run.manifest.get('stage')} run: add --resume to go on "
                "with it, or give another run_dir"
            )
        if run.finished:
            raise RunDirectoryError(f"{path}: this run is finished: there is nothing to resume")
        if run.manifest.get("stage") != stage:
            raise _another(path)
        for name, source in inputs.items():
            if run.manifest["inputs"].get(name) != _fingerprint(source):
                raise RunDirectoryError(
                    f"{path}: its input {name} ({source}) has changed since the run started: "
                    "restore it, or start anew in another run_dir"
                )
        return run

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return bool(self.manifest.get("finished"))

    @property
    def metrics_path(self) -> Path:
        """Where `log` writes."""
        return self.path / METRICS

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Append one line to `metrics.jsonl`; units are in the keys."""
        self._append(METRICS, metrics)

    def sample(self, values: Mapping[str, Any]) -> None:
        """Append one line to `samples.jsonl`: what the model wrote at a step."""
        self._append(SAMPLES, values)

    def note(self, values: Mapping[str, Any]) -> None:
        """Put something into the manifest while the run goes on."""
        self.manifest.update(values)
        self._write()

    def truncate_logs(self, step: int) -> list[dict[str, Any]]:
        """Drop the lines of steps after `step`, which the run will write again.

        Returns the lines of `metrics.jsonl` that are left.
        """
        left: dict[str, list[dict[str, Any]]] = {METRICS: [], SAMPLES: []}
        for name in left:
            if (self.path / name).exists():
                left[name] = [m for m in read_lines(self.path / name) if m.get("step", 0) <= step]
                text = "".join(json.dumps(m, ensure_ascii=False) + "\n" for m in left[name])
                if is_first():
                    write_atomic(self.path / name, text)
        return left[METRICS]

    def finish(self, derived: Mapping[str, Any] | None = None) -> None:
        """Mark the run as whole; record what it derived, its wall time and its peak memory.

        `seconds` of a run that was interrupted are those since it was last resumed, and before
        that those of its logged steps.
        """
        self.manifest.update(derived or {})
        self.manifest["finished"] = True
        self.manifest["seconds"] = self.earlier_s + time.monotonic() - self.started_s
        self.manifest["peak_rss_bytes"] = peak_rss_bytes()
        self.manifest["finished_at_s"] = int(time.time())
        self._write()

    def _write(self) -> None:
        text = json.dumps(self.manifest, ensure_ascii=False, indent=2) + "\n"
        if is_first():
            write_atomic(self.path / MANIFEST, text)

    def _append(self, name: str, values: Mapping[str, Any]) -> None:
        if is_first():
            append_line(self.path / name, json.dumps(values, ensure_ascii=False))


def _is_of_a_start(path: Path) -> bool:
    begins = (f".{CONFIG}.", f".{MANIFEST}.")
    return path.name == CONFIG or (path.name.startswith(begins) and is_unfinished(path))


def _check_same(path: Path, text: str, may_change: Collection[str]) -> None:
    try:
        before = tomllib.loads((path / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # lost, or no longer TOML
        raise _another(path) from None
    now = tomllib.loads(text)
    for name in may_change:
        before.pop(name, None)
        now.pop(name, None)
    if before != now:
        raise _another(path)


def _another(path: Path) -> RunDirectoryError:
    return RunDirectoryError(
        f"{path}: was started with another configuration (see its config.toml): resume with that "
        "one, or give another run_dir"
    )


def is_done(path: Path, config: Any) -> bool:  # noqa: ANN401 - any config dataclass
    """Whether a run stands finished there, made with this very configuration.

    Raises `RunDirectoryError` when it is finished with another: to take it for this one would give
    the user something else than was asked for.
    """
    if not (path / MANIFEST).exists() or not open_run(path).finished:
        return False
    if (path / CONFIG).read_text(encoding="utf-8") != configs.dumps(config):
        raise RunDirectoryError(
            f"{path}: is finished, with another configuration (see its config.toml): give another "
            "directory, or move this one away"
        )
    return True


def open_run(path: Path) -> RunDir:
    """Open a run directory to read it; raises `RunDirectoryError` when it is none."""
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise RunDirectoryError(f"{path}: not a run directory (no {MANIFEST}): give one") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RunDirectoryError(f"{path / MANIFEST}: damaged ({error}): run it anew") from None
    if not isinstance(manifest, dict):
        raise RunDirectoryError(f"{path / MANIFEST}: damaged (holds no table): run it anew")
    return RunDir(path, manifest)


def open_finished(path: Path | str, stage: str) -> RunDir:
    """Open the finished run of one stage that another stage names as its parent."""
    run = open_run(Path(path))
    if run.manifest.get("stage") != stage:
        raise RunDirectoryError(
            f"{path}: is a {run.manifest.get('stage')} run: give a {stage} run here"
        )
    if not run.finished:
        raise RunDirectoryError(f"{path}: has not finished: resume it first with --resume")
    return run


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a run's `metrics.jsonl`."""
    return read_lines(path / METRICS)


def read_lines(file: Path) -> list[dict[str, Any]]:
    """All whole lines of a log, if there is one (a line cut by a kill is left out)."""
    if not file.exists():
        return []
    lines = []
    for line in file.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return lines


def _fingerprint(path: Path) -> str:
    """What identifies an input: a file's hash, or the hash of a run directory's manifest."""
    file = path / MANIFEST if path.is_dir() else path
    if not file.exists():
        raise RunDirectoryError(f"{path}: no such file or run: make it first, or correct the path")
    return sha256_file(file)


def _commit() -> dict[str, Any]:
    """The commit of the checkout that this package runs from, if it is one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return {"commit": None, "dirty": None}
    head = _git(root, "rev-parse", "HEAD")
    return {"commit": head, "dirty": bool(_git(root, "status", "--porcelain"))}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
