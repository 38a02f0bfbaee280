from collections import Counter

import pytest

from jielong.data.lexicon import Lexicon
from jielong.data.tasks.idiom_chain import WORDINGS
from jielong.stages.judging import Prompt, chains

ENDS = "天地人山水火木"
IDIOMS = [f"{a}{b}心{c}" for a in ENDS for b in "大小多少上下" for c in ENDS]


@pytest.fixture(scope="module")
def asked() -> dict[str, list[Prompt]]:
    found = {idiom: {"count": 1, "pinyin": None, "gloss": None} for idiom in IDIOMS}
    return {split: chains(Lexicon(idioms=found), split) for split in ("train", "test")}


def test_R2_an_idiom_that_is_asked_in_training_is_never_asked_in_evaluation(asked) -> None:
    train, test = ({prompt.group for prompt in asked[split]} for split in ("train", "test"))
    assert train
    assert test
    assert not train & test
    assert all(p.group in p.messages[-1]["content"] for both in asked.values() for p in both)


def test_each_idiom_is_asked_in_at_most_two_wordings(asked) -> None:
    texts = [prompt.messages[-1]["content"] for prompt in asked["test"]]
    times = Counter(prompt.group for prompt in asked["test"])
    assert len(set(texts)) == len(texts)
    assert set(times.values()) == {1, 2}
    assert len({prompt.id for prompt in asked["test"]}) == len(texts)


def test_the_held_out_wording_is_never_used_in_training(asked) -> None:
    lead_in = WORDINGS[-1].format(word="")
    held_out = {
        split: sum(prompt.messages[-1]["content"].startswith(lead_in) for prompt in prompts)
        for split, prompts in asked.items()
    }
    assert held_out["train"] == 0 < held_out["test"]
