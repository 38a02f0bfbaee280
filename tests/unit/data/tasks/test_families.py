"""What holds for every family: gold is accepted, corruption is refused, nothing crosses a split."""

from random import Random

import pytest

from jielong.data import splits
from jielong.data.tasks import (
    FAMILIES,
    category,
    idiom_chain,
    idiom_starting,
    last_character,
    repeat,
    sentence,
)

SPLITS = ("train", "dev", "test")
OWN_SPLIT = {"greeting", "small_talk"}  # split by phrasing, not by the hash of a headword


@pytest.mark.parametrize("name", FAMILIES)
def test_every_split_has_items_and_gold_answers_are_all_accepted(name, items) -> None:
    family = FAMILIES[name]
    for split in SPLITS:
        found = items(name, split)
        if split == "train":
            assert found
        for item in found:
            for answer in (item.demonstration, *item.answers):
                assert family.check(item, answer).score == 1, (item.id, answer)
            assert item.family == name
            assert item.messages[-1]["role"] == "user"
            assert [m["role"] for m in item.messages][::2] == ["user"] * len(item.messages[::2])


@pytest.mark.parametrize("name", FAMILIES)
def test_at_least_995_of_1000_corrupt_answers_are_refused(name, items) -> None:
    family = FAMILIES[name]
    found = [item for split in SPLITS for item in items(name, split)]
    for kind in family.corruptions:
        accepted = [
            (item.id, reply)
            for i, item in enumerate((found * 2)[:1000])
            if family.check(item, reply := family.corrupt(item, kind, Random(i))).score
        ]
        assert len(accepted) <= 0.005 * min(1000, 2 * len(found)), (kind, accepted[:5])


@pytest.mark.parametrize("name", FAMILIES)
def test_an_unknown_corruption_is_refused_by_name(name, items) -> None:
    item = items(name, "train")[0]
    with pytest.raises(ValueError, match="spoilt: no such corruption"):
        FAMILIES[name].corrupt(item, "spoilt", Random(0))


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - OWN_SPLIT))
def test_all_keys_of_an_item_are_on_its_side(name, items) -> None:
    for split in SPLITS:
        for item in items(name, split):
            assert item.keys
            assert {splits.split(key) for key in item.keys} == {split}, item.id


@pytest.mark.parametrize("name", FAMILIES)
def test_no_key_no_question_and_no_id_is_in_two_splits(name, items) -> None:
    seen: dict[str, str] = {}
    for split in SPLITS:
        found = items(name, split)
        assert len({item.id for item in found}) == len(found)
        for item in found:
            question = item.messages[-1]["content"] if name != "recall" else item.id
            for mark in {*item.keys, question}:
                assert seen.setdefault(f"{mark}", split) == split, (name, mark)


@pytest.mark.parametrize("name", FAMILIES)
def test_items_depend_on_the_seed_and_on_nothing_else(name, lexicon, items) -> None:
    def talks(seed):
        return [(i.messages, i.demonstration) for i in FAMILIES[name].items(lexicon, "train", seed)]

    first = [(i.messages, i.demonstration) for i in items(name, "train")]
    assert talks(0) == first
    assert talks(1) != first


WORDED = {
    "idiom_chain": [idiom_chain.WORDINGS],
    "idiom_starting": [idiom_starting.WORDINGS],
    "last_character": [last_character.WORDINGS],
    "category": [category.WORDINGS],
    "repeat": list(repeat.WORDINGS.values()),
    "sentence": list(sentence.WORDINGS.values()),
}


def pieces(wording: str) -> list[str]:
    return [part for part in wording.replace("{character}", "{word}").split("{word}") if part]


@pytest.mark.parametrize("name", WORDED)
def test_the_held_out_wording_is_asked_in_the_test_alone(name, items) -> None:
    for wordings in WORDED[name]:
        assert len(wordings) >= 6  # five to learn from and one to be tested with
        start = pieces(wordings[-1])[0]
        for split in ("train", "dev"):
            asked = [i.messages[0]["content"] for i in items(name, split)]
            assert not [question for question in asked if question.startswith(start)]
    for split in ("train", "dev"):
        assert not any(i.held_out_wording for i in items(name, split))


def test_half_of_the_test_asks_in_the_held_out_wording(items) -> None:
    found = items("recall", "test")
    share = sum(item.held_out_wording for item in found) / len(found)
    assert 0.4 < share < 0.6  # 500 fair coins: sd 0.022


@pytest.mark.parametrize("name", FAMILIES)
def test_chance_is_what_guessing_at_random_reaches(name, lexicon, items) -> None:
    """For the idioms: draw replies blindly from the list and count the right ones."""
    family = FAMILIES[name]
    found = items(name, "train")[:600]
    chance = family.chance(found)
    assert 0 < chance < 0.5
    if name in ("idiom_chain", "chain_game", "idiom_starting"):
        known = sorted(lexicon.idioms)
        rng = Random(0)
        draws = [rng.choice(found) for _ in range(20_000)]
        hits = sum(family.check(item, rng.choice(known)).score for item in draws)
        assert abs(hits / len(draws) - chance) < 0.008  # four standard errors


def test_chance_of_the_last_character_is_a_guess_in_the_word(items) -> None:
    found = items("last_character", "train")
    brute = [sum(c == i.answers[0] for c in i.meta["word"]) / len(i.meta["word"]) for i in found]
    assert FAMILIES["last_character"].chance(found) == pytest.approx(sum(brute) / len(brute))
