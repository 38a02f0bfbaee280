"""Preparing text through the command line: the same bytes with any workers and after any kill."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from jielong.core.files import sha256_file
from tests.planted import edited
from tests.unit.data.filters.texts import chinese

pytestmark = pytest.mark.pipeline

COMMAND = [sys.executable, "-m", "jielong", "prepare"]
KILLS = 10
SHARDS = ("tokenizer.json", "train.npy", "train.npz", "valid.npy", "valid.npz")


RECIPE = """
run_dir = "unset"
files = ["texts"]
valid_share = 0.1
[sources]
stdlib.max_mb = 0.1
[language]
[heuristics]
[personal]
[quality]
positives = ["files"]
[near]
[decontaminate]
files = ["exam.jsonl"]
[phases.broad]
budget_mb = 0.4
weights = { files = 1, stdlib = 1 }
[phases.fine]
budget_mb = 0.1
weights = { files = 1 }
"""


def write_corpus(folder: Path) -> Path:
    """Some self-written files with exact and near repeats, and a recipe with every table."""
    (folder / "texts").mkdir()
    stories = [story.text for story in chinese(480)]
    for number in range(24):
        rows = [json.dumps({"text": text}) for text in stories[number::24]]
        (folder / "texts" / f"{number:02}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    (folder / "texts" / "copy.txt").write_text(stories[3], encoding="utf-8")
    (folder / "texts" / "near.txt").write_text(edited(Random(0), stories[4], 0.05), "utf-8")
    (folder / "texts" / "mail.txt").write_text(
        f"{stories[5]}写信到 li.na@mail.test-host.cn。", "utf-8"
    )
    (folder / "exam.jsonl").write_text(json.dumps({"question": stories[6]}), encoding="utf-8")
    recipe = folder / "prepare.toml"
    recipe.write_text(RECIPE, encoding="utf-8")
    return recipe


def start(folder: Path, run: str, *settings: str) -> subprocess.Popen:
    arguments = [str(folder / "prepare.toml"), f"run_dir={run}", *settings]
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def kill(process: subprocess.Popen) -> None:
    """End it without a warning; its pipe closes only when nothing that it started is left."""
    process.kill()
    process.communicate(timeout=60)


def outputs(folder: Path) -> dict[str, str]:
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["finished"]
    return manifest["outputs"] | {"recipe": manifest["recipe_sha256"]}


def finish(folder: Path, run: str, *settings: str) -> dict[str, str]:
    process = start(folder, run, *settings)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told.decode()
    return outputs(folder / run)


def tokenized(folder: Path, run: str, *settings: str) -> dict[str, str]:
    """The hashes of the shards that are made of the undisturbed run's documents."""
    recipe = folder / "tokenize.toml"
    recipe.write_text(
        'run_dir = "unset"\ndocuments = "one"\nvocab_size = 400\npart_mb = 0.03\n', "utf-8"
    )
    arguments = [str(recipe), f"run_dir={run}", *settings]
    command = [sys.executable, "-m", "jielong", "tokenize", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
    return {name: sha256_file(folder / run / name) for name in SHARDS}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepare")
    write_corpus(folder)
    return folder


@pytest.fixture(scope="module")
def undisturbed(corpus: Path) -> tuple[dict[str, str], float]:
    """What one worker writes, and how many seconds it takes."""
    began = time.monotonic()
    found = finish(corpus, "one", "engine.workers=1")
    return found, time.monotonic() - began


def test_two_workers_write_what_one_writes(corpus: Path, undisturbed: tuple) -> None:
    assert finish(corpus, "two", "engine.workers=2") == undisturbed[0]


@pytest.fixture(scope="module")
def undisturbed_shards(corpus: Path, undisturbed: tuple) -> dict[str, str]:
    return tokenized(corpus, "shards-one", "engine.workers=1")


def test_two_workers_encode_as_one_does(corpus: Path, undisturbed_shards: dict) -> None:
    assert tokenized(corpus, "shards-two", "engine.workers=2") == undisturbed_shards


def test_ten_kills_change_no_byte(corpus: Path, undisturbed: tuple) -> None:
    expected, duration_s = undisturbed
    random_, kills, run = Random(1), 0, 0
    while kills < KILLS:
        run += 1
        folder = corpus / f"killed-{run}"
        while kills < KILLS and not is_finished(folder):
            resume = ("--resume",) if (folder / "manifest.json").exists() else ()
            workers = 1 + kills % 2
            process = start(corpus, folder.name, f"engine.workers={workers}", *resume)
            time.sleep(duration_s * random_.uniform(0.3, 0.95))
            kills += process.poll() is None
            kill(process)
        if not is_finished(folder):
            resume = ("--resume",) if (folder / "manifest.json").exists() else ()
            finish(corpus, folder.name, "engine.workers=1", *resume)
        assert outputs(folder) == expected
        assert not (folder / "work").exists()


def test_a_killed_worker_is_told_and_the_run_goes_on(corpus: Path, undisturbed: tuple) -> None:
    process = start(corpus, "lost", "engine.workers=2")
    while not (workers := workers_of(process.pid)):
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(workers[0], signal.SIGKILL)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "a worker was ended from outside" in told.decode()
    assert finish(corpus, "lost", "engine.workers=1", "--resume") == undisturbed[0]


def workers_of(process: int) -> list[int]:
    """The workers of a command: children of the server that it forks them from."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    return [pid for pid, parent in parents.items() if parents.get(parent) == process]


def is_finished(folder: Path) -> bool:
    manifest = folder / "manifest.json"
    return manifest.exists() and json.loads(manifest.read_text())["finished"]


CLUSTER = """
import sys
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.fixture
def ray_address() -> Iterator[str]:
    """A real Ray cluster of two nodes, on this machine."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.communicate("", timeout=60)


def test_a_ray_cluster_of_two_nodes_writes_the_same(
    corpus: Path, undisturbed: tuple, undisturbed_shards: dict, ray_address: str
) -> None:
    settings = ("engine.kind=ray", f"engine.ray_address={ray_address}")
    assert finish(corpus, "ray", *settings) == undisturbed[0]
    assert tokenized(corpus, "shards-ray", *settings) == undisturbed_shards


def test_changed_input_cannot_be_resumed(corpus: Path) -> None:
    process = start(corpus, "changed", "engine.workers=1")
    while not (corpus / "changed" / "work" / "plan.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.02)
    kill(process)
    extra = corpus / "texts" / "extra.txt"
    extra.write_text("一个新的文件。", encoding="utf-8")
    process = start(corpus, "changed", "engine.workers=1", "--resume")
    _, told = process.communicate(timeout=300)
    extra.unlink()
    assert process.returncode == 1
    assert "the files to read have changed" in told.decode()
