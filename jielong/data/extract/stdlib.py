"""English about programming that every machine already has: the standard library's docstrings.

Modules are parsed, never imported. Another minor version of Python has other docstrings, so the
manifest holds the hash of what was read.
"""

import ast
import inspect
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from jielong.data.documents import Document, pack

_DOCUMENT_BYTES = 3000
_SKIPPED_FOLDERS = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3"}
_SHORTEST = 40  # characters: below, a docstring is a label and not a sentence
_TOPICS = "pydoc_data.topics"

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Module:
    """The texts of one module under their headings: signatures, or names of topics."""

    name: str
    texts: tuple[tuple[str, str], ...]

    @property
    def is_reference(self) -> bool:
        """Whether these are the language topics that `help()` shows."""
        return self.name == _TOPICS


def parse(root: Path | None = None) -> list[Module]:
    """The documented modules below `root`, by default those of the running Python."""
    root = root or Path(sysconfig.get_path("stdlib"))
    found = []
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if _SKIPPED_FOLDERS.isdisjoint(relative.parts):
            name = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
            texts = tuple(_texts(name, path))
            if texts:
                found.append(Module(name, texts))
    return found


def documents(modules: Iterable[Module]) -> Iterator[Document]:
    """About 3 kB of one module, or of one topic, to a document; either is one group."""
    for module in modules:
        if module.is_reference:
            parts = [(f"topic {name}", text.split("\n\n")) for name, text in module.texts]
        else:
            told = [f"{head}\n{text}" for head, text in module.texts if len(text) >= _SHORTEST]
            parts = [(module.name, told)]
        for group, texts in parts:
            for number, text in enumerate(pack(texts, _DOCUMENT_BYTES)):
                key = f"{group}/{number}"
                yield Document(source="stdlib", key=key, text=text, lang="en", group=group)


def summaries(modules: Iterable[Module]) -> Iterator[str]:
    """The first paragraph of every docstring, on one line."""
    for module in modules:
        if not module.is_reference:
            for _, text in module.texts:
                yield " ".join(text.split("\n\n")[0].split())


def _texts(name: str, path: Path) -> Iterator[tuple[str, str]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old escapes in other people's strings
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    if name == _TOPICS:
        yield from _topics(tree)
        return
    if text := ast.get_docstring(tree):
        yield name, text
    yield from _members(name, tree)


def _members(prefix: str, node: ast.AST) -> Iterator[tuple[str, str]]:
    """The docstrings of classes and functions, outermost first."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _Definition):
            name = f"{prefix}.{child.name}"
            if text := ast.get_docstring(child):
                is_class = isinstance(child, ast.ClassDef)
                yield (name if is_class else f"{name}({ast.unparse(child.args)})"), text
            yield from _members(name, child)


def _topics(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        if isinstance(node, ast.Assign):
            table: dict[str, str] = ast.literal_eval(node.value)
            for name, text in sorted(table.items()):
                yield name, inspect.cleandoc(text)
