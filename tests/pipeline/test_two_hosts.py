"""One run on two hosts: two network name spaces with a cable between them, and nothing else."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from jielong.core.run_dir import open_run, read_metrics
from tests.pipeline.conftest import ENVIRONMENT, jielong
from tests.several import write_recipe

pytestmark = [pytest.mark.pipeline, pytest.mark.invariance, pytest.mark.timeout(600)]

ADDRESSES = ("10.231.77.1", "10.231.77.2")


def ip(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=False)


@contextmanager
def hosts() -> Iterator[list[str]]:
    """The names of two hosts; each one's end of the cable is called as it is."""
    names = [f"jl{os.getpid()}{end}" for end in "ab"]
    with ExitStack() as after:
        for name in names:
            try:
                made = ip("netns", "add", name)
            except FileNotFoundError:
                pytest.skip("this machine has no `ip`")
            if made.returncode:
                pytest.skip(f"this machine allows no network name space: {made.stderr.strip()}")
            after.callback(ip, "netns", "del", name)
        cable = ip("link", "add", names[0], "type", "veth", "peer", "name", names[1])
        if cable.returncode:
            pytest.skip(f"this machine allows no pair of interfaces: {cable.stderr.strip()}")
        for name, address in zip(names, ADDRESSES, strict=True):
            for words in (
                ("link", "set", name, "netns", name),
                ("-n", name, "addr", "add", f"{address}/24", "dev", name),
                ("-n", name, "link", "set", name, "up"),
                ("-n", name, "link", "set", "lo", "up"),
            ):
                done = ip(*words)
                assert done.returncode == 0, done.stderr
        yield names


def start(host: str, number: int, *words: str | Path) -> subprocess.Popen:
    """torchrun on one host, which meets the other at the first one's address."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
    meeting = [
        "--rdzv-backend=c10d",
        "--rdzv-id=two-hosts",
        f"--rdzv-endpoint={ADDRESSES[0]}:29400",
        f"--rdzv-conf=is_host={'true' if number == 0 else 'false'}",
        f"--local-addr={ADDRESSES[number]}",
    ]
    return subprocess.Popen(
        ["ip", "netns", "exec", host, *torchrun, *meeting, "-m", "jielong", *map(str, words)],
        env=ENVIRONMENT | {"GLOO_SOCKET_IFNAME": host},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_hosts_make_the_run_of_one(tmp_path: Path, parallel: str) -> None:
    words = ("pretrain", write_recipe(tmp_path), "steps=10", "model.dropout=0.0")
    words = (*words, f"training.parallel={parallel}")
    with hosts() as names:
        both = [
            start(name, number, *words, f"run_dir={tmp_path}/two")
            for number, name in enumerate(names)
        ]
        try:
            said = [process.communicate(timeout=200) for process in both]
        finally:
            for process in both:
                process.terminate()
                process.wait()
    assert [process.returncode for process in both] == [0, 0], said
    assert sorted(out for out, _ in said) == ["", f"{tmp_path}/two\n"]
    jielong(*words, f"run_dir={tmp_path}/one")
    one, two = (read_metrics(tmp_path / name) for name in ("one", "two"))
    assert len(one) == len(two) == 10
    for alone, shared in zip(one, two, strict=True):
        for name in ("loss", "gradient_norm"):
            assert shared[name] == pytest.approx(alone[name], rel=1e-5), name
    assert open_run(tmp_path / "two").finished
