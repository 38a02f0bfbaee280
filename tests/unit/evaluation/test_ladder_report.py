"""The ladder's page and its summary: what is measured is shown, whatever a model wrote."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from jielong.core.errors import DataError
from jielong.evaluation.ladder_report import ORIGINS, render, write_ladder_report
from jielong.evaluation.ladder_summary import (
    LadderSummary,
    Near,
    Nearest,
    Rung,
    Sample,
    Translation,
    Translator,
    Turn,
    read_ladder_summary,
    write_ladder_summary,
)

HOSTILE = "<script>alert('rung')</script>"


def rung(name: str, kind: str, bits: float, unit: str) -> Rung:
    return Rung(
        name=name,
        kind=kind,
        bits_per_byte=bits,
        interval=(bits - 0.05, bits + 0.05),
        by_language={"zh": bits + 0.1, "en": bits - 0.1},
        seconds=61.0,
        steps=0 if unit == "grams" else 1234,
        tokens=2_000_000,
        size=98_765,
        unit=unit,
    )


SUMMARY = LadderSummary(
    seconds=60.0,
    seed=3,
    machine="a machine",
    train_tokens=3_000_000,
    valid_tokens=90_000,
    valid_bytes=250_000,
    uniform=4.31,
    pairs=17,
    rungs=(
        *(
            rung(f"n{i}", kind, 2.0 + i, "grams")
            for i, kind in enumerate(ORIGINS)
            if "gram" in kind
        ),
        rung("my-lstm", "lstm", 1.987, "parameters"),
        rung("my-gru", "gru", 1.876, "parameters"),
        rung("my-gpt", "transformer", 1.765, "parameters"),
    ),
    samples=(Sample(prompt="春天", texts={"n0": "来了", "my-gpt": HOSTILE}),),
    nearest=(
        Nearest(query="春", found={"word2vec": (Near(token="秋", cosine=0.75),)}),
        Nearest(query="王 − 男 + 女", found={}),
    ),
    translators=(
        Translator(
            name="plain",
            attention=False,
            chrf=12.34,
            accuracy=0.321,
            nats=3.21,
            seconds=60.0,
            steps=99,
            size=1_234_567,
        ),
    ),
    translations=(Translation(zh="你好。", en="Hello.", texts={"plain": "Hullo."}),),
    dialogue=(Turn(said="你会下棋吗？", answer="我会下棋。"),),
)


def test_the_page_shows_each_rung_and_figure() -> None:
    curves = {r.name: ([1.0, 2.0], [5.0, 4.0]) if r.steps else ([], []) for r in SUMMARY.rungs}
    page = render(SUMMARY, curves, "my ladder")
    for found in SUMMARY.rungs:
        assert f'<td class="">{found.name}</td>' in page
        assert f"{found.bits_per_byte:.3f}" in page
    shown = ("4.310", "春天", "来了", "秋 0.75", "not a single token", "12.3", "0.321", "Hullo.")
    assert [text for text in (*shown, "你会下棋吗？", "我会下棋。") if text not in page] == []
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page
    assert page.count("<svg") == 2
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_what_was_not_climbed_is_left_out() -> None:
    empty: dict = {"nearest": (), "translators": (), "translations": (), "samples": ()}
    only = replace(SUMMARY, rungs=SUMMARY.rungs[:1], **empty)
    page = render(only, {SUMMARY.rungs[0].name: ([], [])}, "x")
    assert [title for title in ("Samples", "Word vectors", "Sequence to") if title in page] == []
    assert page.count("<svg") == 1


def test_a_summary_comes_back(tmp_path: Path) -> None:
    write_ladder_summary(SUMMARY, tmp_path)
    assert read_ladder_summary(tmp_path) == SUMMARY
    assert json.loads((tmp_path / "summary.json").read_text())["rungs"][-1]["name"] == "my-gpt"


def test_the_page_is_made_from_the_summary_and_the_metrics(tmp_path: Path) -> None:
    write_ladder_summary(SUMMARY, tmp_path)
    run = tmp_path / "rungs" / "my-gpt"
    run.mkdir(parents=True)
    lines = [json.dumps({"step": i, "loss": 5.0 / i, "step_s": 0.5}) for i in range(1, 9)]
    (run / "metrics.jsonl").write_text("\n".join(lines))
    page = write_ladder_report(tmp_path).read_text()
    assert "Loss against time" in page


@pytest.mark.parametrize("text", ["", "[]", '{"seed": 1}', '{"seed": "one"}'])
def test_a_damaged_summary_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(DataError, match="no ladder's summary"):
        read_ladder_summary(tmp_path)
