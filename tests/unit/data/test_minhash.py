from random import Random

import numpy as np
import pytest

from jielong.core.config import parse
from jielong.core.errors import ConfigError
from jielong.data.minhash import NO_KEY, NearConfig, band_keys, jaccard, minima, shingles
from tests.planted import edited, random_text

CONFIG = NearConfig()
STEEP = NearConfig(bands=12, rows=4)  # few bands, so that detection is far from certain


def pairs(lang: str, characters: int, share: float, count: int) -> list[tuple[str, str]]:
    random = Random(f"{lang} {characters} {share}")
    texts = [random_text(random, lang, characters) for _ in range(count)]
    return [(text, edited(random, text, share)) for text in texts]


def test_shingles_know_letters_and_digits_only() -> None:
    assert len(shingles("Ab, c-D_e！f", 5)) == 2  # abcde, bcdef
    assert shingles("\uff21 b，C d。\uff25", 5).tolist() == shingles("abcde", 5).tolist()
    assert shingles("abcde", 5).tolist() != shingles("abced", 5).tolist()


def test_a_shingle_counts_once() -> None:
    assert len(shingles("一二三" * 9, 3)) == 3


def test_jaccard_by_hand() -> None:
    one, other = shingles("abcdefg", 5), shingles("abcdefh", 5)
    assert jaccard(one, other) == 2 / 4
    assert jaccard(one, one) == 1
    assert jaccard(one, shingles("", 5)) == jaccard(shingles("", 5), shingles("", 5)) == 0


@pytest.mark.parametrize(("characters", "share"), [(100, 0.02), (250, 0.05), (3000, 0.05)])
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_minima_agree_with_probability_j(lang: str, characters: int, share: float) -> None:
    """From texts that leave three bins of four empty to texts that fill them all."""
    gaps = []
    for one, other in pairs(lang, characters, share, 60):
        a, b = minima([one, other], CONFIG, 0)
        gaps.append(float((a == b).mean()) - jaccard(shingles(one, 5), shingles(other, 5)))
    assert abs(np.mean(gaps)) < 4 * np.std(gaps) / len(gaps) ** 0.5
    assert np.std(gaps) < 0.05


@pytest.mark.parametrize(("characters", "share"), [(200, 0.05), (3000, 0.05)])
def test_detection_follows_the_formula(characters: int, share: float) -> None:
    found, expected = [], []
    for one, other in pairs("zh", characters, share, 300):
        keys = band_keys([one, other], STEEP, 0)
        found.append(bool((keys[:, 0] == keys[:, 1]).any()))
        j = jaccard(shingles(one, 5), shingles(other, 5))
        expected.append(1 - (1 - j**4) ** 12)
    p = np.mean(expected)
    assert 0.8 < p < 0.95
    assert abs(np.mean(found) - p) < 4 * (p * (1 - p) / len(found)) ** 0.5


def test_other_seeds_order_shingles_otherwise() -> None:
    text = random_text(Random(0), "en", 500)
    one, other = (minima([text], CONFIG, seed)[0] for seed in (0, 1))
    assert not (one == other).any()


def test_keys_do_not_depend_on_the_neighbours() -> None:
    random = Random(0)
    texts = [random_text(random, lang, 30 + 900 * n) for n in range(20) for lang in ("zh", "en")]
    together = band_keys(texts, CONFIG, 0)
    assert together.shape == (80, len(texts))
    assert together.dtype == np.uint32
    alone = [band_keys([text], CONFIG, 0) for text in reversed(texts)]
    assert np.array_equal(together, np.concatenate(alone[::-1], axis=1))


def test_a_short_text_is_not_compared() -> None:
    keys = band_keys(
        ["", "短", "十个字也还是不够长的", random_text(Random(0), "zh", 60)], CONFIG, 0
    )
    assert (keys[:, :3] == NO_KEY).all()
    assert (keys[:, 3] != NO_KEY).all()
    assert band_keys([], CONFIG, 0).shape == (80, 0)


def test_a_text_that_repeats_itself_counts_as_short() -> None:
    assert (band_keys(["哈哈哈" * 500], CONFIG, 0) == NO_KEY).all()


@pytest.mark.parametrize(
    ("setting", "value"),
    [("bands", 0), ("rows", -1), ("jaccard", 0.0), ("jaccard", 1.5), ("min_shingles", 401)],
)
def test_a_setting_out_of_range_is_refused(setting: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"^{setting}: {value}: must be"):
        parse(NearConfig, {setting: value})
