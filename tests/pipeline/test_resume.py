"""Killed by SIGKILL in the middle and resumed, a run ends with the same bytes.

    make nightly

kills each stage at twenty random moments (`--kills 20`); without the option, at one.
"""

import json
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from jielong.core.files import sha256_file
from jielong.core.run_dir import read_metrics
from jielong.core.seeds import python_random
from tests.pipeline.conftest import COMMAND, ENVIRONMENT, jielong, signal_when

pytestmark = [pytest.mark.pipeline, pytest.mark.invariance]

# What makes each stage short, and saves it often; paths follow in the test.
STAGES = {
    "pretrain": ("steps=40", "save_every=8"),
    "pretrain-masked": ("steps=40", "save_every=8"),
    "pretrain-prefix": ("steps=40", "save_every=8"),
    "pretrain-encoder-decoder": ("steps=40", "save_every=8"),
    "finetune": ("batch=512", "save_every=8"),
    "sft": ("steps=40", "save_every=8"),
    "sft-lora": ("steps=40", "save_every=8"),
    "reward": ("train_prompts=256", "fit_prompts=40", "batch=8", "save_every=8"),
    "ppo": ("rollout.iterations=8", "save_every=6"),
    "ppo-ptx": ("rollout.iterations=8", "save_every=6"),
}
PARENTS = {
    "pretrain": {"data": "tokenize"},
    "sft": {"init_from": "pretrain", "data": "tokenize", "prepared": "prepare"},
    "reward": {"init_from": "sft", "data": "tokenize", "prepared": "prepare"},
}
PARENTS |= {name: PARENTS["pretrain"] for name in STAGES if name.startswith("pretrain-")}
PARENTS["sft-lora"] = PARENTS["sft"]
PARENTS["finetune"] = {"init_from": "pretrain", "prepared": "prepare"}
PARENTS["prepare"], PARENTS["tokenize"] = {}, {"documents": "prepare"}
PARENTS["ladder"] = {"prepared": "prepare", "data": "tokenize"}
PARENTS["ppo"] = PARENTS["ppo-ptx"] = PARENTS["reward"] | {"reward_run": "reward"}

# What the stages without steps of their own make: weights, counts, text.
FILES = {
    "prepare": ("documents/*.jsonl", "lexicon.json"),
    "tokenize": ("tokenizer.json", "*.npy", "*.npz"),
    "ladder": ("rungs/*/model/*.safetensors", "rungs/*/**/*.npz"),
}
STARTS_S = 2.0
"""About what a process takes until it works: a kill may fall into that too."""


def steps_logged(run: Path) -> int:
    path = run / "metrics.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def reached(run: Path, steps: int) -> Callable[[], bool]:
    """Whether a process that starts now has logged so many steps.

    A resumed run replaces the log, so what an earlier process logged is told apart.
    """
    path = run / "metrics.jsonl"
    before = path.stat().st_ino if path.exists() else None

    def ready() -> bool:
        try:
            return path.stat().st_ino != before and steps_logged(run) >= steps
        except FileNotFoundError:
            return False

    return ready if steps else (run / "manifest.json").exists


def moments(name: str, kills: int, straight: Path) -> list[tuple[int, float]]:
    """When to kill: after so many steps of the straight run, and so many seconds."""
    if kills == 1:  # past the first checkpoint and between two: the steps after it are made twice
        return [(19, 0.0)]
    lines = read_metrics(straight)
    step_s = sum(line["step_s"] for line in lines) / len(lines)
    random = python_random(0, "kills", name)
    places = sorted(random.randrange(int(0.8 * len(lines))) for _ in range(kills))
    # The pause falls anywhere: into a step, a log, a checkpoint, or into what comes before steps.
    return [(n, random.uniform(0.0, 3 * step_s if n else STARTS_S)) for n in places]


def assert_same_end(broken: Path, straight: Path) -> None:
    for file in ("model/model.safetensors", "model/tokenizer.json"):
        assert sha256_file(broken / file) == sha256_file(straight / file)
    ends = [sorted((run / "checkpoints").iterdir())[-1] for run in (straight, broken)]
    assert ends[0].name == ends[1].name
    for file in ("model.safetensors", "training.safetensors"):
        assert sha256_file(ends[0] / file) == sha256_file(ends[1] / file)
    steps = [m["step"] for m in read_metrics(broken)]
    assert steps == sorted(set(steps)), "a step is logged twice, or out of order"


def command(name: str, chain: Path, repository: Path) -> tuple[str | Path, ...]:
    recipe = repository / "recipes" / "tiny" / f"{name}.toml"
    parents = [f"{key}={chain / folder}" for key, folder in PARENTS[name].items()]
    return (name.partition("-")[0], recipe, *STAGES[name], *parents)


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", STAGES)
def test_a_killed_run_ends_with_the_same_weights(
    name: str, chain: Path, tmp_path: Path, repository: Path, request: pytest.FixtureRequest
) -> None:
    common = command(name, chain, repository)
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    jielong(*common, f"run_dir={straight}")
    arguments = (*common, f"run_dir={broken}")
    for steps, pause_s in moments(name, request.config.getoption("--kills"), straight):
        resume = ["--resume"] if (broken / "manifest.json").exists() else []
        status, said = signal_when(
            reached(broken, steps), *arguments, *resume, number=signal.SIGKILL, pause_s=pause_s
        )
        assert status == -signal.SIGKILL, said
        assert not json.loads((broken / "manifest.json").read_text())["finished"]
    refused = jielong(*arguments, check=False)
    assert refused.returncode == 1
    assert "--resume" in refused.stderr
    assert refused.stderr.count("\n") == 1
    jielong(*arguments, "--resume")
    assert_same_end(broken, straight)


@pytest.mark.parametrize(("name", "number"), [("pretrain", signal.SIGINT), ("ppo", signal.SIGTERM)])
def test_a_run_that_is_asked_to_stop_saves_and_says_how_to_go_on(
    name: str, number: signal.Signals, chain: Path, tmp_path: Path, repository: Path
) -> None:
    common = command(name, chain, repository)
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    jielong(*common, f"run_dir={straight}")
    arguments = (*common, f"run_dir={broken}")
    status, said = signal_when(reached(broken, 11), *arguments, number=number)
    assert status == 128 + number
    assert "Traceback" not in said
    step = read_metrics(broken)[-1]["step"]
    assert f"stopped after step {step} of" in said.splitlines()[-1]
    assert said.splitlines()[-1].endswith("the same command with --resume goes on")
    assert (broken / "checkpoints" / f"step-{step:06d}").exists()
    jielong(*arguments, "--resume")
    assert_same_end(broken, straight)


def test_a_damaged_checkpoint_is_refused_and_the_command_that_goes_on_is_named(
    chain: Path, tmp_path: Path, repository: Path
) -> None:
    common = command("pretrain", chain, repository)
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    jielong(*common, f"run_dir={straight}")
    arguments = (*common, f"run_dir={broken}")
    signal_when(reached(broken, 19), *arguments)
    newest = sorted((broken / "checkpoints").iterdir())[-1]
    weights = bytearray((newest / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (newest / "model.safetensors").write_bytes(weights)
    refused = jielong(*arguments, "--resume", check=False)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert str(newest) in refused.stderr
    program, *words = shlex.split(refused.stderr.rpartition(": ")[2])
    assert program == "jielong"
    assert words[-2:] == ["--resume-from", "step-000008"]
    jielong(*words)
    assert_same_end(broken, straight)


def test_a_disk_that_fills_up_ends_a_run_in_one_line_and_it_goes_on(
    chain: Path, tmp_path: Path, repository: Path
) -> None:
    """On a real file system of 4 MB, which only the command sees, in a name space of its own."""
    space = ["unshare", "-rm", "sh", "-c"]
    disk, kept, straight = tmp_path / "disk", tmp_path / "kept", tmp_path / "straight"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=4m tmpfs {disk}"
    if shutil.which("unshare") is None or subprocess.run([*space, mount], check=False).returncode:
        pytest.skip("this machine allows no mount name space")
    common = command("pretrain", chain, repository)
    words = shlex.join([*COMMAND, *map(str, common), f"run_dir={disk / 'run'}"])
    script = f"{mount} && {words}; status=$?; cp -r {disk} {kept}; exit $status"
    full = subprocess.run(
        [*space, script], check=False, capture_output=True, text=True, env=ENVIRONMENT
    )
    assert full.returncode == 1, full.stderr
    assert "No space left on device" in full.stderr.splitlines()[-1]
    assert full.stderr.splitlines()[-1].endswith("--resume")
    assert "Traceback" not in full.stderr
    saved = sorted(path.name for path in (kept / "run" / "checkpoints").iterdir())
    assert len(saved) == 2
    assert saved[-1].startswith("step-")
    shutil.copytree(kept, disk, dirs_exist_ok=True)  # now with the space of the real disk
    jielong(*common, f"run_dir={disk / 'run'}", "--resume")
    jielong(*common, f"run_dir={straight}")
    assert_same_end(disk / "run", straight)


def is_finished(run: Path) -> bool:
    path = run / "manifest.json"
    return path.exists() and json.loads(path.read_text())["finished"]


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", FILES)
def test_killed_stages_of_another_kind_end_with_the_same_files(
    name: str, chain: Path, tmp_path: Path, repository: Path, request: pytest.FixtureRequest
) -> None:
    """Those whose moments are no steps: killed anywhere, in as many runs as that takes."""
    wanted, killed, random = request.config.getoption("--kills"), 0, python_random(0, "kills", name)
    if name == "ladder" and wanted == 1:
        pytest.skip("its rungs are stages that are killed here anyway, and it is long: --kills 2")
    recipe = repository / "recipes" / "tiny" / f"{name}.toml"
    common = (name, recipe, *(f"{key}={chain / folder}" for key, folder in PARENTS[name].items()))
    straight = chain / name
    if not straight.exists():
        straight = tmp_path / "straight"
        jielong(*common, f"run_dir={straight}")
    took_s = json.loads((straight / "manifest.json").read_text())["seconds"]
    runs = [tmp_path / "0"]
    while killed < wanted:
        if is_finished(runs[-1]):
            runs.append(tmp_path / str(len(runs)))
        again, begun = runs[-1], (runs[-1] / "manifest.json").exists()
        resume, starts_s = (["--resume"], STARTS_S) if begun else ([], 0.0)
        status, said = signal_when(
            (again / "manifest.json").exists,
            *common,
            f"run_dir={again}",
            *resume,
            pause_s=random.uniform(0.0, starts_s + took_s),
        )
        assert status in (0, -signal.SIGKILL), said
        killed += status != 0
    if not is_finished(runs[-1]):
        jielong(*common, f"run_dir={runs[-1]}", "--resume")
    made = sorted(path for pattern in FILES[name] for path in straight.glob(pattern))
    assert len(made) >= len(FILES[name])
    for run in runs:
        for path in made:
            assert sha256_file(run / path.relative_to(straight)) == sha256_file(path)


def test_a_finished_run_and_another_config_are_refused(
    chain: Path, tmp_path: Path, repository: Path
) -> None:
    recipe = repository / "recipes" / "tiny" / "pretrain.toml"
    common = ("pretrain", recipe, f"data={chain / 'tokenize'}", "steps=3", "save_every=1")
    run = tmp_path / "run"
    jielong(*common, f"run_dir={run}")
    finished = jielong(*common, f"run_dir={run}", "--resume", check=False)
    assert finished.returncode == 1
    assert "finished" in finished.stderr
    other = tmp_path / "other"
    signal_when(reached(other, 1), *common, f"run_dir={other}", "steps=4000")
    changed = jielong(*common, f"run_dir={other}", "steps=5", "--resume", check=False)
    assert changed.returncode == 1
    assert "another configuration" in changed.stderr
