"""What we write, llama.cpp reads, and goes on from a prompt with the same tokens."""

import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader

from jielong.model.formats.gguf import read_gguf, write_gguf
from jielong.model.transformer import Transformer
from jielong.tokenizer.bpe import Tokenizer
from jielong.tokenizer.chat_template import render
from jielong.tokenizer.gguf import to_keys
from jielong.tokenizer.special_tokens import SPELLINGS
from tests.gguf_files import SCALINGS, SHAPES, model_of, plain_vocabulary, write_by_library
from tests.llama_cpp_engine import Engine, Step
from tests.mixed_text import lines
from tests.tiny import decoder

pytestmark = pytest.mark.parity

PROMPT = [1, 20, 30, 40, 50, 60, 70, 80, 90, 11, 22, 33]
EOS = 2
# GELU is looked up in a table of float16 there.
TOLERANCE = {"gemma3": 2e-3, "gpt2": 2e-3}


@torch.no_grad()
def ours(model: Transformer, prompt: list[int], count: int) -> Iterator[tuple[int, torch.Tensor]]:
    """The likeliest tokens, as `Engine.greedy` has them, and the log-probabilities of all."""
    ids = list(prompt)
    for _ in range(count):
        logp = model(torch.tensor([ids]))[0, -1].log_softmax(-1)
        banned = logp.clone()
        banned[EOS] = -torch.inf
        ids.append(int(banned.argmax()))
        yield ids[-1], logp


def largest_difference(model: Transformer, steps: list[Step], prompt: list[int]) -> float:
    expected = ours(model, prompt, len(steps))
    return max(
        abs(logp - float(all_logp[token]))
        for step, (_, all_logp) in zip(steps, expected, strict=True)
        for token, logp in step.logp.items()
        if token != EOS
    )


def write(model: Transformer, path: Path, dtype: Any = "f32") -> Path:
    vocabulary = plain_vocabulary(model.config.vocab_size)
    write_gguf(path, model.config, model.state_dict(), vocabulary, dtype=dtype)
    return path


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_64_tokens(shape: str, tmp_path: Path) -> None:
    model = model_of(shape)
    steps = Engine(write(model, tmp_path / "m.gguf")).greedy(PROMPT, 64)
    assert [step.token for step in steps] == [token for token, _ in ours(model, PROMPT, 64)]
    assert len({step.token for step in steps}) > 2  # one token over and over would prove little
    assert largest_difference(model, steps, PROMPT) < TOLERANCE.get(shape, 2e-5)


@pytest.mark.parametrize(
    ("shape", "scaling"),
    [(s, r) for s in ("llama", "qwen3") for r in SCALINGS if s == "llama" or "llama3" not in r],
)
def test_the_same_64_tokens_however_positions_are_stretched(
    shape: str, scaling: str, tmp_path: Path
) -> None:
    model = decoder(seed=7, std=0.15, **SHAPES[shape] | {"rope": SCALINGS[scaling]})
    steps = Engine(write(model, tmp_path / "m.gguf")).greedy(PROMPT, 64)
    assert [step.token for step in steps] == [token for token, _ in ours(model, PROMPT, 64)]
    assert largest_difference(model, steps, PROMPT) < 2e-5


@pytest.mark.parametrize("dtype", ["f16", "q8_0"])
def test_fewer_bits_are_the_same_there_and_here(dtype: Any, tmp_path: Path) -> None:
    """Against our reading of the same file. There activations are rounded too, to 8 bits."""
    path = write(model_of("qwen3"), tmp_path / "m.gguf", dtype)
    found = read_gguf(path)
    model = Transformer(found.config).eval()
    model.load_state_dict(found.weights)
    steps = Engine(path).greedy(PROMPT, 1)
    assert largest_difference(model, steps, PROMPT) < {"f16": 5e-3, "q8_0": 0.15}[dtype]


def random_blocks(kind: str, shape: tuple[int, int], seed: int) -> np.ndarray:
    """Packed numbers of any kind: all bits at random, but scales of a size that weights have."""
    random = np.random.default_rng(seed)
    block, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    raw = random.integers(0, 256, (shape[0] * shape[1] // block, size), np.uint8)
    scales, scale = SCALES[kind]
    for start in scales:
        values = random.uniform(0.5, 1.5, len(raw)).astype(np.float16) * np.float16(scale)
        raw[:, start : start + 2] = values.astype(np.float16)[:, None].view(np.uint8)
    return raw.reshape(shape[0], -1)


# Where the float16 scales of a block stand, and how large they are for numbers of about 0.1.
SCALES: dict[str, tuple[tuple[int, ...], float]] = {
    "Q8_0": ((0,), 0.002),
    "Q4_0": ((0,), 0.02),
    "Q4_1": ((0, 2), 0.01),
    "Q5_0": ((0,), 0.01),
    "Q5_1": ((0, 2), 0.005),
    "Q2_K": ((80, 82), 0.005),
    "Q3_K": ((108,), 0.002),
    "Q4_K": ((0, 2), 0.0005),
    "Q5_K": ((0, 2), 0.0003),
    "Q6_K": ((208,), 0.0001),
}


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", *SCALES])
def test_what_others_pack_is_read_as_llama_cpp_reads_it(kind: str, tmp_path: Path) -> None:
    """Rows of 256 numbers, as the larger blocks need; activations are rounded there."""
    shape = SHAPES["llama"] | {"width": 256, "ffn_width": 256, "n_layer": 1, "context": 32}
    model = decoder(seed=7, std=0.05, **shape)
    path = write(model, tmp_path / "plain.gguf")
    keys, tensors = taken_apart(path)
    for seed, (name, (array, _)) in enumerate(tensors.items()):
        if array.ndim == 2 and name.startswith("blk"):
            packed = pack(kind, array, seed)
            tensors[name] = (packed, kind)
    write_by_library(tmp_path / "m.gguf", keys, tensors)
    found = read_gguf(tmp_path / "m.gguf")
    model.load_state_dict(found.weights)
    steps = Engine(tmp_path / "m.gguf", 32).greedy(PROMPT, 1)
    spread = float(next(ours(model, PROMPT, 1))[1].std())
    assert spread > 0.3
    limit = {"F32": 1e-5, "F16": 5e-3, "BF16": 2e-2}.get(kind, 0.1)
    assert largest_difference(model, steps, PROMPT) < limit


def pack(kind: str, array: np.ndarray, seed: int) -> np.ndarray:
    if kind == "F16":
        return array.astype(np.float16)
    if kind == "BF16":
        return torch.from_numpy(array).bfloat16().view(torch.uint8).numpy()
    return array if kind == "F32" else random_blocks(kind, array.shape, seed)


def taken_apart(path: Path) -> tuple[dict[str, Any], dict[str, tuple[np.ndarray, str]]]:
    reader = GGUFReader(path)
    keys = {k: f.contents() for k, f in reader.fields.items() if not k.startswith("GGUF.")}
    return keys, {t.name: (np.array(t.data), t.tensor_type.name) for t in reader.tensors}


# The vocabulary: what a text becomes there, and a conversation.

LINES = lines(2000)


@pytest.fixture(scope="module", params=[1, 2, 3])
def vocabulary(request: pytest.FixtureRequest) -> Tokenizer:
    return Tokenizer.train(LINES, 800, digits=request.param)


@pytest.fixture(scope="module")
def engine(vocabulary: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = tmp_path_factory.mktemp("model")
    vocabulary.save(folder)
    content, config = (
        json.loads((folder / name).read_text(encoding="utf-8"))
        for name in ("tokenizer.json", "tokenizer_config.json")
    )
    size = vocabulary.vocab_size
    model = decoder(**SHAPES["qwen3"] | {"vocab_size": size, "context": 512})
    keys = to_keys(content, config, size, "here")
    write_gguf(folder / "m.gguf", model.config, model.state_dict(), keys, dtype="f32")
    return Engine(folder / "m.gguf", 512)


def marks(text: str) -> bool:
    """Whether a text has combining marks, as Thai or emoji do."""
    return any(unicodedata.category(character)[0] == "M" for character in text)


def test_text_becomes_the_same_ids(vocabulary: Tokenizer, engine: Engine) -> None:
    """Save for long numbers cut in pairs, combining marks, and blank lines that hold blanks."""
    pairs = len(vocabulary.pieces("123")) == 2
    otherwise = r"[\r\n][^\S\r\n]+[\r\n]" + (r"|[0-9\uff10-\uff19]{3}" if pairs else "")
    plain = [s for s in LINES if not marks(s) and not re.search(otherwise, f"{s}\n")]
    assert len(plain) > 300
    for start in range(0, 300, 20):
        text = "\nx".join(plain[start : start + 20])
        assert engine.ids(text)[1:] == vocabulary.encode(text), text


def test_a_conversation_becomes_the_same_ids(vocabulary: Tokenizer, engine: Engine) -> None:
    """What a user types is text, also where it spells a special token."""
    for text in ("你好", *SPELLINGS, f"say {SPELLINGS[2]}!", "  two\n\nlines "):
        talk = [{"role": "user", "content": text}]
        answered = [
            {"role": "system", "content": text},
            *talk,
            {"role": "assistant", "content": text},
        ]
        for messages in (talk, [*answered, *talk]):
            expected = render(vocabulary, messages, generation_prompt=True).ids
            assert engine.conversation(messages) == expected, text
