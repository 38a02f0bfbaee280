from collections import Counter
from itertools import pairwise

import pytest

from jielong.core.seeds import python_random
from jielong.data import splits
from jielong.data.lexicon import Lexicon
from jielong.data.tasks import FAMILIES
from jielong.data.tasks.base import final_answer
from jielong.data.tasks.idiom_chain import ChainIndex, first_character_ok

WORDS = {"一心一意": 9, "意气风发": 5, "意味深长": 7, "意在言外": 6, "意意思思": 8, "发扬光大": 3}


@pytest.fixture
def small() -> Lexicon:
    return Lexicon(
        idioms={w: {"count": n, "pinyin": None, "gloss": None} for w, n in WORDS.items()}
    )


@pytest.fixture
def item(small):
    found = [
        i for s in ("train", "dev", "test") for i in FAMILIES["idiom_chain"].items(small, s, 0)
    ]
    return next(i for i in found if i.meta["said"] == ("一心一意",))


def test_every_idiom_with_the_right_first_character_is_an_answer(item) -> None:
    assert set(item.answers) == {"意气风发", "意味深长", "意在言外", "意意思思"}


@pytest.mark.parametrize(
    "text",
    [
        "意气风发",
        " 意气风发。",
        "意气风发！",
        "我接：意气风发",
        "接「意气风发」。",
        "好的。\n意气风发",
        "意 气 风 发",
    ],
)
def test_form_is_forgiven(item, text: str) -> None:
    assert FAMILIES["idiom_chain"].check(item, text).score == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("一心一意", "already said"),
        ("发扬光大", "does not begin with the last character"),
        ("意气风云", "not in the list of idioms"),
        ("意气风发意味深长", "not in the list of idioms"),
        ("", "not in the list of idioms"),
    ],
)
def test_content_is_not(item, text: str, reason: str) -> None:
    verdict = FAMILIES["idiom_chain"].check(item, text)
    assert (verdict.score, verdict.reason) == (0, reason)


@pytest.mark.parametrize(
    ("text", "right"), [("意想天开", True), ("意", True), ("一意", False), ("", False)]
)
def test_first_character_counts_alone(item, text: str, right: bool) -> None:
    assert first_character_ok(item, text) is right


def test_an_idiom_that_nothing_follows_is_not_asked(small) -> None:
    asked = {
        i.meta["said"][0]
        for s in ("train", "dev", "test")
        for i in FAMILIES["idiom_chain"].items(small, s, 0)
    }
    assert asked == {"一心一意", "意气风发"}  # 长, 外, 思 and 大 begin no idiom


def test_teaching_prefers_the_best_known(lexicon) -> None:
    """0.85 for the first, 0.075 for each of the next two: 3,000 draws, 4 standard errors."""
    index = ChainIndex(lexicon)
    ranked = index.taught["天"][:3]
    counts = [index.counts[idiom] for idiom in ranked]
    assert counts == sorted(counts, reverse=True)
    drawn = Counter(index.teach("天", (), python_random(0, i)) for i in range(3000))
    for idiom, share in zip(ranked, (0.85, 0.075, 0.075), strict=True):
        assert drawn[idiom] / 3000 == pytest.approx(
            share, abs=4 * (share * (1 - share) / 3000) ** 0.5
        )


def test_what_is_taught_is_always_a_training_idiom(items) -> None:
    for name in ("idiom_chain", "chain_game", "idiom_starting"):
        for item in items(name, "train"):
            assert splits.split(item.demonstration) == "train"
            ours = [m["content"] for m in item.messages if m["role"] == "assistant"]
            assert {splits.split(word) for word in ours} <= {"train"}


def test_a_game_is_a_chain_in_which_nothing_comes_twice(items) -> None:
    games = items("chain_game", "train")
    assert {len(game.meta["said"]) for game in games} == {3, 5}
    for game in games:
        said = [*game.meta["said"], game.demonstration]
        assert all(a[-1] == b[0] for a, b in pairwise(said))
        assert len(set(said)) == len(said)
        spoken = [final_answer(m["content"])[-4:] for m in game.messages[1:]]
        assert spoken == list(game.meta["said"][1:])


def test_in_a_game_a_word_said_long_ago_is_refused(lexicon) -> None:
    alphabet = "天地人"
    idioms = {
        f"{a}心意{b}": {"count": 1, "pinyin": None, "gloss": None}
        for a in alphabet
        for b in alphabet
    }
    index = ChainIndex(Lexicon(idioms=idioms))
    said = ["天心意地", "地心意天", "天心意天"]
    assert set(index.after("天心意天", said)) == {"天心意人"}
