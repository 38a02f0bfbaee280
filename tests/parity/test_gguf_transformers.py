"""The files of each architecture, read by `transformers`: equal scores, an equal vocabulary.

Its reader knows less than the format: it takes sizes for granted that files of other models state.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from jielong.model.config import RopeConfig
from jielong.model.formats.gguf import read_gguf, write_gguf
from jielong.model.transformer import Transformer
from jielong.tokenizer.bpe import Tokenizer
from jielong.tokenizer.gguf import to_keys
from tests.gguf_files import SHAPES
from tests.mixed_text import lines
from tests.tiny import decoder, tokenizer

pytestmark = pytest.mark.parity

FIXED: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {"head_size": 128},
    "gemma3": {
        "tied": True,
        "n_layer": 7,
        "head_size": 256,
        "attention": "sliding:8*5 dense",
        "rope": RopeConfig(base=5000.0, local_base=10_000.0),
    },
    "gpt2": {"tied": True, "context": 1024, "ffn_width": 256},
}


def keys_of(vocabulary: Tokenizer, folder: Path) -> dict[str, Any]:
    vocabulary.save(folder)
    content, config = (
        json.loads((folder / name).read_text(encoding="utf-8"))
        for name in ("tokenizer.json", "tokenizer_config.json")
    )
    return to_keys(content, config, vocabulary.vocab_size, "here")


@pytest.mark.parametrize("dtype", ["f32", "q8_0"])
@pytest.mark.parametrize("shape", FIXED)
@torch.no_grad()
def test_scores_are_equal(shape: str, dtype: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    model = decoder(seed=7, std=0.15, **SHAPES[shape] | FIXED[shape])
    keys = keys_of(tokenizer(), tmp_path)
    write_gguf(path, model.config, model.state_dict(), keys, dtype=dtype)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file=path.name, dtype=torch.float32
    ).eval()
    found = read_gguf(path)
    ours = Transformer(found.config).eval()
    ours.load_state_dict(found.weights)
    ids = torch.arange(6, 46)[None]
    scores = ours(ids)
    assert scores.std() > 0.5
    torch.testing.assert_close(scores, theirs(ids).logits, atol=1e-5, rtol=1e-5)


def test_the_vocabulary_is_the_same(tmp_path: Path) -> None:
    """Without combining marks, or digits by three: it cuts by the name that the file gives."""
    ours = Tokenizer.train(lines(1000), 700, digits=3)
    model = decoder(**SHAPES["llama"] | {"vocab_size": ours.vocab_size})
    keys = keys_of(ours, tmp_path)
    write_gguf(tmp_path / "m.gguf", model.config, model.state_dict(), keys, dtype="f32")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file="m.gguf")
    for text in ("晴空万里，一心一意。", "the quick  fox\n\n\tdon't 12 12345", "ひらがな привет"):
        assert theirs(text, add_special_tokens=False)["input_ids"] == ours.encode(text)
