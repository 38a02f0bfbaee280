"""Compiled blocks are the blocks: the same loss and gradients, to rounding.

In a process of its own: what checks types while tests run is not for PyTorch's compiler to read.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.invariance

SCRIPT = """
import json, sys
import torch
from jielong.core.errors import ConfigError
from jielong.core.device import check_compiler
from jielong.model.transformer import Transformer, compile_blocks, recompute_activations
from tests.tiny import config, random_ids, randomise

torch.set_num_threads(1)
try:
    check_compiler()
except ConfigError as error:
    print(json.dumps(str(error)))
    sys.exit()
KINDS = {
    "Qwen3's parts": {},
    "GPT-2's parts": {"norm": "layer", "ffn": "gelu_tanh", "bias": "all", "qk_norm": False,
                      "positions": "learned"},
    "recomputed": {},
}
ids, targets = random_ids(3, 9), random_ids(3, 9, seed=1)
select = torch.ones_like(ids, dtype=torch.bool)
found = {}
for name, parts in KINDS.items():
    gradients, calls = [], []
    for compiled in (False, True):
        model = Transformer(config(**parts))
        randomise(model, 0)
        if compiled:
            compile_blocks(model)
            run = model.compiled
            model.compiled = lambda *given: calls.append(1) or run(*given)
        if name == "recomputed":
            recompute_activations(model)
        model.surprisal(ids, targets.flatten(), select=select).backward()
        gradients.append([p.grad for p in model.parameters()])
        with torch.no_grad():
            model(ids)
        model(ids, documents=torch.zeros_like(ids))
    errors = [(a - b).abs().max() / a.abs().max() for a, b in zip(*gradients)]
    found[name] = {"error": max(errors).item(), "calls": len(calls)}
print(json.dumps(found))
"""


def run(repository: Path, folder: Path, **environment: str) -> object:
    """What the script prints last."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=repository,
        env=os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(folder)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(shutil.which("g++") is None, reason="PyTorch compiles with g++")
def test_gradients_are_equal_and_only_plain_training_passes_are_compiled(
    repository: Path, tmp_path: Path
) -> None:
    """Two blocks: two calls in a pass, twice as many when the backward pass makes it again."""
    found = run(repository, tmp_path)
    assert isinstance(found, dict), found
    assert {name: figures["calls"] for name, figures in found.items()} == {
        "Qwen3's parts": 2,
        "GPT-2's parts": 2,
        "recomputed": 4,
    }
    assert max(figures["error"] for figures in found.values()) < 1e-5


def test_without_a_compiler_it_is_one_line(repository: Path, tmp_path: Path) -> None:
    found = run(repository, tmp_path, CXX=str(tmp_path / "none"))
    assert isinstance(found, str)
    assert found.startswith("compile: true: PyTorch cannot compile here (")
    assert "install g++" in found
    assert "\n" not in found
