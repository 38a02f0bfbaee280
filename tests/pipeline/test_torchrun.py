"""Runs of several processes, started by torchrun as a user starts them."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from jielong.core import config as configs
from jielong.core.run_dir import open_run, read_lines, read_metrics
from jielong.stages import pretrain
from jielong.training.checkpoint import latest
from tests.pipeline.conftest import ENVIRONMENT, jielong
from tests.pipeline.test_resume import command
from tests.several import STEPS, assert_same_end, write_recipe

pytestmark = [pytest.mark.pipeline, pytest.mark.invariance, pytest.mark.timeout(600)]

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("torchrun"))


def torchrun(*words: str | Path, check: bool = True) -> subprocess.CompletedProcess:
    command = [*TORCHRUN, "-m", "jielong", *map(str, words)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=ENVIRONMENT, timeout=300, check=False
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def disturbed(
    words: list[str], run: Path, lines: int, disturb: Callable[[int], None]
) -> tuple[int, str]:
    """Start torchrun; once the run has logged so many lines, do something to it, given its id.

    Returns its exit status and all that was said.
    """
    process = subprocess.Popen(
        words, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        deadline = time.monotonic() + 200
        while not (run / "metrics.jsonl").exists() or len(read_metrics(run)) < lines:
            assert process.poll() is None, "it ended before it could be disturbed"
            assert time.monotonic() < deadline, "it never came so far"
            time.sleep(0.01)
        disturb(process.pid)
        said, _ = process.communicate(timeout=200)
    finally:
        process.terminate()
        process.wait()
    return process.returncode, said


def kill_second(torchrun: int) -> None:
    """SIGKILL for the second of the processes that torchrun has started."""
    for child in Path(f"/proc/{torchrun}/task/{torchrun}/children").read_text().split():
        if b"\0RANK=1\0" in b"\0" + Path(f"/proc/{child}/environ").read_bytes():
            subprocess.run(["kill", "-KILL", child], check=True)
            return
    raise AssertionError("it has no second process")


@pytest.fixture(scope="module", params=["ddp", "fsdp"])
def straight(recipe: Path, request: pytest.FixtureRequest) -> Path:
    """The run that nobody disturbed."""
    run = recipe.parent / request.param
    done = torchrun("pretrain", recipe, f"run_dir={run}", f"training.parallel={request.param}")
    assert done.stdout == f"{run}\n", "one process speaks"
    assert sum("pretrain ->" in line for line in done.stderr.splitlines()) == 1
    return run


def test_two_processes_write_one_run(recipe: Path, straight: Path) -> None:
    manifest = open_run(straight).manifest
    assert manifest["finished"]
    assert manifest["steps"] == STEPS
    assert manifest["tokens"] == STEPS * 5 * 24
    assert [m["step"] for m in read_metrics(straight)] == list(range(1, STEPS + 1))
    assert [s["step"] for s in read_lines(straight / "samples.jsonl")] == [100]
    assert not list(straight.rglob(".*"))


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_log_what_one_logs(recipe: Path, tmp_path: Path, parallel: str) -> None:
    plain = replace(
        configs.load(pretrain.PretrainConfig, recipe, ["model.dropout=0.0", "steps=12"]),
        run_dir=f"{tmp_path}/one",
        save_every=5,
    )
    pretrain.run(plain)
    (tmp_path / "recipe.toml").write_text(configs.dumps(plain), encoding="utf-8")
    words = ("pretrain", tmp_path / "recipe.toml", f"training.parallel={parallel}")
    torchrun(*words, f"run_dir={tmp_path}/two")
    lines = [read_metrics(tmp_path / name) for name in ("one", "two")]
    for one, two in zip(*lines, strict=True):
        assert one.keys() == two.keys()
        for name in {*one} - {"step_s", "tokens_per_s", "utilisation"}:
            assert two[name] == pytest.approx(one[name], rel=1e-4), name


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("finetune", ("epochs=1", "batch=64", "dropout=0.0")),
        ("sft", ("steps=8", "keep_best=true", "training.parallel=fsdp")),
        ("sft-lora", ("steps=8", "training.parallel=fsdp")),
        ("reward", ("train_prompts=64", "fit_prompts=40", "batch=8")),
        ("ppo-ptx", ("rollout.iterations=2",)),
    ],
)
def test_every_stage_that_trains_can_be_shared(
    name: str, settings: tuple[str, ...], chain: Path, tmp_path: Path, repository: Path
) -> None:
    """Losses as of one process; what is sampled on the way is the same."""
    stage, recipe, *paths = command(name, chain, repository)
    words = (stage, recipe, *paths, *settings)
    jielong(*words, f"run_dir={tmp_path}/one")
    torchrun(*words, f"run_dir={tmp_path}/two")
    one, two = (read_metrics(tmp_path / run) for run in ("one", "two"))
    assert len(one) == len(two) > 0
    for alone, shared in zip(one, two, strict=True):
        assert alone.keys() == shared.keys()
        for metric in {*alone} & {"loss", "chat_loss", "ptx_loss", "gradient_norm", "reward_mean"}:
            assert shared[metric] == pytest.approx(alone[metric], rel=1e-3, abs=1e-5), metric
    assert [path.name for path in sorted((tmp_path / "two" / "model").iterdir())] == [
        path.name for path in sorted((tmp_path / "one" / "model").iterdir())
    ]


def test_a_killed_process_is_started_again_and_the_run_ends_the_same(
    recipe: Path, straight: Path, tmp_path: Path
) -> None:
    run, parallel = tmp_path / "run", straight.name
    words = ["pretrain", recipe, f"run_dir={run}", f"training.parallel={parallel}", "--resume"]
    command = [*TORCHRUN, "--max-restarts=1", "-m", "jielong", *map(str, words)]
    status, said = disturbed(command, run, 75, kill_second)
    assert status == 0, said
    assert "Traceback" not in said
    assert_same_end(run, straight)


def test_a_run_that_is_asked_to_stop_saves_and_goes_on(
    recipe: Path, straight: Path, tmp_path: Path
) -> None:
    run, parallel = tmp_path / "run", straight.name
    words = ["pretrain", recipe, f"run_dir={run}", f"training.parallel={parallel}"]
    command = [*TORCHRUN, "-m", "jielong", *map(str, words)]
    status, said = disturbed(
        command, run, 75, lambda pid: subprocess.run(["kill", "-TERM", str(pid)], check=True)
    )
    assert status != 0
    told = [line for line in said.splitlines() if "stopped after step" in line]
    assert len(told) == 1, said
    step = read_metrics(run)[-1]["step"]
    assert told[0].endswith(
        f"stopped after step {step} of {STEPS}, and saved: the same command with --resume goes on"
    )
    assert latest(run).name == f"step-{step:06d}"
    torchrun(*words, "--resume")
    assert_same_end(run, straight)


def test_an_error_is_said_once(recipe: Path, straight: Path) -> None:
    words = ("pretrain", recipe, f"run_dir={straight}", f"training.parallel={straight.name}")
    refused = torchrun(*words, check=False)
    assert refused.returncode != 0
    assert refused.stderr.count("already holds a pretrain run: add --resume") == 1
    assert refused.stderr.count("Traceback") == 1, "torchrun's own, and no other"
    assert refused.stdout == ""


def test_what_one_process_does_is_refused_to_several(tmp_path: Path) -> None:
    refused = torchrun("tokenize", tmp_path / "recipe.toml", check=False)
    assert refused.returncode != 0
    line = "tokenize: is the work of one process: start it without torchrun\n"
    assert refused.stderr.count(line) == 1
