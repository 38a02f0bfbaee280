from random import Random

import pytest

from jielong.data import faults, splits
from jielong.data.lexicon import Lexicon
from jielong.data.prompts import HELD_OUT, sentence_prompts
from jielong.data.tasks import sentence

WORDS = [f"{a}{b}" for a in "天地人山水火木金土日" for b in "月风云花鸟虫鱼龙虎马牛羊鹿兔"]


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    zh = [{"text": f"他说{word}很好。", "lang": "zh", "source": "hsk"} for word in WORDS]
    en = [{"text": "The old garden is quiet.", "lang": "en", "source": "hsk"}]
    return Lexicon(sentences=zh + en, words_zh=WORDS, words_en=["garden", "quiet"])


def test_words_and_wordings_are_held_out_together(lexicon) -> None:
    asked = {split: sentence_prompts(lexicon, split, 0) for split in ("train", "dev", "test")}
    groups = {split: {p.group for p in prompts} for split, prompts in asked.items()}
    assert all(groups.values())
    for split, words in groups.items():
        assert {splits.split(word) for word in words} == {split}
    trained = {p.messages[0]["content"].replace(p.group, "") for p in asked["train"]}
    held_out = {
        p.messages[0]["content"].replace(p.group, "") for s in ("dev", "test") for p in asked[s]
    }
    assert not trained & held_out
    assert len([p for p in asked["train"] if p.lang == "zh"]) == 5 * len(
        [w for w in WORDS if splits.split(w) == "train"]
    )


@pytest.mark.parametrize("lang", HELD_OUT)
def test_held_out_wordings_are_not_taught(lang: str) -> None:
    assert not set(HELD_OUT[lang]) & set(sentence.WORDINGS[lang][:-1])
    assert len(set(HELD_OUT[lang])) == 3
    assert all("{word}" in wording for wording in HELD_OUT[lang])


def test_order_is_shuffled_by_the_seed(lexicon) -> None:
    def ids(seed: int) -> list[str]:
        return [prompt.id for prompt in sentence_prompts(lexicon, "train", seed)]

    assert ids(0) == ids(0)
    assert ids(0) != ids(1)
    assert sorted(ids(0)) == sorted(ids(1))


def test_a_prompt_tells_its_wishes_and_an_example_that_meets_them(lexicon) -> None:
    for prompt in sentence_prompts(lexicon, "train", 0):
        word = prompt.constraints["contains"]
        assert prompt.constraints == {"contains": prompt.group, "language": prompt.lang}
        assert word in prompt.messages[0]["content"]
        assert sentence.well_formed(prompt.example, word, prompt.lang).score == 1


@pytest.mark.parametrize(
    ("text", "lang", "others"),
    [("我每天早上喝茶。", "zh", ["他去学校了。"]), ("I drink tea at home.", "en", ["He left."])],
)
def test_every_kind_of_fault_is_made(text: str, lang: str, others: list[str]) -> None:
    for seed in range(200):
        made = {fault.kind: fault for fault in faults.faults(Random(seed), text, lang, others)}
        assert set(made) == set(faults.KINDS)
        assert not {fault.text for fault in made.values()} & {text}
        assert made["cut"].text == text[: len(made["cut"].text)]
        assert not made["cut"].finished
        assert made["doubled"].text.count(text) >= 2
        assert made["off_topic"].text in others
        words = made["loop"].text.split() if lang == "en" else list(made["loop"].text)
        assert len(set(words)) <= len(words) / 2 + 4
        han = any(c >= "\u4e00" for c in made["other_language"].text)
        assert han == (lang == "en")


def test_faults_of_nothing_are_still_texts() -> None:
    kinds = {fault.kind for fault in faults.faults(Random(0), "", "zh")}
    assert kinds == {"loop", "doubled", "other_language", "bare"}
