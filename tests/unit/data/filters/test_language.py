import pickle
from dataclasses import replace

import pytest

from jielong.core.config import parse
from jielong.core.errors import ConfigError, DataError
from jielong.data.documents import Document, Dropped
from jielong.data.filters.language import UNDETERMINED, LanguageConfig, block, identify
from tests.unit.data.filters.sentences import HEADWORDS, SENTENCES

CONFIG = LanguageConfig()


def document(text: str, lang: str = "en") -> Document:
    return Document(source="files", key="1", text=text, lang=lang, group="1")


def f1(lang: str, pairs: list[tuple[str, str]]) -> float:
    right = sum(true == found == lang for true, found in pairs)
    return 2 * right / (sum(t == lang for t, _ in pairs) + sum(f == lang for _, f in pairs))


def test_sentences_of_eight_languages() -> None:
    told = [(lang, line) for lang, text in SENTENCES.items() for line in text.strip().split("\n")]
    assert min(sum(lang == one for lang, _ in told) for one in SENTENCES) >= 15
    pairs = [(lang, identify(line, CONFIG)) for lang, line in told]
    assert sum(f1(lang, pairs) for lang in SENTENCES) / len(SENTENCES) >= 0.99


def test_headwords_go_by_their_script() -> None:
    told = [(lang, word) for lang, words in HEADWORDS.items() for word in words.split()]
    right = [identify(word, CONFIG) == lang for lang, word in told]
    assert sum(right) / len(right) >= 0.99


@pytest.mark.parametrize(
    ("text", "lang"),
    [
        ("“传统”读作 chuán tǒng，英语是 tradition, convention。", "mixed"),
        ("The word 传统 (chuán tǒng) means tradition.", "mixed"),
        ("他用 Python 写了一个小程序，每天早上替他把天气预报读出来。", "zh"),  # one word of ten
        ("日语里的の相当于汉语的“的”，这是初学的人最先记住的几个助词之一。", "zh"),
        ("He was born in Suzhou (苏州) and moved to the north when he was ten years old.", "en"),
        ("मैं कल बाज़ार गया था और मैंने कुछ फल खरीदे।", UNDETERMINED),
        ("Χθες το βράδυ έβρεξε πολύ στην πόλη μας.", UNDETERMINED),
        ("12 + 30 = 42", UNDETERMINED),
        ("", UNDETERMINED),
    ],
)
def test_what_stands_side_by_side(text: str, lang: str) -> None:
    assert identify(text, CONFIG) == lang


def test_below_the_fewest_letters_the_model_is_not_asked() -> None:
    assert identify("Guten Tag", CONFIG) == "en"
    assert identify("Guten Tag", replace(CONFIG, min_letters=0)) == "de"


def test_a_preface_in_another_language_does_not_decide_alone() -> None:
    german = SENTENCES["de"].replace("\n", " ")
    english = SENTENCES["en"].replace("\n", " ")
    text = german[:300] + english * 6
    assert identify(text[:400], CONFIG) == "de"
    assert identify(text, CONFIG) == "en"


def test_the_step_labels_what_it_keeps_and_names_what_it_drops() -> None:
    step = block(CONFIG)
    chinese = document("今天早上下了一场小雨，路边的树叶都湿了。", lang="en")
    assert step(chinese) == replace(chinese, lang="zh")
    german = document("Der Bäcker an der Ecke öffnet schon um fünf Uhr morgens.")
    dropped = step(german)
    assert isinstance(dropped, Dropped)
    assert (dropped.document, dropped.rule) == (german, "language.de")
    assert dropped.detail.startswith("probability ")
    assert block(replace(CONFIG, keep=("de",)))(german) == replace(german, lang="de")


def test_the_step_travels_to_a_worker() -> None:
    step = pickle.loads(pickle.dumps(block(CONFIG)))  # noqa: S301 - our own bytes
    assert step(document("猫", "zh")) == document("猫", "zh")


@pytest.mark.parametrize(
    "values",
    [
        {"keep": []},
        {"alphabetic": ["de"]},
        {"min_letters": -1},
        {"mixed_share": 0.6},
        {"sample_characters": 0},
    ],
)
def test_settings_without_meaning_are_refused(values: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        parse(LanguageConfig, values)


def test_a_language_that_the_model_does_not_know_is_named() -> None:
    config = LanguageConfig(alphabetic=("en", "klingon"))
    with pytest.raises(DataError, match="klingon: unknown to py3langid"):
        identify("A sentence that is long enough.", config)
