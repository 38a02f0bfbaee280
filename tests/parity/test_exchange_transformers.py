"""Whole models in and out: the text they go on with is the same here and in `transformers`."""

import json
from pathlib import Path

import pytest
import torch
import transformers

from jielong.generation.engine import generate
from jielong.generation.exchange import export_folder, import_model
from jielong.generation.loading import Assistant, load_assistant, save_model
from jielong.generation.sampling import Sampling
from jielong.tokenizer.chat_template import render
from tests.foreign import like_gemma, like_qwen
from tests.parity.test_families_transformers import GEMMA, theirs
from tests.tiny import TEXTS, decoder, tokenizer

pytestmark = pytest.mark.parity

GREEDY = Sampling(strategy="greedy", max_tokens=24)
TALK = [
    {"role": "user", "content": "春风 the fox?"},
    {"role": "assistant", "content": "雨过天晴"},
    {"role": "user", "content": " lazy dog\n"},
]


def folder(path: Path, kind: str) -> Path:
    """A model of theirs with a tokenizer that fits it."""
    made = like_gemma(path) if kind == "gemma3_text" else like_qwen(path)
    ends = {"bos_token_id": None, "pad_token_id": None}
    end = "<end_of_turn>" if kind == "gemma3_text" else "<|im_end|>"
    ends["eos_token_id"] = made.token_to_id(end)
    size = {"vocab_size": -(-made.get_vocab_size() // 8) * 8}
    model = theirs(kind, (GEMMA if kind == "gemma3_text" else {}) | size | ends)
    model.save_pretrained(path)
    return path


def continued(path: Path, ids: list[int]) -> list[int]:
    """What `transformers` goes on with; sums as ours, in float32."""
    model = transformers.AutoModelForCausalLM.from_pretrained(path, attn_implementation="eager")
    rows = torch.tensor([ids])
    found = model.generate(
        rows, attention_mask=torch.ones_like(rows), do_sample=False, max_new_tokens=24
    )
    return found[0, len(ids) :].tolist()


def ours(model: Assistant, ids: list[int]) -> list[int]:
    (completion,) = generate(model, [ids], GREEDY)
    return completion.ids


@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen2", "qwen3", "gemma3_text"])
def test_a_folder_of_theirs_goes_on_alike(kind: str, tmp_path: Path) -> None:
    """Directly, after an import, and after that was exported again."""
    source = folder(tmp_path, kind)
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    import_model(source, tmp_path / "ours")
    export_folder(tmp_path / "ours", tmp_path / "theirs-again")
    for text in TEXTS[:2]:
        ids = their_tokenizer(text)["input_ids"]
        expected = continued(source, ids)
        assert len(expected) > 3
        assert continued(tmp_path / "theirs-again", ids) == expected
        for place in (source, tmp_path / "ours", tmp_path / "theirs-again"):
            loaded = load_assistant(place)
            assert [*loaded.tokenizer.begins, *loaded.tokenizer.encode(text)] == ids
            assert ours(loaded, ids) == expected


@pytest.mark.parametrize("kind", ["qwen3", "gemma3_text"])
def test_a_chat_with_it_is_laid_out_alike(kind: str, tmp_path: Path) -> None:
    source = folder(tmp_path, kind)
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    loaded = load_assistant(source)
    for prompt in (False, True):
        found = their_tokenizer.apply_chat_template(TALK, add_generation_prompt=prompt)
        assert render(loaded.tokenizer, TALK, generation_prompt=prompt).ids == found["input_ids"]
    ids = render(loaded.tokenizer, TALK, generation_prompt=True).ids
    assert ours(loaded, ids) == continued(source, ids)


@pytest.mark.parametrize(
    "changes", [{}, {"qk_norm": False, "tied": False}, {"attention": "sliding:7*2 dense"}]
)
def test_a_model_of_ours_goes_on_alike_there(changes: dict[str, object], tmp_path: Path) -> None:
    """With their own loading of it all: no `<bos>` has to be put before a text by hand."""
    model = decoder(vocab_size=tokenizer().vocab_size, context=64, **changes)
    save_model(tmp_path, model, tokenizer())
    export_folder(tmp_path / "model", tmp_path / "out", max_shard_bytes=20_000)
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    here, back = load_assistant(tmp_path), load_assistant(tmp_path / "out")
    for text in TEXTS:
        ids = their_tokenizer(text[:12])["input_ids"]
        assert ids == [here.tokenizer.special.bos, *here.tokenizer.encode(text[:12])]
        assert continued(tmp_path / "out", ids) == ours(here, ids) == ours(back, ids)
    found = their_tokenizer.apply_chat_template(TALK, add_generation_prompt=True)["input_ids"]
    assert found == render(here.tokenizer, TALK, generation_prompt=True).ids
    assert back.tokenizer.sha256 == here.tokenizer.sha256


def test_their_generation_ends_where_ours_ends(tmp_path: Path) -> None:
    """`generation_config.json` names the tokens; with a likely <eos> both stop at it."""
    model = decoder(vocab_size=tokenizer().vocab_size, context=64, tied=False)
    with torch.no_grad():
        model.head.weight[2] = 3 * model.head.weight.abs().max()
    save_model(tmp_path, model, tokenizer())
    export_folder(tmp_path / "model", tmp_path / "out")
    here = load_assistant(tmp_path)
    lengths = set()
    for text in TEXTS:
        ids = [1, *here.tokenizer.encode(text[:9])]
        found = ours(here, ids)
        assert continued(tmp_path / "out", ids) == found
        lengths.add((len(found), found[-1] == 2))
    assert any(ended for _, ended in lengths)
    written = json.loads((tmp_path / "out" / "generation_config.json").read_text(encoding="utf-8"))
    assert written == {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
