"""The recipes for clusters, without a cluster: what each would run is run here on one machine."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from torch.distributed import run as torchrun

from jielong.cli import make_parser
from jielong.core.run_dir import open_run, read_metrics
from tests.pipeline.conftest import ENVIRONMENT
from tests.several import write_recipe

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(600)]


@pytest.fixture
def cluster(repository: Path) -> Path:
    return repository / "recipes" / "cluster"


def free_port() -> int:
    """One from 20000 to 29999, of which a Slurm job's number gives one."""
    for port in range(20000 + os.getpid() % 9000, 30000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("no port is free")


def bash(script: str | Path, words: Sequence[str] = (), **variables: str) -> None:
    done = subprocess.run(
        ["bash", str(script), *words],
        env=ENVIRONMENT | variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def commands(folder: Path, **contents: str) -> str:
    """A PATH on which these commands come first; `torchrun` is that of this interpreter."""
    contents["torchrun"] = f'exec {sys.executable} -m torch.distributed.run "$@"'
    for name, content in contents.items():
        (folder / name).write_text(f"#!/bin/sh\n{content}\n")
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def assert_made(run: Path) -> None:
    """Two processes have made it."""
    assert open_run(run).finished
    assert len(read_metrics(run)) == 6


def test_slurm(cluster: Path, tmp_path: Path) -> None:
    """Twice: the second time what was begun is there, as when a job is queued again."""
    script, run = cluster / "slurm.sbatch", tmp_path / "run"
    subprocess.run(["bash", "-n", script], check=True)
    path = commands(
        tmp_path,
        scontrol='[ "$*" = "show hostnames machines[1-1]" ] && echo localhost && echo other',
        srun='[ "$1" = --kill-on-bad-exit=1 ] && shift && exec "$@"',
    )
    bash(
        script,
        ["pretrain", str(write_recipe(tmp_path)), "steps=6", f"run_dir={run}"],
        PATH=path,
        SLURM_JOB_ID=str(free_port() + 120000),
        SLURM_JOB_NUM_NODES="1",
        SLURM_JOB_NODELIST="machines[1-1]",
        SLURM_GPUS_ON_NODE="2",
    )
    assert_made(run)
    options = [line.split()[1] for line in script.read_text().split("\n") if line[:7] == "#SBATCH"]
    assert {"--nodes=2", "--ntasks-per-node=1", "--requeue"} < set(options)


def test_skypilot_runs(cluster: Path, tmp_path: Path) -> None:
    task = yaml.safe_load((cluster / "skypilot.yaml").read_text(encoding="utf-8"))
    (tmp_path / "run.sh").write_text(task["run"], encoding="utf-8")
    recipe = write_recipe(tmp_path)
    recipe.write_text(recipe.read_text().replace("steps = 160", "steps = 6"), encoding="utf-8")
    given = task["envs"] | {"RECIPE": str(recipe), "RUN": f"{tmp_path}/run"}
    bash(
        tmp_path / "run.sh",
        PATH=commands(tmp_path),
        **given | {"PORT": str(free_port())},
        SKYPILOT_NODE_IPS="127.0.0.1",
        SKYPILOT_NUM_NODES="1",
        SKYPILOT_NUM_GPUS_PER_NODE="2",
    )
    assert_made(tmp_path / "run")


def test_skypilot_reads_it(cluster: Path) -> None:
    """By its own reader, where it is installed."""
    sky = pytest.importorskip("sky")
    task = sky.Task.from_yaml(str(cluster / "skypilot.yaml"))
    assert task.num_nodes == 2
    assert task.envs["STAGE"] == "pretrain"


def test_kubernetes(cluster: Path) -> None:
    """Both programs understand the words, and the parts of the manifest fit each other."""
    text = (cluster / "kubernetes.yaml").read_text(encoding="utf-8")
    service, job = yaml.safe_load_all(text)
    pod = job["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert container["command"] == ["torchrun"]
    started = torchrun.parse_args(container["args"])
    assert started.module
    assert started.training_script == "jielong"
    assert int(started.nnodes) == job["spec"]["completions"] == job["spec"]["parallelism"]
    gpus = container["resources"]["limits"]["nvidia.com/gpu"]
    assert started.nproc_per_node == gpus
    asked = make_parser().parse_args(started.training_script_args)
    assert asked.stage == "pretrain"
    assert asked.resume
    host, port = started.rdzv_endpoint.split(":")
    assert host == f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert pod["spec"]["subdomain"] == service["metadata"]["name"]
    assert int(port) == service["spec"]["ports"][0]["port"]
    assert [*service["spec"]["selector"].values()] == [job["metadata"]["name"]]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]}


def test_kubernetes_reads_it(cluster: Path) -> None:
    """By the published schemas, where they are installed."""
    schemas = pytest.importorskip("kubernetes_validate")
    text = (cluster / "kubernetes.yaml").read_text(encoding="utf-8")
    for part in yaml.safe_load_all(text):
        schemas.validate(part, "1.30", strict=True)
        with pytest.raises(schemas.ValidationError):
            schemas.validate(part | {"spec": {"completions": []}}, "1.30", strict=True)
