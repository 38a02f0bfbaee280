import json
from dataclasses import asdict

import pytest

from jielong.core.errors import DataError
from jielong.feedback import records
from jielong.feedback.records import Demonstration, Judgement, Prompt, Ranking, Response

QUESTION = ({"role": "user", "content": "用“茶”造句。"},)


def ranking(**changes) -> Ranking:
    responses = tuple(
        Response(id=name, text=text, model="sft", finish="eos", seed=1, logp=-3.5)
        for name, text in (("r0", "我爱喝茶。"), ("r1", "茶"), ("r2", ""))
    )
    values = {
        "id": "k1",
        "prompt_id": "p1",
        "messages": QUESTION,
        "responses": responses,
        "ranks": (1, 2, 2),
        "annotator": "gold-0",
        "presented_order": ("r2", "r0", "r1"),
        "seconds": 3.5,
        "flags": {"r2": ("empty",)},
    }
    return Ranking(**(values | changes))


RECORDS = {
    Prompt: Prompt(
        id="p1", messages=QUESTION, lang="zh", group="茶", constraints={"contains": "茶"}
    ),
    Demonstration: Demonstration(id="d1", prompt_id="p1", messages=QUESTION, annotator="me"),
    Ranking: ranking(ranks=(1, None, 2), ratings=(7, 1, 3)),
    Judgement: Judgement(
        id="j1",
        prompt_id="p1",
        a="好。",
        b="坏",
        verdict="tie",
        judge="gold",
        model_a="x",
        model_b="y",
    ),
}


@pytest.mark.parametrize("kind", RECORDS)
def test_a_record_comes_back_as_it_was(kind, tmp_path) -> None:
    path = tmp_path / "records.jsonl"
    records.write(path, [RECORDS[kind]])
    assert records.read(path, kind) == [RECORDS[kind]]


def test_ties_and_missing_ranks_round_trip(tmp_path) -> None:
    path = tmp_path / "k.jsonl"
    written = [
        ranking(id=str(i), ranks=r) for i, r in enumerate([(1, 1, 1), (3, 1, 2), (None, 1, 1)])
    ]
    records.write(path, written)
    assert [r.ranks for r in records.read(path, Ranking)] == [(1, 1, 1), (3, 1, 2), (None, 1, 1)]


def spoil(**changes):
    def change(record: dict) -> dict:
        return {k: v for k, v in (record | changes).items() if v is not ...}

    return change


ONE = [{"id": "r0", "text": "好", "model": "m", "finish": "eos"}]
TWO = [*ONE, {"id": "r1", "model": "m", "finish": "eos"}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (spoil(colour="red"), "colour: no such field: known are id, prompt_id"),
        (spoil(annotator=...), "annotator: missing: the record must have it"),
        (spoil(ranks=[1, 2, "x"]), 'ranks[2]: "x": expected a whole number'),
        (spoil(ranks=[1, 2, True]), "ranks[2]: true: expected a whole number"),
        (spoil(ranks=[1, 2, 1.5]), "ranks[2]: 1.5: expected a whole number"),
        (spoil(ranks=[0, 1, 2]), "ranks: [0, 1, 2]: count from 1"),
        (spoil(ranks=[1, 2]), "ranks: 2 for 3 answers: give one each"),
        (spoil(ranks="1"), 'ranks: "1": expected a list'),
        (spoil(responses=ONE, ranks=[1]), "responses: 1: a ranking needs two answers or more"),
        (spoil(responses=TWO, ranks=[1, 2]), "responses[1].text: missing"),
        (spoil(responses=ONE * 2, ranks=[1, 2]), "responses: r0, r0: give each answer its own id"),
        (spoil(verdict="fine"), 'verdict: "fine": expected one of ranked, all_unacceptable'),
        (spoil(presented_order=["r0"]), "presented_order: r0: name every answer once"),
        (spoil(ratings=[8, 1, 1]), "ratings: [8, 1, 1]: give each answer 1 to 7"),
        (spoil(flags={"r9": []}), "flags: r9: no such answer"),
        (spoil(schema=2), "schema: 2: this version reads 1"),
        (spoil(messages=[{"role": 3}]), "messages[0].role: 3: expected text"),
        (spoil(seconds="long"), 'seconds: "long": expected a number'),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(change, message: str, tmp_path) -> None:
    path = tmp_path / "k.jsonl"
    path.write_text("\n" + json.dumps(change(asdict(ranking()))) + "\n", encoding="utf-8")
    with pytest.raises(DataError) as error:
        records.read(path, Ranking)
    assert str(error.value).startswith(f"{path}:2: {message}")
    assert "\n" not in str(error.value)


def test_unknown_fields_are_kept_on_request(tmp_path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(asdict(RECORDS[Prompt]) | {"mood": [1, 2]}), encoding="utf-8")
    assert records.read(path, Prompt, keep_extra=True)[0].extra == {"mood": [1, 2]}


def test_an_id_may_not_come_twice(tmp_path) -> None:
    path = tmp_path / "k.jsonl"
    records.write(path, [ranking(), ranking()])
    with pytest.raises(DataError, match="id 'k1' comes twice"):
        records.read(path, Ranking)


def test_a_line_that_is_no_object_is_refused(tmp_path) -> None:
    path = tmp_path / "k.jsonl"
    path.write_text("[1]\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"k\.jsonl:1: \[1\]: expected an object"):
        records.read(path, Ranking)
