"""Byte-level byte-pair encoding (arXiv:1508.07909; bytes as in GPT-2), by the `tokenizers` library.

Han characters stand apart before merging: every common character becomes one token, so that "the
last character of a word" is something a small model can see. Nothing is normalised, hence
`decode(encode(text)) == text` for every text.
"""

import codecs
import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from jielong.core.errors import DataError
from jielong.core.files import write_atomic
from jielong.tokenizer.special_tokens import SPECIAL, SPELLINGS, SpecialTokens

FILE = "tokenizer.json"
PATTERN = (
    r"\p{Han}"  # one Han character
    r"|'(?i:[sdmt]|ll|ve|re)"  # English contractions
    r"| ?[\p{L}\p{M}&&[^\p{Han}]]+"  # a word of any other script, with the space before it
    r"|\p{N}{1,2}"  # digits in pairs at most
    r"| ?[^\s\p{L}\p{M}\p{N}]+"  # punctuation
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"  # line ends, then other white space
)


class Tokenizer:
    """A vocabulary of byte strings. `special` holds the ids that text cannot produce."""

    special: SpecialTokens = SPECIAL

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        # Off by default in the library: without it, "<eos>" typed by a user would become the token.
        backend.encode_special_tokens = True
        self._backend = backend

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> "Tokenizer":
        """Learn merges from `texts` until the vocabulary has `vocab_size` entries (or no more).

        Raises `DataError` when `vocab_size` cannot hold the special tokens and the 256 bytes.
        """
        smallest = len(SPELLINGS) + 256
        if vocab_size < smallest:
            raise DataError(f"vocab_size: {vocab_size}: must be at least {smallest}")
        backend = tokenizers.Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(PATTERN), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        backend.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=list(SPELLINGS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        backend.train_from_iterator(texts, trainer)
        return cls(backend)

    @classmethod
    def load(cls, path: Path) -> "Tokenizer":
        """Read a `tokenizer.json`, given its path or its directory."""
        file = path / FILE if path.is_dir() else path
        try:
            content = file.read_bytes()
        except OSError as error:
            raise DataError(f"{file}: no tokenizer here ({error.strerror}): give one") from None
        try:
            backend = tokenizers.Tokenizer.from_buffer(content)
        except Exception as error:  # noqa: BLE001 - the library raises bare Exception
            raise DataError(f"{file}: not a tokenizer ({error}): make it anew") from None
        if any(backend.token_to_id(spelling) != i for i, spelling in enumerate(SPELLINGS)):
            raise DataError(f"{file}: does not begin with {' '.join(SPELLINGS)}: give one of ours")
        return cls(backend)

    def save(self, path: Path) -> None:
        """Write a standard `tokenizer.json` to `path` (a file, or a directory to put it in)."""
        file = path / FILE if path.is_dir() else path
        write_atomic(file, self._backend.to_str(pretty=True))

    @property
    def vocab_size(self) -> int:
        """How many entries the vocabulary has, the special tokens included."""
        return self._backend.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """The ids of `text`; never a special one. Raises `DataError` on a lone surrogate."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of several texts at once, on all cores."""
        try:
            encodings = self._backend.encode_batch(list(texts), add_special_tokens=False)
        except (UnicodeEncodeError, TypeError):
            raise DataError(
                "the text holds a lone surrogate, which is no character: remove it"
            ) from None
        return [encoding.ids for encoding in encodings]

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of `ids`; special tokens have none."""
        return b"".join(self.token_bytes[i] for i in ids)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; bytes that form no character become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    @cached_property
    def sha256(self) -> str:
        """A fingerprint: equal tokenizers have equal ones, whatever file they came from."""
        return hashlib.sha256(self._backend.to_str().encode()).hexdigest()

    @cached_property
    def token_bytes(self) -> list[bytes]:
        """The bytes that each id stands for."""
        byte_of = {character: byte for byte, character in _byte_characters().items()}
        vocabulary = self._backend.get_vocab()
        result = [b""] * len(vocabulary)
        for piece, token in vocabulary.items():
            if token >= len(SPELLINGS):
                result[token] = bytes(byte_of[character] for character in piece)
        return result

    def describe(self) -> dict[str, int]:
        """Sizes for a manifest."""
        merges = len(json.loads(self._backend.to_str())["model"]["merges"])
        return {"vocab_size": self.vocab_size, "merges": merges}


class StreamDecoder:
    """Ids in, text out, never half a character: an unfinished tail waits for its other bytes."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._bytes = tokenizer.token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        """The characters that `token` completes."""
        return self._decoder.decode(self._bytes[token])

    def finish(self) -> str:
        """What is left: U+FFFD when the last character was never completed, else nothing."""
        return self._decoder.decode(b"", final=True)


def _byte_characters() -> dict[int, str]:
    """GPT-2's printable stand-in for each byte, as `tokenizer.json` files spell them."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {
        byte: chr(256 + i) for i, byte in enumerate(others)
    }
