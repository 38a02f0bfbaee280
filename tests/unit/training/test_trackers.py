"""Each tracker that can be had here is run for real; of one that is missing, the one clear line."""

import sys
from pathlib import Path

import pytest

from jielong.core.errors import ConfigError, DataError
from jielong.training.trackers import (
    Hosted,
    Subject,
    Tracker,
    TrackingConfig,
    log_all,
    trackers,
)


def subject(path: Path, step: int = 0) -> Subject:
    return Subject(folder=path, identity="1a2b", settings={"seed": 3}, step=step)


def test_tensorboard_reads_what_was_logged(tmp_path: Path) -> None:
    """Resumed at step 2: what was written of step 3 before is hidden by TensorBoard itself."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for start, losses in ((0, {1: 5.0, 2: 4.0, 3: 9.0}), (2, {3: 3.0})):
        [tracker] = made = trackers(TrackingConfig(to=("tensorboard",)))
        assert isinstance(tracker, Tracker)
        tracker.start(subject(tmp_path, start))
        for step, loss in losses.items():
            log_all(made, step, {"loss": loss, "note": "no number"})
        tracker.finish()
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert found.Tags()["scalars"] == ["loss"]
    assert [(e.step, e.value) for e in found.Scalars("loss")] == [(1, 5.0), (2, 4.0), (3, 3.0)]


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "swanlab", "trackio"])
def test_a_missing_one_is_told_in_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)  # so Python finds none, whatever is installed
    [tracker] = trackers(TrackingConfig(to=(name,)))
    with pytest.raises(DataError) as missing:
        tracker.start(subject(tmp_path))
    assert str(missing.value) == f"the tracker '{name}' needs {name}: pip install 'jielong[{name}]'"


def test_one_that_refuses_is_told_in_one_line(tmp_path: Path) -> None:
    """A library that is there and whose `init` takes other settings."""
    package = tmp_path / "refusing_tracker.py"
    package.write_text("def init(key):\n    raise RuntimeError('no key\\nand more')\n")
    sys.path.insert(0, str(tmp_path))
    try:
        tracker = Hosted("refusing_tracker", lambda *_: {"key": 1}, TrackingConfig())
        with pytest.raises(ConfigError, match=r"refusing_tracker cannot start \(no key\): log in"):
            tracker.start(subject(tmp_path))
    finally:
        sys.path.remove(str(tmp_path))


def test_nothing_leaves_the_machine_unless_asked(tmp_path: Path) -> None:
    made = [t for t in trackers(TrackingConfig(to=("wandb", "swanlab"))) if isinstance(t, Hosted)]
    asked = [t.options(TrackingConfig(online=True), subject(tmp_path)) for t in made]
    assert [t.options(t.config, subject(tmp_path))["mode"] for t in made] == ["offline"] * 2
    assert [options["mode"] for options in asked] == ["online"] * 2
