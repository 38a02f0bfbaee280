"""WordNet: its sets of synonyms, and the same as prose that a language model can learn from.

The format is that of wndb(5WN), in the files `data.noun`, `data.verb`, `data.adj` and `data.adv`.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jielong.data.archives import Member
from jielong.data.documents import Document, pack
from jielong.data.splits import bucket, is_unseen

_DOCUMENT_BYTES = 1000
_KINDS = {"n": "noun", "v": "verb", "a": "adjective", "s": "adjective", "r": "adverb"}
_TOLD_SYNONYMS = 4
_MARKER = re.compile(r"\((?:a|p|ip)\)$")  # where an adjective may stand
_EXAMPLE = re.compile(r'"([^"]+)"')
_REMARK = re.compile(r"^\([^()]*\)\s*")


@dataclass(frozen=True)
class Synset:
    """Words of one meaning, the meaning, and sentences or phrases with one of the words."""

    id: str  # the kind's letter, and the place in the file
    kind: str
    words: tuple[str, ...]
    gloss: str
    examples: tuple[str, ...]


def parse(data: bytes) -> list[Synset]:
    """The sets of one file, in its order, which puts like beside like."""
    lines = data.decode().splitlines()
    return [_synset(line) for line in lines if line and line[0] != " "]  # the licence is indented


def _synset(line: str) -> Synset:
    told, _, gloss = line.partition(" | ")
    offset, _, letter, count, *rest = told.split(" ")
    words = (_MARKER.sub("", word).replace("_", " ") for word in rest[: 2 * int(count, 16) : 2])
    meaning = gloss.partition('"')[0].strip(" ;:,-")
    quoted = (example.strip(" ;,") for example in _EXAMPLE.findall(gloss))
    examples = tuple(example for example in quoted if example)
    return Synset(f"{letter}{offset}", _KINDS[letter], tuple(words), meaning, examples)


def documents(members: Iterable[Member]) -> Iterator[Document]:
    """Neighbouring sets as sentences, about 1 kB of them to a document.

    The headwords of the unseen test buckets are left out.
    """
    for member in members:
        kind = member.name.rpartition(".")[2]
        told = (_sentences(each) for each in parse(member.data) if _is_worth_telling(each))
        for part, text in enumerate(pack(told, _DOCUMENT_BYTES, separator="\n")):
            key = f"{kind}/{part}"
            yield Document(source="wordnet", key=key, text=text, lang="en", group=key)


def _is_worth_telling(synset: Synset) -> bool:
    return bool(synset.gloss) and not any(map(is_unseen, synset.words))


def _sentences(synset: Synset) -> str:
    """A definition in one of a few wordings, chosen by the word itself; then what there is more."""
    word, *others = synset.words
    meaning = _quotes(_REMARK.sub("", synset.gloss) or synset.gloss)
    if synset.kind == "verb":
        meaning = f"to {meaning}"
    article = "An" if synset.kind[0] == "a" else "A"
    wordings = (
        f"The {synset.kind} “{word}” means {meaning}.",
        f"“{word}” is {article.lower()} {synset.kind} that means {meaning}.",
        f"{article} {synset.kind}, “{word}” means {meaning}.",
        f"What does “{word}” mean? As {article.lower()} {synset.kind}, it means {meaning}.",
    )
    told = [wordings[bucket(synset.id) % len(wordings)]]
    if others:
        told.append(f"It means the same as {_listed(others[:_TOLD_SYNONYMS])}.")
    if synset.examples:
        shown = "”, “".join(map(_quotes, synset.examples))
        told.append(f"For example: “{shown}”" + ("" if shown[-1] in ".!?" else "."))
    return " ".join(told)


def _listed(words: list[str]) -> str:
    *others, last = (f"“{word}”" for word in words)
    return f"{', '.join(others)} or {last}" if others else last


def _quotes(text: str) -> str:
    """`like this' as ‘like this’."""
    return re.sub(r"`([^`']*)'", r"‘\1’", text)
