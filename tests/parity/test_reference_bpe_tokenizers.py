"""The reference BPE against `tokenizers`, and `tiktoken`, which encodes for us, against both."""

import json

import pytest
import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from jielong.tokenizer.bpe import Tokenizer
from jielong.tokenizer.byte_characters import CHARACTER_OF
from jielong.tokenizer.pieces import pattern
from jielong.tokenizer.reference_bpe import ReferenceBPE
from tests.mixed_text import lines

pytestmark = pytest.mark.parity

TEXTS = {
    "mixed": "\n".join(lines(60)),
    "runs": "aaaa aaa aaaaaaa ababab abab baba bbbb" * 3,
    "chinese": "春风化雨雨过天晴，晴空万里里应外合。合二为一，一心一意意气风发。" * 4,
}


def cut_by_spaces() -> tokenizers.Tokenizer:
    """Byte-level BPE that cuts as the reference does."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?[^ ]+| "), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    return backend


@pytest.mark.parametrize("name", TEXTS)
def test_the_byte_variant_learns_the_same_merges_and_gives_the_same_ids(name: str) -> None:
    text = TEXTS[name]
    theirs = cut_by_spaces()
    theirs.train_from_iterator(
        [text],
        trainers.BpeTrainer(
            vocab_size=256 + 120,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    ours = ReferenceBPE.train(text, 120)
    spelled = ["".join(CHARACTER_OF[byte] for byte in token) for token in ours.tokens]
    merges = [tuple(pair) for pair in json.loads(theirs.to_str())["model"]["merges"]]
    assert [(spelled[a], spelled[b]) for a, b in ours.merges] == merges
    assert [theirs.id_to_token(i) for i in range(theirs.get_vocab_size())] == spelled
    for other in TEXTS.values():
        assert ours.encode(other) == theirs.encode(other).ids
        assert ours.decode(ours.encode(other)) == other


def test_our_tokenizer_is_the_reference_with_other_cuts() -> None:
    """Same merges, learned in pieces of `pattern()`; ids are 6 higher, after the special tokens."""
    text = TEXTS["mixed"]
    backend = cut_by_spaces()
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(pattern()), "isolated")
    cutting = backend.pre_tokenizer

    def cut(text: str) -> list[str]:
        return [piece for piece, _ in cutting.pre_tokenize_str(text)]

    reference = ReferenceBPE.train(text, 100, cut=cut)
    ours = Tokenizer.train([text], 6 + 256 + 100)
    assert [*ours.merges] == [(a + 6, b + 6) for a, b in reference.merges]
    for line in lines(200, seed=1):
        assert ours.encode(line) == [i + 6 for i in reference.encode(line, cut)]


@pytest.mark.parametrize(("han", "digits"), [("characters", 2), ("words", 1), ("words", 3)])
def test_both_engines_cut_every_character_alike(han, digits) -> None:
    """`tokenizers` writes the file, `tiktoken` encodes: they have to agree on what a letter is.

    In this vocabulary any two bytes merge, so that cutting elsewhere gives other ids.
    """
    spelled = list(CHARACTER_OF.values())
    pairs = [(a, b) for a in spelled for b in spelled]
    vocabulary = [*spelled, *(a + b for a, b in pairs)]
    model = models.BPE(vocab={token: i for i, token in enumerate(vocabulary)}, merges=pairs)
    theirs = tokenizers.Tokenizer(model)
    theirs.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern(han, digits)), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    theirs.decoder = decoders.ByteLevel()
    content = json.loads(theirs.to_str())
    # Ours from here on: the special tokens first.
    specials = ["<pad>", "<bos>", "<eos>", "<system>", "<user>", "<assistant>"]
    content["model"]["vocab"] = {token: i for i, token in enumerate([*specials, *vocabulary])}
    ours = Tokenizer(tokenizers.Tokenizer.from_str(json.dumps(content)))
    ranges = [(0, 0x3400, 1), (0x3400, 0xA000, 61), (0xA000, 0xD800, 3), (0xE000, 0x24000, 7)]
    characters = [chr(code) for r in ranges for code in range(*r)]
    for start in range(0, len(characters), 1000):
        found = characters[start : start + 1000]
        text = "".join(f" {c}a{c}b1{c} .{c}{c}\n" for c in found)
        assert ours.encode(text) == [i + 6 for i in theirs.encode(text).ids]
