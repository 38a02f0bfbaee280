"""The long benchmark at its smallest, through the command line: what it keeps and what it says."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.pipeline.conftest import jielong

pytestmark = pytest.mark.pipeline

SHAPE = "n_layer=1 width=32 n_head=1 n_kv_head=1 ffn_width=64 context=64".split()
SMALL = [*(f"model.{setting}" for setting in SHAPE), "window=32", "batch=4"]


def test_time_to_loss_measures_all_alike_and_keeps_what_is_done(
    chain: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options = ["--minutes", "0.02", "--rates", "2e-3", "--out", str(out)]
    command = ["bench", "time-to-loss", chain / "tokenize", *SMALL, *options]
    first = jielong(*command).stdout
    names = ["transformers-2e-3", "ours-0.333"]
    assert sorted(path.stem for path in out.glob("*.json")) == sorted(names)
    results = {name: json.loads((out / f"{name}.json").read_text()) for name in names}
    for name, result in results.items():
        seconds = [point["training_s"] for point in result["points"]]
        assert seconds == sorted(seconds), name
        assert len(seconds) >= 3
        # The same windows: nats of a token and bits of a byte are in one ratio for all.
        ratios = {p["bits_per_byte"] / p["nats_per_token"] for p in result["points"]}
        assert max(ratios) - min(ratios) < 1e-9
    ours, theirs = (results[name]["points"][-1] for name in reversed(names))
    assert ours["bits_per_byte"] / ours["nats_per_token"] == pytest.approx(
        theirs["bits_per_byte"] / theirs["nats_per_token"]
    )
    assert theirs["training_s"] == pytest.approx(1.2, rel=0.5)
    assert first.splitlines()[-1].startswith(("ours reaches the", "ours does not reach the"))
    assert ElementTree.parse(out / "curves.svg").getroot().tag.endswith("svg")
    times = {path.name: path.stat().st_mtime_ns for path in out.glob("*.json")}
    again = jielong(*command).stdout
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("*.json")} == times
    assert first.endswith(again)
    other = jielong(*command, "--threads", "2", check=False)
    assert other.returncode == 1
    assert "made with other settings" in other.stderr
