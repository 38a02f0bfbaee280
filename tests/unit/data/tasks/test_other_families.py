import pytest

from jielong.data.tasks import FAMILIES, dialogue, recall, sentence
from jielong.data.tasks.base import Item, choose_wording, final_answer, normalise, user


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("意气风发。", "意气风发"),
        ("\uff21\uff22\uff23", "abc"),
        ("  A  b ", "a b"),
        ("答案是：猫！", "猫"),
        ("说“猫”，不说“狗”。", "狗"),
        ("想一想\n\n猫\n", "猫"),
        ("", ""),
        ("。", ""),
    ],
)
def test_final_answer_reads_the_last_line_span_or_clause(text: str, answer: str) -> None:
    assert final_answer(text) == answer


def test_normalise_drops_spaces_beside_han_only() -> None:
    assert normalise("你 好 world  \uff2fne") == "你好world one"


def find(items, name, **wanted) -> Item:
    found = [i for s in ("train", "dev", "test") for i in items(name, s)]
    return next(i for i in found if all(i.meta[key] == value for key, value in wanted.items()))


def test_a_word_of_two_classes_has_two_right_answers(items) -> None:
    item = find(items, "category", word="苹果")
    check = FAMILIES["category"].check
    assert [
        check(item, text).score for text in ("食物", "地名。", "苹果是食物。", "食物类", "动物")
    ] == [1, 1, 1, 1, 0]


def test_last_character_of_a_word(items) -> None:
    item = find(items, "last_character", word="长颈鹿")
    check = FAMILIES["last_character"].check
    texts = ("鹿", "鹿。", "“鹿”", "是鹿", "鹿字", "颈", "长颈鹿", "鹿鹿")
    assert [check(item, text).score for text in texts] == [1, 1, 1, 1, 1, 0, 0, 0]


def told(lang: str, name: str, value: str) -> Item:
    kind = next(k for k in recall.kinds() if (k.lang, k.name) == (lang, name))
    answer = kind.answer.format(v=value)
    return Item(
        family="recall",
        id="x",
        keys=(value,),
        lang=lang,
        messages=(user(kind.asks[0]),),
        answers=(answer, value),
        demonstration=answer,
        meta={"kind": kind, "value": value, "choices": 1},
    )


@pytest.mark.parametrize(
    ("lang", "name", "value", "text", "right"),
    [
        ("zh", "name", "王伟", "你叫王伟。", True),
        ("zh", "name", "王伟", "王伟", True),
        ("zh", "name", "王伟", "你的名字是王伟", True),
        ("zh", "name", "王伟", "你叫“王伟”。", True),
        ("zh", "name", "王伟", "你叫王伟芳。", False),
        ("zh", "name", "王伟", "你叫小王伟。", False),
        ("zh", "name", "王伟", "你叫李明或王伟。", False),
        ("zh", "name", "王伟", "你叫李明，你也叫王伟，是不是叫王伟", False),
        ("zh", "number", "12", "是112。", False),
        ("zh", "number", "12", "是12。", True),
        ("zh", "animal", "牛", "你喜欢水牛。", False),
        ("en", "name", "Tom", "Your name is Tom.", True),
        ("en", "name", "Tom", "tom", True),
        ("en", "name", "Tom", "Your name is Anna or Tom.", False),
        ("en", "name", "Tom", "Your name is Thom.", False),
        ("en", "food", "ice cream", "You like ice cream!", True),
        ("en", "number", "12", "It is 112.", False),
        ("en", "number", "12", "I do not know.", False),
    ],
)
def test_recall_wants_the_value_and_no_other(lang, name, value, text, right) -> None:
    assert FAMILIES["recall"].check(told(lang, name, value), text).score == right


def test_every_recall_item_tells_what_it_asks_for(items) -> None:
    for split in ("train", "dev", "test"):
        for item in items("recall", split):
            said = [m["content"] for m in item.messages if m["role"] == "user"]
            assert any(item.meta["value"] in turn for turn in said[:-1])
            assert item.meta["value"] not in said[-1]


def test_held_out_questions_of_recall_are_never_trained(items) -> None:
    last = {(kind.lang, kind.asks[-1]) for kind in recall.kinds()}
    asked = {(i.lang, i.messages[-1]["content"]) for i in items("recall", "train")}
    assert not asked & last
    assert all(len(kind.asks) >= 6 for kind in recall.kinds())


@pytest.mark.parametrize("lang", dialogue.LANGUAGES)
def test_dialogues_are_well_formed(lang: str) -> None:
    questions = [q for intent in dialogue.intents(lang) for q in intent.questions]
    assert len(set(questions)) == len(questions) >= 120
    names = [intent.name for intent in dialogue.intents(lang)]
    assert len(set(names)) == len(names)
    for intent in dialogue.intents(lang):
        assert len(intent.of("train")) >= 6
        assert (len(intent.of("dev")), len(intent.of("test"))) == (1, 2)
        assert intent.family in FAMILIES
        for answer in intent.answers:
            assert any(normalise(mark) in normalise(answer) for mark in intent.accept)
    for talk in dialogue.talks(lang):
        assert len(talk) >= 4
        assert len(talk) % 2 == 0


@pytest.mark.parametrize("lang", dialogue.LANGUAGES)
def test_talks_and_contexts_say_no_held_out_phrasing(lang: str, items) -> None:
    held_out = {
        q for intent in dialogue.intents(lang) for s in ("dev", "test") for q in intent.of(s)
    }
    talked = {m["content"] for talk in dialogue.talks(lang) for m in talk if m["role"] == "user"}
    assert not talked & held_out
    for name in ("greeting", "small_talk", "recall"):
        for item in items(name, "train"):
            assert not {m["content"] for m in item.messages if m["role"] == "user"} & held_out


def test_the_assistant_says_its_name(items) -> None:
    found = items("greeting", "test")
    who = next(i for i in found if i.meta["intent"].name == "who" and i.lang == "zh")
    check = FAMILIES["greeting"].check
    assert check(who, "我是接龙。").score == 1
    assert check(who, "我是小明。").score == 0
    assert check(who, "我是接龙。" * 9).reason == "runs on"


@pytest.mark.parametrize(
    ("text", "word", "lang", "reason"),
    [
        ("他是一位医生。", "医生", "zh", "right"),
        ("他是一位老师。", "医生", "zh", "the word is missing"),
        ("他是一位医生", "医生", "zh", "does not end as a sentence does"),
        ("医生。", "医生", "zh", "no sentence, only a word or two"),
        ("He is a 医生 in my town。", "医生", "zh", "another language"),
        ("医生医生医生医生医生。", "医生", "zh", "goes round in circles"),
        ("The doctor is here.", "doctor", "en", "right"),
        ("The Doctor is here!", "doctor", "en", "right"),
        ("The doctors are here.", "doctor", "en", "the word is missing"),
        ("The doctor is here", "doctor", "en", "does not end as a sentence does"),
        ("doctor doctor doctor doctor doctor.", "doctor", "en", "goes round in circles"),
    ],
)
def test_what_counts_as_a_sentence(text: str, word: str, lang: str, reason: str) -> None:
    assert sentence.well_formed(text, word, lang).reason == reason


def test_demonstrations_say_the_word_early(lexicon) -> None:
    by_word = sentence.sentences_by_word(lexicon, "zh")
    assert set(by_word) == set(lexicon.words_zh)
    places = [text.index("医生") for text in by_word["医生"]]
    assert places[:3] == [0, 0, 0]


def test_without_everyday_sentences_all_serve(lexicon) -> None:
    from dataclasses import replace

    old = [{**s, "source": "sanguo"} for s in lexicon.sentences]
    assert len(sentence.everyday(replace(lexicon, sentences=old), "zh")) == 12 * 11
    mixed = [*lexicon.sentences, {"text": "却说曹操引兵而去。", "lang": "zh", "source": "sanguo"}]
    assert "却说曹操引兵而去。" not in sentence.everyday(replace(lexicon, sentences=mixed), "zh")


def test_choose_wording_keeps_the_last_for_the_test() -> None:
    from random import Random

    wordings = ("a", "b", "c")
    rng = Random(0)
    assert {choose_wording(wordings, "train", rng) for _ in range(100)} == {
        ("a", False),
        ("b", False),
    }
    assert ("c", True) in {choose_wording(wordings, "test", rng) for _ in range(100)}
