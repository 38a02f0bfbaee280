import json
import resource
import signal
from pathlib import Path

import pytest
import torch

from jielong.core.errors import CheckpointError, StorageError
from jielong.training.checkpoint import (
    best,
    checkpoints,
    latest,
    load_weights,
    resume,
    save_checkpoint,
    verify,
)
from jielong.training.learner import Learner
from jielong.training.optimizers import OptimizerConfig, Schedule, make_optimizers
from tests.tiny import decoder

NAMES = ("model.safetensors", "training.safetensors", "state.json")


def learner(step: int = 0) -> Learner:
    model = decoder()
    config = OptimizerConfig(kind="muon", lr=0.1)
    made = Learner(model, make_optimizers(model, config), Schedule(10))
    made.step = step
    return made


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with checkpoints at steps 3 and 6."""
    for step in (3, 6):
        save_checkpoint(tmp_path, learner(step), {"beta": 0.1 * step, "order": [1, 2]})
    return tmp_path


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def test_a_checkpoint_is_a_directory_of_three_files(run: Path) -> None:
    assert names(run) == ["step-000003", "step-000006"]
    assert sorted(path.name for path in latest(run).iterdir()) == sorted(NAMES)
    assert verify(latest(run))["step"] == 6


def test_what_was_saved_comes_back(run: Path) -> None:
    again = learner()
    with torch.no_grad():
        again.module.embedding.weight.zero_()
    extra = resume(run, again)
    assert extra == {"beta": pytest.approx(0.6), "order": [1, 2]}
    assert again.step == 6
    assert torch.equal(again.module.embedding.weight, decoder().embedding.weight)
    weights = load_weights(latest(run))
    assert torch.equal(weights["embedding.weight"], decoder().embedding.weight)


def test_the_random_numbers_go_on_where_they_stopped(tmp_path: Path) -> None:
    torch.manual_seed(5)
    save_checkpoint(tmp_path, learner(1))
    expected = torch.rand(3)
    torch.manual_seed(9)
    resume(tmp_path, learner())
    assert torch.equal(torch.rand(3), expected)


def test_only_the_newest_are_kept(run: Path) -> None:
    save_checkpoint(run, learner(9))
    assert names(run) == ["step-000006", "step-000009"]
    save_checkpoint(run, learner(12), keep=1)
    assert names(run) == ["step-000012"]


def test_a_run_without_checkpoints_starts_from_nothing(tmp_path: Path) -> None:
    fresh = learner()
    assert resume(tmp_path, fresh) == {}
    assert fresh.step == 0
    with pytest.raises(CheckpointError, match="holds no checkpoint yet"):
        latest(tmp_path)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", ["cut", "altered", "missing", "empty"])
def test_a_damaged_checkpoint_is_refused_and_the_last_good_one_named(
    run: Path, name: str, damage: str
) -> None:
    file = latest(run) / name
    content = file.read_bytes()
    if damage == "missing":
        file.unlink()
    elif damage == "altered":  # one bit: in state.json "step": 6 becomes 7
        place = content.index(b'"step": 6') + 8 if name == "state.json" else len(content) - 9
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    else:
        file.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
    fresh = learner()
    before = {key: tensor.clone() for key, tensor in fresh.module.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"step-000006.*go on from step-000003") as caught:
        resume(run, fresh)
    assert "\n" not in str(caught.value)
    assert fresh.step == 0
    assert all(torch.equal(before[key], t) for key, t in fresh.module.state_dict().items())
    with pytest.raises(CheckpointError):
        load_weights(latest(run))
    for part in latest(run).iterdir():
        part.unlink()
    latest(run).rmdir()
    resume(run, fresh)  # and the advice works
    assert fresh.step == 3


def test_a_first_checkpoint_has_none_before_it(run: Path) -> None:
    first = checkpoints(run)[0]
    (first / "model.safetensors").write_bytes(b"")
    with pytest.raises(
        CheckpointError, match="no checkpoint before it is whole: start the run anew"
    ):
        verify(first)


@pytest.mark.parametrize("content", ["[]", "3", '{"sha256": []}', '{"step": 6}'])
def test_a_state_of_another_shape_is_refused(run: Path, content: str) -> None:
    (latest(run) / "state.json").write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match="step-000006: damaged"):
        verify(latest(run))


def test_C1_a_disk_full_in_the_middle_keeps_what_was_there(run: Path) -> None:
    """The system refuses to let a file grow beyond 8 KiB, as a full disk would."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))
    try:
        with pytest.raises(StorageError, match="cannot be written"):
            save_checkpoint(run, learner(9))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, previous)
    assert names(run) == ["step-000003", "step-000006"]
    assert resume(run, learner())["beta"] == pytest.approx(0.6)


def test_a_half_written_directory_is_not_a_checkpoint(run: Path) -> None:
    """What a kill leaves behind has another name, and the next save clears it away."""
    left = run / "checkpoints" / ".step-000009.tmp"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    assert latest(run).name == "step-000006"
    save_checkpoint(run, learner(9))
    assert names(run) == ["step-000006", "step-000009"]


def test_saving_a_step_again_leaves_it_as_it_is(run: Path) -> None:
    """A step has one state: taking its directory away first would risk it for nothing."""
    before = (latest(run) / "state.json").stat()
    save_checkpoint(run, learner(6), {"beta": 7})
    assert names(run) == ["step-000003", "step-000006"]
    after = (latest(run) / "state.json").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_the_order_of_steps_is_that_of_numbers(tmp_path: Path) -> None:
    for step in (999_999, 1_000_000):
        save_checkpoint(tmp_path, learner(step))
    assert verify(latest(tmp_path))["step"] == 1_000_000


def test_the_state_is_readable(run: Path) -> None:
    state = json.loads((latest(run) / "state.json").read_text(encoding="utf-8"))
    assert state["step"] == 6
    assert set(state["sha256"]) >= {"model.safetensors", "training.safetensors"}


def test_the_best_stays_beside_the_last(tmp_path: Path) -> None:
    for step, loss in ((1, 3.0), (2, 1.5), (3, None), (4, 1.5), (5, 2.0)):
        save_checkpoint(tmp_path, learner(step), keep=1, held_out_loss=loss)
    assert names(tmp_path) == ["step-000002", "step-000005"]
    assert best(tmp_path) == tmp_path / "checkpoints" / "step-000002"
    assert verify(latest(tmp_path))["held_out_loss"] == 2.0


def test_without_a_measure_none_is_best(run: Path) -> None:
    assert best(run) is None


def test_a_checkpoint_is_chosen_by_name_and_later_ones_go(run: Path) -> None:
    made = learner()
    assert resume(run, made, "step-000003") == {"beta": pytest.approx(0.3), "order": [1, 2]}
    assert made.step == 3
    assert names(run) == ["step-000003"]
    with pytest.raises(CheckpointError, match=r"step-000004: no such checkpoint: .*step-000003"):
        resume(run, learner(), "step-000004")


def test_the_one_named_is_whole(run: Path) -> None:
    """Two are damaged: the one before both is named, with the command that goes on from it."""
    (run / "manifest.json").write_text('{"stage": "sft"}')
    save_checkpoint(run, learner(9), keep=3)
    for place in (1, 2):
        (checkpoints(run)[place] / "training.safetensors").write_bytes(b"cut")
    command = f"jielong sft {run}/config.toml --resume-from step-000003"
    with pytest.raises(CheckpointError, match=command):
        resume(run, learner())
    resume(run, learner(), "step-000003")
    assert names(run) == ["step-000003"]


def test_a_kill_while_an_old_one_is_removed_leaves_no_half(run: Path) -> None:
    """It has another name by then, and the next save clears it away."""
    half = run / "checkpoints" / ".step-000003-done"
    checkpoints(run)[0].rename(half)
    (half / "model.safetensors").unlink()
    assert [path.name for path in checkpoints(run)] == ["step-000006"]
    save_checkpoint(run, learner(9))
    assert names(run) == ["step-000006", "step-000009"]
