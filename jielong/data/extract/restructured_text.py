"""reStructuredText as plain paragraphs: the words stay, what steers the typesetting goes.

Written after the specification of the markup (docutils.sourceforge.io/docs/ref/rst). Kept are
prose, lists, headings, and code, which is fenced; dropped are tables, pictures, comments, link
targets, and directives that only steer. A paragraph comes out as one line.
"""

import re
import textwrap
from collections.abc import Iterator

_ADORNMENT = re.compile(r"([=\-`:'\"~^_*+#<>.])\1{2,}")
_BULLET = re.compile(r"([*+-]|\(?(?:\d{1,3}|[a-zA-Z#])[.)])(?: +|$)")
_DIRECTIVE = re.compile(r"\.\. +([\w:-]+?) ?::(?: +(.*))?$")
_OPTION = re.compile(r":[\w -]+:(?: |$)")
_GRID = re.compile(r"\+[-=+]+\+$")
_SIMPLE_BORDER = re.compile(r"=+(?: +=+)+$")

_CODE = frozenset(
    ("code", "code-block", "sourcecode", "console", "highlight-block", "parsed-literal")
)
_SAID = {
    "note": "Note:",
    "warning": "Warning:",
    "important": "Important:",
    "caution": "Caution:",
    "danger": "Danger:",
    "tip": "Tip:",
    "hint": "Hint:",
    "attention": "Attention:",
    "seealso": "See also:",
    "versionadded": "New in version {}:",
    "versionchanged": "Changed in version {}:",
    "deprecated": "Deprecated since version {}:",
    "versionremoved": "Removed in version {}:",
    "admonition": "{}:",
    "topic": "{}:",
    "rubric": "{}",
}
"""Directives whose body is prose, and the words that introduce it; {} is the argument."""

_DESCRIBES = frozenset(
    """attribute class classmethod cmdoption currentlibrary data decorator describe django-admin
    django-admin-option exception fieldlookup function glossary method object option property
    setting staticmethod templatefilter templatetag envvar""".split()
)
"""Directives that name a thing, and then tell of it."""

_TRANSPARENT = frozenset(("container", "compound", "epigraph", "highlights", "pull-quote", "only"))

_ROLE_WITH_TARGET = re.compile(r":[\w:+-]+:`([^`<]*?)\s*<[^`>]*>`")
_ROLE = re.compile(r":([\w:+-]+):`([!~]?)([^`]*)`")
_PREFIX = {"rfc": "RFC ", "pep": "PEP ", "cve": "CVE-", "ticket": "#"}
_LINK = re.compile(r"`([^`<]+?)\s*<[^`>]*>`__?")
_REFERENCE = re.compile(r"`([^`]+)`__?(?!\w)")
_NAMED_LINK = re.compile(r"(?<![\w`.-])([A-Za-z][\w.+-]*[A-Za-z0-9])__?(?![\w`(])")
_FOOTNOTE = re.compile(r"\s*\[[#*\d][\w*]*\]_")
_SUBSTITUTION = re.compile(r"\|(\w[^|\n]*)\|_{0,2}")
_STRONG = re.compile(r"(?<![\w*\\])\*\*(?=\S)(.+?)(?<=[^\s\\])\*\*(?![\w*])")
_EMPHASIS = re.compile(r"(?<![\w*\\])\*(?=[^\s*])(.+?)(?<=[^\s*\\])\*(?![\w*])")
_ESCAPE = re.compile(r"\\(\s|.)")


def blocks(text: str) -> list[str]:
    """The paragraphs, list items, headings and code blocks of a document, in order."""
    return list(_Renderer().blocks(text.expandtabs(8).splitlines()))


def inline(text: str) -> str:
    """One paragraph without markup, on one line; literal text stands in single backticks."""
    pieces = re.split(r"``(.+?)``(?!`)", " ".join(text.split()))
    shown = [f"`{p}`" if odd % 2 else _plain(p) for odd, p in enumerate(pieces)]
    return "".join(shown).strip()


def _plain(text: str) -> str:
    text = _ROLE_WITH_TARGET.sub(r"\1", text)
    text = _ROLE.sub(_role_text, text)
    text = _LINK.sub(r"\1", text)
    text = _REFERENCE.sub(r"\1", text)
    text = _NAMED_LINK.sub(r"\1", text)
    text = _FOOTNOTE.sub("", text)
    text = _SUBSTITUTION.sub(r"\1", text)
    text = _EMPHASIS.sub(r"\1", _STRONG.sub(r"\1", text))
    return _ESCAPE.sub(lambda found: found[1].strip(), text)


def _role_text(found: re.Match[str]) -> str:
    """What a reader sees: of `~a.b.c` only the last name."""
    role, mark, text = found.groups()
    shown = text.rpartition(".")[2] if mark == "~" else text.removeprefix(".")
    return _PREFIX.get(role, "") + shown


class _Renderer:
    """Remembers which underline stands for which level of heading: the first seen is the top."""

    def __init__(self) -> None:
        self.levels: list[str] = []

    def blocks(self, lines: list[str]) -> Iterator[str]:
        """The blocks of lines whose outermost ones are not indented."""
        at = 0
        while at < len(lines):
            if not lines[at].strip():
                at += 1
            elif lines[at][0] == " ":  # a block quote
                end = _end_of_indented(lines, at)
                yield from self.blocks(_dedented(lines[at:end]))
                at = end
            elif lines[at].startswith((".. ", "__ ")) or lines[at].rstrip() == "..":
                end = _end_of_indented(lines, at + 1)
                yield from self._explicit(lines[at:end])
                at = end
            elif (end := _end_of_table(lines, at)) > at:
                at = end
            elif (heading := self._heading(lines, at)) is not None:
                title, at = heading
                if title:
                    yield title
            elif found := _BULLET.match(lines[at]):
                end = _end_of_indented(lines, at + 1)
                yield from self._item(found, lines[at:end])
                at = end
            elif _OPTION.match(lines[at]):  # a field such as `:orphan:`
                at = _end_of_indented(lines, at + 1)
            else:
                end = _end_of_paragraph(lines, at)
                body_end = _end_of_indented(lines, end)
                yield from self._paragraph(lines[at:end], lines[end:body_end])
                at = body_end

    def _heading(self, lines: list[str], at: int) -> tuple[str, int] | None:
        """A heading, or a mere line across the page (an empty title), and the line after it."""
        line, below = lines[at].rstrip(), lines[at + 1].rstrip() if at + 1 < len(lines) else ""
        if _ADORNMENT.fullmatch(line):
            if not below:
                return "", at + 1
            closing = lines[at + 2].rstrip() if at + 2 < len(lines) else ""
            if closing == line:
                return self._title(below, line[0] * 2), at + 3
            return None
        if _ADORNMENT.fullmatch(below) and len(below) >= min(len(line), 4):
            return self._title(line, below[0]), at + 2
        return None

    def _title(self, text: str, style: str) -> str:
        if style not in self.levels:
            self.levels.append(style)
        return f"{'#' * min(self.levels.index(style) + 1, 6)} {inline(text)}"

    def _item(self, marker: re.Match[str], lines: list[str]) -> Iterator[str]:
        """One item of a list; its further paragraphs are indented under it."""
        rest = lines[0][marker.end() :]
        indent = re.compile(f" {{0,{marker.end()}}}")
        body = [rest, *(indent.sub("", line, count=1) for line in lines[1:])]
        first, *others = list(self.blocks(body)) or [""]
        number = marker[1] if marker[1][-1] in ".)" and "#" not in marker[1] else "-"
        yield "\n".join([f"{number} {first}", *(textwrap.indent(o, "  ") for o in others)])

    def _explicit(self, lines: list[str]) -> Iterator[str]:
        """What starts with two dots: a directive, or else something that nobody sees."""
        found = _DIRECTIVE.match(lines[0].rstrip())
        if not found:
            return
        name, argument = found[1].rpartition(":")[2], (found[2] or "").strip()
        body = _dedented(lines[1:])
        arguments = [argument] if argument else []
        while body and body[0].strip() and name in _DESCRIBES and not _OPTION.match(body[0]):
            arguments.append(body.pop(0).strip())  # several names for one description
        while body and _OPTION.match(body[0]):
            body.pop(0)
        if name in _CODE:
            yield from _fenced(body, argument or ("console" if name == "console" else ""))
        elif name in _SAID:
            yield from self._said(_SAID[name], argument, body)
        elif name in _DESCRIBES:
            yield from (f"`{each.replace('`', '')}`" for each in arguments)
            yield from self.blocks(body)
        elif name in _TRANSPARENT:
            yield from self.blocks(body)

    def _said(self, words: str, argument: str, body: list[str]) -> Iterator[str]:
        """An admonition: its first paragraph follows the words that introduce it."""
        if "{}" in words and "version" in words:
            version, _, said = argument.partition(" ")
            words, argument = words.format(version), said
        elif "{}" in words:
            words, argument = words.format(inline(argument)), ""
            words = re.sub(r"(?<=[.:?!]):$", "", words)
        found = list(self.blocks([argument, *body]))
        if found and not found[0].startswith(("```", "- ", "1.")):
            words = f"{words} {found.pop(0)}"
        yield words
        yield from found

    def _paragraph(self, lines: list[str], body: list[str]) -> Iterator[str]:
        """A paragraph and the indented lines after it: literal text, a definition, or a quote."""
        text = "\n".join(lines).rstrip()
        if lines[0].startswith(">>> "):
            yield from _fenced(lines, "pycon")
        elif text.endswith("::"):
            if shown := inline(re.sub(r"\s*::$", "", text) + ":"):
                yield from [shown] if shown != ":" else []
            yield from _fenced(_dedented(body), "")
            return
        elif body and body[0].strip():  # a term and what it means
            found = list(self.blocks(_dedented(body)))
            yield "\n".join([inline(text), *found[:1]])
            yield from found[1:]
            return
        else:
            yield inline(text)
        yield from self.blocks(_dedented(body))


def _fenced(lines: list[str], language: str) -> Iterator[str]:
    code = "\n".join(line.rstrip() for line in lines).strip("\n")
    if code:
        yield f"```{language}\n{code}\n```"


def _dedented(lines: list[str]) -> list[str]:
    return textwrap.dedent("\n".join(lines)).splitlines()


def _end_of_indented(lines: list[str], at: int) -> int:
    """The first line from `at` on that is neither indented nor empty."""
    while at < len(lines) and (not lines[at].strip() or lines[at][0] == " "):
        at += 1
    return at


def _end_of_paragraph(lines: list[str], at: int) -> int:
    """The first line from `at` on that is empty or indented otherwise than the paragraph."""
    while at < len(lines) and lines[at].strip() and lines[at][0] != " ":
        at += 1
    return at


def _end_of_table(lines: list[str], at: int) -> int:
    """The line after the table that starts at `at`; `at` itself if there is none."""
    line = lines[at].rstrip()
    if _GRID.match(line):
        while at < len(lines) and lines[at].startswith(("+", "|")):
            at += 1
    elif _SIMPLE_BORDER.match(line):
        borders = 0
        while at < len(lines):
            is_border = _SIMPLE_BORDER.match(lines[at].rstrip()) is not None
            borders += is_border
            at += 1
            ends = at >= len(lines) or not lines[at].strip()
            if is_border and borders >= 2 and ends:
                break
    return at
