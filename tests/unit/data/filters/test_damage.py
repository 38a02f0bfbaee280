import zlib
from collections import Counter
from random import Random

import pytest

from jielong.data.clean import units
from jielong.data.filters.damage import KINDS, generate
from tests.unit.data.filters.texts import chinese

CHINESE = chinese(1)[0].text
ENGLISH = (
    "The old clockmaker opened his shop before sunrise and swept the step with care. "
    "He liked to say that watches, not unlike people, go wrong when they are made to hurry. "
    "On quiet mornings a cat from the bakery slept in the window among the brass gears."
)
TEXTS = [CHINESE, ENGLISH]


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("text", TEXTS)
def test_damage_is_real_and_the_same_again(kind: str, text: str) -> None:
    damaged = KINDS[kind](text, Random(4))
    assert damaged != text
    assert damaged == KINDS[kind](text, Random(4))
    assert damaged != KINDS[kind](text, Random(5))
    assert len(text) / 2 < len(damaged) < 40 * len(text)
    damaged.encode()


@pytest.mark.parametrize("text", TEXTS)
def test_shuffling_moves_what_is_there(text: str) -> None:
    damaged = KINDS["shuffled"](text, Random(4))
    assert Counter(damaged) == Counter(text)
    kept = sum(a == b for a, b in zip(units(text), units(damaged), strict=True))
    assert kept < len(units(text)) / 3


@pytest.mark.parametrize("text", TEXTS)
def test_lists_and_markup_hold_the_whole_text(text: str) -> None:
    lines = KINDS["list"](text, Random(4)).split("\n")
    assert all(len(units(line)) <= 5 for line in lines)  # at most four, and a number
    for kind in ("list", "markup"):
        assert not Counter(units(text)) - Counter(units(KINDS[kind](text, Random(4))))


@pytest.mark.parametrize("text", TEXTS)
def test_a_bad_scan_leaves_most_of_it(text: str) -> None:
    damaged = KINDS["misread"](text, Random(4))
    left = sum((Counter(text) & Counter(damaged)).values()) / len(text)
    assert 0.75 < left < 0.95


@pytest.mark.parametrize("text", TEXTS)
def test_repetition_repeats(text: str) -> None:
    damaged = KINDS["repeated"](text, Random(4))
    assert len(zlib.compress(damaged.encode())) < len(zlib.compress(text.encode())) / 2


def test_every_document_gets_one_damaged_copy() -> None:
    documents = chinese(60)
    made = generate(documents, seed=1)
    assert generate(documents[::-1], seed=1) == made[::-1]  # each by its own id
    assert generate(documents, seed=2) != made
    assert {document.key.split("#")[1] for document in made} == set(KINDS)
    for document, damaged in zip(documents, made, strict=True):
        assert damaged.id != document.id
        assert (damaged.source, damaged.group) == (document.source, document.group)
