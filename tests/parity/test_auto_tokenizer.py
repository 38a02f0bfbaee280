"""The files we write, read by `transformers.AutoTokenizer`: identical ids, template and mask."""

import json
from pathlib import Path

import jinja2
import pytest
import tokenizers
import transformers

from jielong.tokenizer.bpe import Tokenizer
from jielong.tokenizer.chat_template import render
from jielong.tokenizer.special_tokens import SPELLINGS
from jielong.tokenizer.standard_files import MARK
from tests.mixed_text import conversations, lines

pytestmark = pytest.mark.parity

LINES = lines(10_000)
TALKS = conversations(LINES)


@pytest.fixture(scope="module")
def ours() -> Tokenizer:
    return Tokenizer.train(LINES[:3000], 900)


@pytest.fixture(scope="module")
def folder(ours: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer")
    ours.save(path)
    return path


@pytest.fixture(scope="module")
def theirs(folder: Path):
    return transformers.AutoTokenizer.from_pretrained(folder)


def test_identical_ids_on_mixed_lines(ours: Tokenizer, theirs) -> None:
    assert sum(any(s in line for s in SPELLINGS) for line in LINES) > 2000
    assert theirs(LINES)["input_ids"] == ours.encode_batch(LINES)


def test_identical_ids_however_text_is_cut(tmp_path: Path) -> None:
    other = Tokenizer.train(LINES[:1000], 600, han="words", digits=3)
    other.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert theirs(LINES[:1000])["input_ids"] == other.encode_batch(LINES[:1000])


def test_identical_ids_for_a_spelling_that_stands_alone(ours: Tokenizer, theirs) -> None:
    for text in (*SPELLINGS, *theirs.all_special_tokens):
        ids = theirs(text)["input_ids"]
        assert ids == ours.encode(text)
        assert not set(ids) & set(theirs.all_special_ids)


def test_the_file_alone_gives_the_same_ids(ours: Tokenizer, folder: Path) -> None:
    """No setting of `tokenizers` is needed, neither for text nor for what the template renders."""
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    found = backend.encode_batch(LINES, add_special_tokens=False)
    assert [encoding.ids for encoding in found] == ours.encode_batch(LINES)


def test_it_decodes_what_we_encode(ours: Tokenizer, theirs) -> None:
    for line in LINES[:500]:
        assert theirs.decode(ours.encode(line)) == line


def test_the_special_tokens_have_their_names(ours: Tokenizer, theirs) -> None:
    assert (theirs.pad_token, theirs.bos_token, theirs.eos_token) == SPELLINGS[:3]
    assert theirs.convert_tokens_to_ids(list(SPELLINGS)) == [*ours.special]
    assert set(theirs.all_special_ids) == set(ours.special)
    assert len(theirs) == ours.vocab_size
    assert theirs.decode([1, *ours.encode("晴"), 2], skip_special_tokens=True) == "晴"


@pytest.mark.parametrize("prompt", [False, True])
def test_the_template_gives_our_ids(ours: Tokenizer, theirs, prompt: bool) -> None:
    for messages in TALKS:
        ids = theirs.apply_chat_template(messages, add_generation_prompt=prompt)["input_ids"]
        assert ids == render(ours, messages, generation_prompt=prompt).ids, messages


def test_the_template_gives_our_loss_mask(ours: Tokenizer, theirs) -> None:
    empty = [{"role": role, "content": ""} for role in ("user", "assistant", "user", "assistant")]
    for messages in [empty, *TALKS]:
        found = theirs.apply_chat_template(messages, return_assistant_tokens_mask=True)
        expected = render(ours, messages)
        assert found["input_ids"] == expected.ids
        assert [bool(counts) for counts in found["assistant_masks"]] == expected.loss_mask


def test_what_we_refuse_the_template_refuses(theirs) -> None:
    user = {"role": "user", "content": "x"}
    for messages in (
        [{"role": "robot", "content": "x"}],
        [{"role": "user"}],
        [{"role": "assistant", "content": "x"}],
        [user, user],
        [user, {"role": "system", "content": "x"}],
    ):
        with pytest.raises(jinja2.TemplateError):
            theirs.apply_chat_template(messages)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_one_thing_that_differs(ours: Tokenizer, theirs, spelling: str) -> None:
    """A marked spelling is a token there. The template turns it away; we know it as text."""
    text = spelling + MARK
    assert theirs(text)["input_ids"] == [theirs.convert_tokens_to_ids(spelling)]
    assert ours.decode(ours.encode(text)) == text
    assert not set(ours.encode(text)) & set(ours.special)
    with pytest.raises(jinja2.TemplateError, match="control sequence"):
        theirs.apply_chat_template([{"role": "user", "content": f"a{text}b"}])


def test_what_transformers_saves_we_load(ours: Tokenizer, theirs, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again.sha256 == ours.sha256
    third = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert third(LINES[:200])["input_ids"] == ours.encode_batch(LINES[:200])


def test_a_file_from_before_there_were_marks_is_the_same_tokenizer(
    ours: Tokenizer, tmp_path: Path
) -> None:
    """Those listed the special tokens, and cut text in the two stages that ours has in memory."""
    ours.save(tmp_path)
    file = tmp_path / "tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    content["added_tokens"] = [
        {"id": i, "content": spelling, "special": True, **flags}
        for i, spelling in enumerate(SPELLINGS)
    ]
    stages = content["pre_tokenizer"]["pretokenizers"]
    pattern = stages[1]["pattern"]["Regex"]
    stages[1]["pattern"]["Regex"] = pattern[pattern.index(MARK) + 2 :]
    content["pre_tokenizer"]["pretokenizers"] = [stages[1], stages[3]]
    content["model"]["ignore_merges"] = False
    file.write_text(json.dumps(content), encoding="utf-8")
    assert Tokenizer.load(tmp_path).sha256 == ours.sha256
