import tracemalloc
from pathlib import Path
from random import Random

import numpy as np
import pytest

from jielong.data.minhash import NO_KEY, NearConfig, band_keys
from jielong.data.near_duplicates import candidate_pairs, find, ranks, save_keys
from tests.planted import edited, random_text

CONFIG = NearConfig()


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def saved(*parts: list[list[int]]) -> list[Path]:
    """Files of the given keys, one list a band."""
    paths = [Path(f"{number}.npy") for number in range(len(parts))]
    for path, keys in zip(paths, parts, strict=True):
        save_keys(path, np.array(keys, dtype=np.uint32))
    return paths


def gone(texts: list[str], rank: list[int] | None = None, parts: int = 1) -> dict[str, str]:
    """Each text that goes, and the one that stays for it."""
    cuts = np.array_split(np.arange(len(texts)), parts)
    paths = [Path(f"texts{number}.npy") for number in range(parts)]
    for path, cut in zip(paths, cuts, strict=True):
        save_keys(path, band_keys([texts[i] for i in cut], CONFIG, 0))
    order = np.array(range(len(texts)) if rank is None else rank, dtype=np.uint32)
    found = find(paths, order, lambda part, row: texts[cuts[part][row]], CONFIG)
    return {
        texts[cuts[each.document[0]][each.document[1]]]: texts[cuts[each.kept[0]][each.kept[1]]]
        for each in found
    }


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize("characters", [200, 1000])
def test_planted_near_duplicates_are_found(lang: str, characters: int) -> None:
    random = Random(f"{lang} {characters}")
    originals = [random_text(random, lang, characters) for _ in range(400)]
    copies = {edited(random, text, 0.05): text for text in originals[:200]}
    found = gone([*originals, *copies])
    right = sum(copies.get(text) == kept for text, kept in found.items())
    assert right >= 0.95 * len(copies)
    assert right >= 0.99 * len(found)


def test_the_survivor_is_the_most_trusted_wherever_it_lies() -> None:
    random = Random(0)
    texts = [random_text(random, "zh", 300) for _ in range(30)]
    texts += [edited(random, text, 0.03) for text in texts] + [text[30:] for text in texts]
    rank = random.sample(range(90), 90)
    place = dict(zip(texts, rank, strict=True))
    found = gone(texts, rank)
    assert len(found) == 60
    assert all(place[kept] < place[text] for text, kept in found.items())
    for parts in (1, 4):
        shuffled = random.sample(texts, 90)
        assert gone(shuffled, [place[text] for text in shuffled], parts) == found


def test_no_chain_takes_what_is_unlike_the_survivor() -> None:
    random = Random(0)
    pieces = [random_text(random, "zh", 100) for _ in range(6)]
    first, second, third = ("".join(pieces[start : start + 4]) for start in range(3))
    assert gone([first, second]) == {second: first}  # three pieces of five
    assert gone([second, third]) == {third: second}
    assert gone([first, third]) == {}  # two pieces of six
    assert gone([first, second, third]) == {second: first}
    assert gone([first, second, third], rank=[1, 0, 2]) == {first: second, third: second}


def test_of_many_copies_one_stays() -> None:
    random = Random(0)
    text = random_text(random, "en", 600)
    copies = [edited(random, text, 0.02) for _ in range(60)]
    assert gone([text, *copies]) == dict.fromkeys(copies, text)


def test_the_similarity_is_reported() -> None:
    save_keys(Path("a.npy"), np.full((80, 2), 7, dtype=np.uint32))
    texts = ["abcdefgh", "abcdefgx"]  # three shingles of five in common
    (found,) = find(
        [Path("a.npy")], np.array([1, 0], dtype=np.uint32), lambda _, row: texts[row], CONFIG
    )
    assert (found.document, found.kept, found.jaccard) == ((0, 0), (0, 1), 3 / 5)


def test_a_shared_key_alone_is_not_enough() -> None:
    save_keys(Path("a.npy"), np.full((80, 2), 7, dtype=np.uint32))
    texts = ["abcdefgh", "abcdexyz"]  # one of seven
    order = np.arange(2, dtype=np.uint32)
    assert not list(find([Path("a.npy")], order, lambda _, row: texts[row], CONFIG))


def test_only_candidates_are_read_again() -> None:
    random = Random(0)
    texts = [random_text(random, "zh", 300) for _ in range(50)]
    texts.append(edited(random, texts[7], 0.05))
    read: list[int] = []

    def fetch(part: int, row: int) -> str:
        read.append(row)
        return texts[row]

    save_keys(Path("a.npy"), band_keys(texts, CONFIG, 0))
    list(find([Path("a.npy")], np.arange(51, dtype=np.uint32), fetch, CONFIG))
    assert sorted(read) == [7, 50]


def test_what_is_not_left_neither_goes_nor_stands_for_another() -> None:
    random = Random(0)
    text = random_text(random, "zh", 300)
    save_keys(Path("a.npy"), band_keys([text, text, text], CONFIG, 0))
    order, left = np.arange(3, dtype=np.uint32), np.array([False, True, True])
    (found,) = find([Path("a.npy")], order, lambda _part, _row: text, CONFIG, left)
    assert (found.document, found.kept) == ((0, 2), (0, 1))


def test_pairs_by_hand() -> None:
    paths = saved([[5, 9, NO_KEY]], [[7, 5, NO_KEY, 5]])
    rank = np.array([3, 0, 1, 2, 6, 5, 4], dtype=np.uint32)
    assert candidate_pairs(paths, rank).tolist() == [[4, 3], [6, 3], [6, 4]]


def test_pairs_of_several_bands_count_once() -> None:
    found = candidate_pairs(saved([[1, 1, 2], [3, 3, 3]]), np.arange(3, dtype=np.uint32))
    assert found.tolist() == [[1, 0], [2, 0], [2, 1]]


def test_a_large_bucket_is_tied_to_its_first() -> None:
    found = candidate_pairs(saved([[4] * 1000]), np.arange(1000, dtype=np.uint32))
    assert len(found) < 8000
    assert {later for later, earlier in found.tolist() if earlier == 0} == set(range(1, 1000))


def test_no_documents_no_pairs() -> None:
    nothing = np.empty(0, dtype=np.uint32)
    assert candidate_pairs([], nothing).tolist() == []
    assert candidate_pairs(saved([[], [], []]), nothing).tolist() == []


def test_memory_grows_with_documents_not_with_keys() -> None:
    count = 50_000
    random = np.random.default_rng(0)
    save_keys(Path("a.npy"), random.integers(1, 2**32, size=(30, count), dtype=np.uint32))
    tracemalloc.start()
    candidate_pairs([Path("a.npy")], np.arange(count, dtype=np.uint32))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 * count  # the keys are 120 bytes a document


def test_ranks_put_trust_before_ids() -> None:
    ids = np.array([5, 2**63, 1, 3], dtype=np.uint64)
    assert ranks(np.array([1, 0, 1, 0]), ids).tolist() == [3, 1, 2, 0]
