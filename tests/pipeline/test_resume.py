"""Killed by SIGKILL in the middle and resumed, a run ends with the same bytes."""

import json
from pathlib import Path

import pytest

from jielong.core.files import sha256_file
from jielong.core.run_dir import read_metrics
from tests.pipeline.conftest import jielong, kill_when

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
PARENTS["ppo"] = PARENTS["ppo-ptx"] = PARENTS["reward"] | {"reward_run": "reward"}


def steps_logged(run: Path) -> int:
    path = run / "metrics.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


@pytest.mark.parametrize("name", STAGES)
def test_a_killed_run_ends_with_the_same_weights(
    name: str, chain: Path, tmp_path: Path, repository: Path
) -> None:
    stage = name.partition("-")[0]
    recipe = repository / "recipes" / "tiny" / f"{name}.toml"
    parents = [f"{key}={chain / folder}" for key, folder in PARENTS[name].items()]
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    common = (stage, recipe, *STAGES[name], *parents)
    jielong(*common, f"run_dir={straight}")
    arguments = (*common, f"run_dir={broken}")
    # Past the first checkpoint and between two of them: the steps after it are made twice.
    kill_when(lambda: steps_logged(broken) >= 19, *arguments)
    assert not json.loads((broken / "manifest.json").read_text())["finished"]
    refused = jielong(*arguments, check=False)
    assert refused.returncode == 1
    assert "--resume" in refused.stderr
    assert refused.stderr.count("\n") == 1
    jielong(*arguments, "--resume")
    for file in ("model/model.safetensors", "model/tokenizer.json"):
        assert sha256_file(broken / file) == sha256_file(straight / file)
    ends = [sorted((run / "checkpoints").iterdir())[-1] for run in (straight, broken)]
    assert ends[0].name == ends[1].name
    for file in ("model.safetensors", "training.safetensors"):
        assert sha256_file(ends[0] / file) == sha256_file(ends[1] / file)
    steps = [m["step"] for m in read_metrics(broken)]
    assert steps == sorted(set(steps)), "a step is logged twice, or out of order"


@pytest.mark.parametrize("name", ["prepare", "tokenize"])
def test_killed_text_stages_end_with_the_same_files(
    name: str, chain: Path, tmp_path: Path, repository: Path
) -> None:
    recipe = repository / "recipes" / "tiny" / f"{name}.toml"
    again = tmp_path / name
    arguments = [name, recipe, f"run_dir={again}"]
    arguments += [f"documents={chain / 'prepare'}"] if name == "tokenize" else []
    kill_when((again / "manifest.json").exists, *arguments)
    jielong(*arguments, "--resume")
    files = {
        "prepare": ("documents/train.jsonl", "documents/valid.jsonl", "lexicon.json"),
        "tokenize": ("tokenizer.json", "train.npy", "train.npz", "valid.npy", "valid.npz"),
    }
    for file in files[name]:
        assert sha256_file(again / file) == sha256_file(chain / name / file)


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
    kill_when(lambda: steps_logged(other) >= 1, *common, f"run_dir={other}", "steps=4000")
    changed = jielong(*common, f"run_dir={other}", "steps=5", "--resume", check=False)
    assert changed.returncode == 1
    assert "another configuration" in changed.stderr
