"""Whatever the text, the cleaning steps answer, and masks do what they say."""

from hypothesis import given
from hypothesis import strategies as st

from jielong.data.documents import Document, Dropped
from jielong.data.filters import heuristics, language, personal

PIECES = st.sampled_from(
    "电话 手机号 订单号 第 QQ： 微信号 WeChat ID: 13912345678 0755-23456789 86 123456 lin_2020 1 "
    "lin@mail.com 11010519491231002X 4111111111111111 114.88.20.5 + ( ) - . @ a ： 转 汉 \n "
    "[邮箱] [QQ]".split(" ")
)
TEXTS = st.lists(PIECES | st.just(" "), max_size=12).map("".join)
STEPS = (
    language.block(language.LanguageConfig()),
    heuristics.block(heuristics.HeuristicsConfig(min_units=1)),
    personal.block(personal.PersonalConfig()),
)
MASKS = {
    lang: {kind: by[lang] for kind, by in personal.PLACEHOLDERS.items()} for lang in ("zh", "en")
}


@given(st.text() | TEXTS, st.sampled_from(["zh", "en", "mixed"]))
def test_any_text_gets_an_answer(text: str, lang: str) -> None:
    document = Document(source="files", key="1", text=text, lang=lang, group="1")
    for step in STEPS:
        found = step(document)
        assert step(document) == found
        if isinstance(found, Dropped):
            assert found.document is document
            assert found.rule.partition(".")[2].isidentifier()
            assert "\n" not in found.detail
        else:
            assert found.id == document.id


@given(TEXTS, st.sampled_from(["zh", "en"]))
def test_masks_are_counted_and_all_else_stays(text: str, lang: str) -> None:
    masked, found = personal.mask(text, lang, personal.PersonalConfig())
    for kind, placeholders in personal.PLACEHOLDERS.items():
        before = text.count(placeholders[lang])
        assert masked.count(placeholders[lang]) == before + found[kind]
    rest = text
    for piece in _split(masked, lang):  # what is left stands in the text in the same order
        assert piece in rest
        rest = rest[rest.index(piece) + len(piece) :]


@given(TEXTS, st.sampled_from(["zh", "en"]))
def test_what_is_masked_holds_nothing_more_to_mask(text: str, lang: str) -> None:
    once, _ = personal.mask(text, lang, personal.PersonalConfig())
    assert personal.mask(once, lang, personal.PersonalConfig())[0] == once


def _split(text: str, lang: str) -> list[str]:
    for placeholders in personal.PLACEHOLDERS.values():
        text = text.replace(placeholders[lang], "\0")
    return text.split("\0")
