"""Byte-level byte-pair encoding (arXiv:1508.07909; bytes as in GPT-2).

`tokenizers` learns the merges and reads any file; `tiktoken` applies the merges we learned, several
times faster and with the same result. Han characters stand apart before merging unless asked
otherwise: every common character becomes one token, so that "the last character of a word" is
something a small model can see. Nothing is normalised, hence `decode(encode(text)) == text` for
every text (of an imported tokenizer: unless its own file normalises).
"""

import codecs
import hashlib
import itertools
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from jielong.core.errors import DataError
from jielong.core.files import write_atomic
from jielong.tokenizer import imported, standard_files
from jielong.tokenizer.imported import Layout
from jielong.tokenizer.pieces import Digits, Han, pattern, refuse_surrogates
from jielong.tokenizer.special_tokens import SPECIAL, SPELLINGS, SpecialTokens

FILE = "tokenizer.json"
_WORTH_THREADS = 100_000  # characters; handing fewer to threads costs more than it gains
_SHARES = 8  # for each thread: many, so that none waits long; few, so that little is handed over
# tiktoken's regular expressions run out of stack in a million blanks without a break.
_LONG = 100_000
_LONG_BLANK = re.compile(rf"\s{{{_LONG}}}")


class Tokenizer:
    """A vocabulary of byte strings. `special` holds the ids that text cannot produce."""

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        special: SpecialTokens | None = None,
        layout: Layout | None = None,
    ) -> None:
        """`special` and `layout` are given for an imported tokenizer; our own have none to tell."""
        # A setting that no file holds: without it, "</s>" in a text would become the token.
        backend.encode_special_tokens = True
        self._backend = backend
        self.special = special or SPECIAL
        self.layout = layout

    def __reduce__(self) -> tuple[type["Tokenizer"], tuple[Any, ...]]:
        """Copied and sent to other processes without what can be derived."""
        return Tokenizer, (self._backend, self.special, self.layout)

    @property
    def begins(self) -> tuple[int, ...]:
        """The ids that stand before a text: ours is `<bos>`, other makers have none or others."""
        return (self.special.bos,) if self.layout is None else self.layout.begins

    def prompt(self, text: str) -> list[int]:
        """The ids of a text to be gone on with, after what texts begin with.

        Where that is nothing, an empty text is as the end of the one before it. Raises `DataError`
        when there is no such token either: from nothing a model cannot go on.
        """
        ids = [*self.begins, *self.encode(text)]
        if ids:
            return ids
        if self.special.eos >= (self.vocab_size if self.layout is None else self.layout.size):
            raise DataError("prompt: empty, and no token begins or ends a text here: give a text")
        return [self.special.eos]

    def adapt(self, *, size: int, eos: int, template: str | None) -> "Tokenizer":
        """An imported tokenizer for a model of `size` ids that ends its texts in its own way."""
        assert self.layout is not None
        layout = replace(self.layout, size=size, template=template)
        return Tokenizer(self._backend, self.special._replace(eos=eos), layout)

    @classmethod
    def train(
        cls, texts: Iterable[str], vocab_size: int, han: Han = "characters", digits: Digits = 2
    ) -> "Tokenizer":
        """Learn merges from `texts` until the vocabulary has `vocab_size` entries (or no more).

        `han` and `digits` say how text is cut first: see `pieces.pattern`. `texts` is read once and
        not kept. Raises `DataError` when `vocab_size` cannot hold the special tokens and the bytes.
        """
        smallest = len(SPELLINGS) + 256
        if vocab_size < smallest:
            raise DataError(f"vocab_size: {vocab_size}: must be at least {smallest}")
        backend = tokenizers.Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(pattern(han, digits)), "isolated"),
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
        ours = standard_files.without_marks(json.loads(backend.to_str()))
        assert ours is not None
        return cls(tokenizers.Tokenizer.from_str(json.dumps(ours)))

    @classmethod
    def load(cls, path: Path) -> "Tokenizer":
        """Read a `tokenizer.json`, ours or another's, given its path or its directory.

        Raises `DataError` when it is none, or one that cannot write every text.
        """
        file = path / FILE if path.is_dir() else path
        content = _read_json(file)
        beside, template = (
            file.with_name(name) for name in (standard_files.CONFIG, standard_files.TEMPLATE)
        )
        config = _read_json(beside) if beside.exists() else {}
        if template.exists():
            config["chat_template"] = _read_text(template)
        return cls.parse(content, config, str(file))

    @classmethod
    def parse(cls, content: dict[str, Any], config: dict[str, Any], where: str) -> "Tokenizer":
        """The tokenizer of a `tokenizer.json` and of the `tokenizer_config.json` beside it.

        Raises `DataError`, beginning with `where`, when it is none.
        """
        if not isinstance(content.get("model"), dict):
            raise DataError(f"{where}: not a tokenizer (it has no model): make it anew")
        try:
            ours = standard_files.without_marks(content)
            if ours is not None:
                return cls(tokenizers.Tokenizer.from_str(json.dumps(ours)))
            return cls(*imported.adopt(content, config, where))
        except DataError:
            raise
        except Exception as error:  # noqa: BLE001 - the library raises bare Exception
            reason = " ".join(str(error).split())
            raise DataError(f"{where}: not a tokenizer ({reason}): make it anew") from None

    def save(self, path: Path, *, adds_bos: bool = False) -> None:
        """Write a standard `tokenizer.json`: to a file, or into a directory.

        A directory also gets `tokenizer_config.json`; `transformers.AutoTokenizer` loads it. With
        `adds_bos` other programs put `<bos>` before a text by themselves, which our models expect.
        """
        content = json.loads(self._backend.to_str())
        content = standard_files.with_marks(content) if self.layout is None else content
        if adds_bos:
            content |= {"post_processor": standard_files.puts_first("<bos>", self.special.bos)}
        file = path / FILE if path.is_dir() else path
        write_atomic(file, standard_files.to_text(content))
        if path.is_dir():
            config = (
                standard_files.config_of_ours()
                if self.layout is None
                else imported.config_of(self._backend, self.special)
            ) | ({"add_bos_token": True} if adds_bos else {})
            write_atomic(path / standard_files.CONFIG, standard_files.to_text(config))

    @cached_property
    def vocab_size(self) -> int:
        """How many ids there are, the special tokens included, and those that stand for nothing."""
        size = max(self._backend.get_vocab().values()) + 1
        return size if self.layout is None else max(size, self.layout.size)

    def encode(self, text: str) -> list[int]:
        """The ids of `text`; never a special one. Raises `DataError` on a lone surrogate."""
        if not text.isascii():
            refuse_surrogates(text)
        if len(text) >= _LONG and _LONG_BLANK.search(text):
            return self._encode_slowly(text)
        return self._encode(text)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of several texts at once, on all cores."""
        workers = min(os.cpu_count() or 1, len(texts))
        if workers == 1 or sum(map(len, texts)) < _WORTH_THREADS:
            return [self.encode(text) for text in texts]
        size = -(-len(texts) // (_SHARES * workers))
        shares = [texts[start : start + size] for start in range(0, len(texts), size)]
        with ThreadPoolExecutor(workers) as pool:
            found = pool.map(lambda share: [self.encode(text) for text in share], shares)
            return list(itertools.chain.from_iterable(found))

    @cached_property
    def _encode(self) -> Callable[[str], list[int]]:
        """What turns well-formed text into ids."""
        learned = range(len(SPELLINGS) + 256, self.vocab_size)
        # tiktoken takes for granted that ids are in the order of learning.
        if self.layout is not None or [*self.merges.values()] != [*learned]:
            return self._encode_slowly
        # Late: it takes a while to import, and not every command encodes.
        import tiktoken

        cut = json.loads(self._backend.to_str())["pre_tokenizer"]["pretokenizers"][0]
        ranks = {piece: i for i, piece in enumerate(self.token_bytes) if piece}
        encoding = tiktoken.Encoding(
            "jielong", pat_str=cut["pattern"]["Regex"], mergeable_ranks=ranks, special_tokens={}
        )
        return encoding.encode_ordinary

    def _encode_slowly(self, text: str) -> list[int]:
        """By `tokenizers`, which follows any file's rules and takes a text of any shape."""
        return self._backend.encode(text, add_special_tokens=False).ids

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
        """The bytes that each id stands for; special tokens have none."""
        texts = imported.token_texts(self._backend)
        texts |= dict.fromkeys(self.special, b"")
        return [texts.get(token, b"") for token in range(self.vocab_size)]

    @cached_property
    def merges(self) -> dict[tuple[int, int], int]:
        """Which pair of ids becomes which id, in the order learned."""
        vocabulary = self._backend.get_vocab(with_added_tokens=False)
        merges = json.loads(self._backend.to_str())["model"]["merges"]
        pairs = [tuple(m.split(" ", 1)) if isinstance(m, str) else tuple(m) for m in merges]
        return {(vocabulary[a], vocabulary[b]): vocabulary[a + b] for a, b in pairs}

    def pieces(self, text: str) -> list[list[int]]:
        """What `text` is cut into, each piece as the ids of its single bytes."""
        refuse_surrogates(text)
        if self._backend.normalizer is not None:
            text = self._backend.normalizer.normalize_str(text)
        cutting = self._backend.pre_tokenizer
        pieces = [(text, (0, 0))] if cutting is None else cutting.pre_tokenize_str(text)
        return [imported.ids_of_bytes(self._backend, piece) for piece, _ in pieces]

    def describe(self) -> dict[str, int]:
        """Sizes for a manifest."""
        return {"vocab_size": self.vocab_size, "merges": len(self.merges)}


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


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read ({error}): copy it anew") from None


def _read_json(file: Path) -> dict[str, Any]:
    """The table that a JSON file holds."""
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise DataError(f"{file}: no tokenizer here ({error.strerror}): give one") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: not a tokenizer ({error}): make it anew") from None
    if not isinstance(content, dict):
        raise DataError(f"{file}: not a tokenizer (holds no table): make it anew")
    return content
