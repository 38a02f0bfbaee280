"""Near-duplicates and leaks against the plainest programs that do the same."""

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from jielong.core.seeds import derive
from jielong.data.decontaminate import DecontaminationConfig, Decontaminator, build_index
from jielong.data.dedup import comparison_form
from jielong.data.grams import windows
from jielong.data.minhash import NO_KEY, NearConfig, band_keys, minima, shingles
from jielong.data.near_duplicates import candidate_pairs, find
from tests.planted import edited, random_text

EMPTY = 2**32 - 1
MASK = 2**64 - 1
SMALL = NearConfig(ngram=3, bands=6, rows=2, min_shingles=4)

texts = st.text(st.sampled_from("abAB ,Ｂ中文，。1é"), max_size=60)
# Four units, so that grams repeat; cut as punctuation and spaces may cut them.
scraps = st.lists(st.sampled_from(["一", "二", "A ", "B, ", "，", "\n"]), max_size=80).map("".join)


@contextmanager
def saved(parts: list[NDArray[np.uint32]]) -> Iterator[list[Path]]:
    """Files of band keys."""
    with TemporaryDirectory() as name:
        paths = [Path(name) / f"{number}.npy" for number in range(len(parts))]
        for path, keys in zip(paths, parts, strict=True):
            np.save(path, keys)
        yield paths


def plain_mix(value: int) -> int:
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & MASK
    return value ^ value >> 31


def plain_minima(text: str, config: NearConfig) -> list[int]:
    """One shingle, one bin, one donor at a time."""
    form = comparison_form(text)
    hashes = config.bands * config.rows
    bins: dict[int, int] = {}
    for start in range(len(form) - config.ngram + 1):
        letters = form[start : start + config.ngram]
        gram = sum(ord(c) * 0x9E3779B97F4A7C15**place for place, c in enumerate(letters)) & MASK
        mixed = plain_mix(gram ^ derive(0, "minhash"))
        chosen = (mixed >> 32) * hashes >> 32
        bins[chosen] = min(bins.get(chosen, EMPTY), mixed % 2**32)
    if len(bins) < config.min_shingles:
        return [EMPTY] * hashes
    sketch = []
    for own in range(hashes):
        donor, attempt = own, 0
        while donor not in bins:
            salt = derive(0, "minhash", "donors")
            donor = (plain_mix((attempt * hashes + own) ^ salt) >> 32) * hashes >> 32
            attempt += 1
        sketch.append(bins[donor])
    return sketch


def test_the_comparison_form_knows_every_character() -> None:
    """All of Unicode: the pattern and `str.isalnum` take the same ones."""
    text = " ".join(map(chr, range(0x110000)))
    folded = unicodedata.normalize("NFKC", text).casefold()
    assert comparison_form(text) == "".join(filter(str.isalnum, folded))


combining = st.text(
    st.sampled_from("a\uff21=é1①，！…—。·\u0301\u0338\u0345ﬁ㎏ß한\u1161\uff9e\uff76")
)


@given(combining | st.text(max_size=30))
def test_the_comparison_form_is_what_is_alphanumeric(text: str) -> None:
    folded = unicodedata.normalize("NFKC", text).casefold()
    assert comparison_form(text) == "".join(filter(str.isalnum, folded))


@given(st.lists(st.integers(0, MASK), max_size=20), st.integers(1, 8))
def test_windows_are_equal_where_their_values_are(values: list[int], n: int) -> None:
    slices = [tuple(values[i : i + n]) for i in range(len(values) - n + 1)]
    hashes = windows(np.array(values, dtype=np.uint64), n).tolist()
    assert len(hashes) == len(slices)
    assert len(set(hashes)) == len(set(slices))
    assert dict(zip(slices, hashes, strict=True)) == dict(
        reversed(list(zip(slices, hashes, strict=True)))
    )


@given(texts)
def test_shingles_are_the_set_of_grams(text: str) -> None:
    form = comparison_form(text)
    assert len(shingles(text, 3)) == len({form[i : i + 3] for i in range(len(form) - 2)})


@given(st.lists(texts, min_size=1, max_size=5))
def test_minima_are_those_of_the_plain_program(batch: list[str]) -> None:
    assert minima(batch, SMALL, 0).tolist() == [plain_minima(text, SMALL) for text in batch]


keys = st.lists(st.integers(0, 3), min_size=3, max_size=3)


@given(st.lists(keys, max_size=9), st.randoms(use_true_random=False))
def test_pairs_are_those_that_share_a_key(columns: list[list[int]], random: Random) -> None:
    """No bucket is larger than nine here, so none is thinned out."""
    count = len(columns)
    rank = random.sample(range(count), count)
    cut = random.randint(0, count)
    table = np.array(columns, dtype=np.uint32).reshape(count, 3).T
    expected = sorted(
        [max(rank[i], rank[j]), min(rank[i], rank[j])]
        for i in range(count)
        for j in range(i)
        if any(a == b != NO_KEY for a, b in zip(columns[i], columns[j], strict=True))
    )
    with saved([table[:, :cut], table[:, cut:]]) as paths:
        found = candidate_pairs(paths, np.array(rank, dtype=np.uint32))
    assert found.tolist() == expected


@settings(max_examples=10)
@given(st.integers(0, 2**32), st.integers(1, 5))
def test_cutting_into_parts_changes_nothing(seed: int, parts: int) -> None:
    random = Random(seed)
    originals = [random_text(random, random.choice(["zh", "en"]), 150) for _ in range(6)]
    corpus = originals + [edited(random, random.choice(originals), 0.04) for _ in range(8)]
    trust = {text: number for number, text in enumerate(corpus)}
    config = NearConfig()

    def gone(order: list[str], parts: int) -> dict[str, str]:
        cuts = np.array_split(np.arange(len(order)), parts)
        tables = [band_keys([order[i] for i in cut], config, seed) for cut in cuts]
        rank = np.array([trust[text] for text in order], dtype=np.uint32)
        with saved(tables) as paths:
            found = list(find(paths, rank, lambda part, row: order[cuts[part][row]], config))
        places = {(p, r): order[cut[r]] for p, cut in enumerate(cuts) for r in range(len(cut))}
        return {places[each.document]: places[each.kept] for each in found}

    assert gone(random.sample(corpus, len(corpus)), parts) == gone(corpus, 1)


@given(scraps, scraps)
def test_a_leak_is_where_the_plain_program_sees_one(item: str, text: str) -> None:
    config = DecontaminationConfig(ngram=4, shortest_item=2)
    index = build_index({"set": [item]}, config)
    block = Decontaminator(index, index.count([]))
    wanted = [character for character in item if character.isalnum()]
    size = min(4, len(wanted))
    grams = {tuple(wanted[i : i + size]) for i in range(len(wanted) - size + 1)}
    places = [place for place, character in enumerate(text) if character.isalnum()]
    units = [text[place] for place in places]
    expected = [
        (places[i], places[i + size - 1] + 1)
        for i in range(len(units) - size + 1)
        if size >= 2 and tuple(units[i : i + size]) in grams
    ]
    assert block.leaks(text) == expected
