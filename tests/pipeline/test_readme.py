"""Every command of the two READMEs, run as it is written, on a tiny chain."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.test_docs import FENCE, commands
from tests.pipeline.conftest import jielong, serving

pytestmark = pytest.mark.pipeline

PAGES = ("README.md", "README.zh.md")
SHORTER = {"sft": ["steps=12"], "reward": [], "ppo": ["rollout.iterations=1"]}
TALKS = """
{"messages": [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "你好！"}]}
{"prompt": "Hi", "completion": "Hello!"}
"""


@pytest.fixture
def desk(chain: Path, tmp_path: Path, repository: Path) -> Path:
    """A directory as the reader's: the quickstart has run, and their own files lie there."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "quickstart").symlink_to(chain)
    (tmp_path / "recipes").symlink_to(repository / "recipes")
    (tmp_path / "talks.jsonl").write_text(TALKS, encoding="utf-8")
    lines = (chain / "reward" / "rankings.jsonl").read_text(encoding="utf-8").splitlines()[:40]
    (tmp_path / "rankings.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def server(desk: Path) -> Iterator[str]:
    """`jielong serve runs/quickstart`, as the page says."""
    with serving("runs/quickstart", cwd=desk) as host:
        yield host


def fences(page: Path, language: str) -> list[str]:
    return [block for name, block in FENCE.findall(page.read_text()) if name == language]


@pytest.mark.parametrize("name", PAGES)
def test_its_commands_run(name: str, desk: Path, repository: Path) -> None:
    ran = []
    for words in commands((repository / name).read_text(encoding="utf-8")):
        if words[0] != "jielong" or words[1] == "serve":
            continue
        extra = SHORTER.get(words[1], [])
        done = jielong(*words[1:], *extra, cwd=desk, input="你好\n" if words[1] == "chat" else "")
        assert done.stdout.strip()
        ran.append(words[1])
    assert {"chat", "generate", "sft", "reward", "ppo"} <= set(ran)
    shutil.rmtree(desk / "runs" / "mine")


@pytest.mark.parametrize("name", PAGES)
def test_its_curl_and_python_get_an_answer(name: str, server: str, repository: Path) -> None:
    page = repository / name
    curl = next(block for block in fences(page, "bash") if block.startswith("curl "))
    done = subprocess.run(
        ["bash", "-c", curl.replace("127.0.0.1:8000", server)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert re.search(r'"role": ?"assistant"', done.stdout), done.stdout
    python = fences(page, "python")[0].replace("127.0.0.1:8000", server)
    done = subprocess.run(
        [sys.executable, "-c", python], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
