"""Dialogue by rules: a table of patterns, read from a file, that turns what is said into an answer.

The oldest way to let a machine talk (ELIZA: Weizenbaum 1966, doi:10.1145/365153.365168). Rules are
tried in their order; each is one of three kinds:

    reply    the whole answer, if its pattern is found; the table ends there
    rewrite  replaces every match in the text, and the next rule goes on with the result
    swap     exchanges the words of the table `swaps`, all at once: I and you, 我 and 你

What is left when the table ends is the answer. In a reply or rewrite `{1}`, `{name}` stand for what
a group of the pattern caught; in a reply its words are exchanged as by `swap`. Nothing is learned.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import regex

from jielong.core import config as configs
from jielong.core.errors import ConfigError

SHIPPED = Path(__file__).with_name("rules.toml")
"""Our own table, in Chinese and English."""

_FIELD = regex.compile(r"\{(\w+)\}")
_PATIENCE_S = 1.0  # of the processor, for one rule: some patterns would look for years


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One line of the table: `pattern` is a regular expression; letters match in either case.

    Of several replies a conversation hears the next one at each turn.
    """

    pattern: str = ""
    reply: tuple[str, ...] = ()
    rewrite: str | None = None
    swap: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no rule; the message begins with the setting's name."""
        if (bool(self.reply), self.rewrite is not None, self.swap).count(True) != 1:
            raise ValueError(f"pattern: {self.pattern!r}: give one of reply, rewrite and swap")
        try:
            expression = self.expression
        except regex.error as error:
            raise ValueError(
                f"pattern: {self.pattern!r}: not a regular expression ({error}): mend it"
            ) from None
        groups = {*map(str, range(expression.groups + 1)), *expression.groupindex}
        for template in (*self.reply, self.rewrite or ""):
            for name in _FIELD.findall(template):
                if name not in groups:
                    raise ValueError(
                        f"pattern: {self.pattern!r}: has no group {name!r}, which {template!r} "
                        "asks for: add the group or leave it out"
                    )

    @cached_property
    def expression(self) -> regex.Pattern[str]:
        """The compiled pattern."""
        return regex.compile(self.pattern, regex.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class RuleTable:
    """The rules in order, and the words that `swap` exchanges."""

    swaps: dict[str, str] = field(default_factory=dict)
    rules: tuple[Rule, ...]

    def __post_init__(self) -> None:
        """Refuse a table that would only say back what is said."""
        if not self.rules:
            raise ValueError("rules: empty: give at least one")

    @classmethod
    def load(cls, path: Path) -> RuleTable:
        """Read a table; raises `ConfigError` naming the rule that is none."""
        try:
            return configs.load(cls, path)
        except ConfigError as error:
            message = str(error)
            where = "" if message.startswith(str(path)) else f"{path}: "
            raise ConfigError(where + message) from None

    def answer(self, text: str, turn: int = 1) -> str:
        """What the table says to `text`; `turn` counts the conversation's turns from 1.

        Raises `ConfigError` for a pattern that takes too long.
        """
        text = text.strip()
        for place, rule in enumerate(self.rules):
            try:
                text, is_last = self._apply(rule, text, turn)
            except TimeoutError:
                raise ConfigError(
                    f"rules[{place}].pattern: {rule.pattern!r}: takes more than {_PATIENCE_S:g} s "
                    f"for {len(text)} characters: let no repeat stand in another, as in (a+)+"
                ) from None
            if is_last:
                break
        return text

    def _apply(self, rule: Rule, text: str, turn: int) -> tuple[str, bool]:
        """What one rule makes of `text`, and whether the table ends there."""
        if rule.swap:
            return self.swapped(text), False
        # Other threads go on meanwhile: a server has more to do than to wait for a pattern.
        limits = {"timeout": _PATIENCE_S, "concurrent": True}
        if rule.rewrite is not None:
            template = rule.rewrite

            def fill(found: regex.Match[str]) -> str:
                return self._fill(template, found, swap=False)

            return rule.expression.sub(fill, text, **limits), False
        found = rule.expression.search(text, **limits)
        if found is None:
            return text, False
        return self._fill(rule.reply[(turn - 1) % len(rule.reply)], found, swap=True), True

    def swapped(self, text: str) -> str:
        """`text` with the words of the table exchanged, longer ones first, in one pass."""
        if not self.swaps:
            return text
        # Case folds further than `lower` goes: a Turkish dotless i counts as an i, and stays.
        return self._words.sub(lambda found: self._lower.get(found[0].lower(), found[0]), text)

    @cached_property
    def _lower(self) -> dict[str, str]:
        return {word.lower(): other for word, other in self.swaps.items()}

    @cached_property
    def _words(self) -> regex.Pattern[str]:
        """Any of the words; those of Latin letters only where they stand alone."""
        ordered = sorted(self._lower, key=lambda word: (-len(word), word))
        parts = [
            rf"(?<![a-z']){regex.escape(word)}(?![a-z'])" if word.isascii() else regex.escape(word)
            for word in ordered
        ]
        return regex.compile("|".join(parts), regex.IGNORECASE)

    def _fill(self, template: str, found: regex.Match[str], *, swap: bool) -> str:
        def value(name: regex.Match[str]) -> str:
            key = name[1]
            caught = found[int(key) if key.isdigit() else key] or ""
            return self.swapped(caught) if swap else caught

        return _FIELD.sub(value, template)
