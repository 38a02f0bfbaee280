"""Conversations by another maker's chat template, which is a program in Jinja.

It runs in a sandbox and sees the messages only: no file, no clock. What it writes is a text in
which control tokens are spelled out, so a message could spell one as well. Such a spelling is
parted by a mark while the template runs; afterwards only those of the template itself are found.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from jielong.core.errors import DataError
from jielong.tokenizer.bpe import Tokenizer

Message = Mapping[str, str]
NO_TEMPLATE = (
    "{{ raise_exception('this model was taught no conversation: continue a text with "
    "`jielong generate`') }}"
)
# Noncharacters, which no exchanged text holds: the first that a message lacks is taken.
_MARKS = [chr(code) for code in range(0xFDD0, 0xFDF0)]


def render(
    tokenizer: Tokenizer, messages: Sequence[Message], generation_prompt: bool
) -> tuple[list[int], list[bool]]:
    """The ids of a conversation, and which of them the assistant says.

    Raises `DataError` with what the template refuses.
    """
    ids = _ids(tokenizer, messages, generation_prompt)
    mask = [False] * len(ids)
    for i, message in enumerate(messages):
        if message["role"] != "assistant" or generation_prompt:
            continue
        before = _ids(tokenizer, messages[:i], True)
        until = _ids(tokenizer, messages[: i + 1], False)
        if ids[: len(until)] != until or until[: len(before)] != before:
            raise DataError(
                f"messages[{i}]: the chat template writes this answer otherwise once more is said: "
                "such a conversation cannot be taught whole; cut it after the answer"
            )
        control = {*tokenizer.special, *_control(tokenizer).values()}
        ends = [place for place in range(len(before), len(until)) if until[place] in control]
        said = (ends[-1] + 1 if ends else len(until)) - len(before)
        mask[len(before) : len(before) + said] = [True] * said
    return ids, mask


def end_of_turn(tokenizer: Tokenizer) -> int | None:
    """The control token that the template puts after what the assistant says."""
    said = "one two three"
    talk = [{"role": "user", "content": "x"}, {"role": "assistant", "content": said}]
    try:
        _, is_said, after = _text(tokenizer, talk, False).rpartition(said)
    except DataError:
        return None
    found = re.search(_spelled(tokenizer), after) if is_said else None
    return _control(tokenizer)[found[0]] if found else None


def _ids(tokenizer: Tokenizer, messages: Sequence[Message], generation_prompt: bool) -> list[int]:
    control, spelled = _control(tokenizer), _spelled(tokenizer)
    contents = "".join(message["content"] for message in messages)
    mark = next((mark for mark in _MARKS if mark not in contents), None)
    if mark is None:
        raise DataError("messages: hold every noncharacter there is: remove some")

    def part(found: re.Match[str]) -> str:
        return f"{found[0][0]}{mark}{found[0][1:]}"

    parted = [
        {**message, "content": re.sub(spelled, part, message["content"])} for message in messages
    ]
    text = _text(tokenizer, parted, generation_prompt)
    ids: list[int] = []
    for piece in re.split(f"({spelled})", text):
        if piece in control:
            ids.append(control[piece])
        elif piece:
            ids += tokenizer.encode(piece.replace(mark, ""))
    return ids


def _text(tokenizer: Tokenizer, messages: Sequence[Message], generation_prompt: bool) -> str:
    assert tokenizer.layout is not None
    assert tokenizer.layout.template is not None
    spelling = {i: text for text, i in tokenizer.layout.control.items()}
    names = tokenizer.special._asdict()
    known = {f"{name}_token": spelling[i] for name, i in names.items() if i in spelling}
    try:
        program = _compile(tokenizer.layout.template)
        return program.render(
            messages=messages, add_generation_prompt=generation_prompt, tools=None, **known
        )
    except jinja2.TemplateError as error:
        raise DataError(f"the model's chat template: {_one_line(str(error))}") from None
    except Exception as error:  # noqa: BLE001 - a program of others may raise whatever there is
        reason = _one_line(repr(error))
        raise DataError(f"the model's chat template cannot be run: {reason}") from None


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _control(tokenizer: Tokenizer) -> Mapping[str, int]:
    assert tokenizer.layout is not None
    return tokenizer.layout.control


def _spelled(tokenizer: Tokenizer) -> str:
    """A regular expression for any control token; of two that begin alike, the longer."""
    longest_first = sorted(_control(tokenizer), key=lambda spelling: (-len(spelling), spelling))
    return "|".join(map(re.escape, longest_first)) or "$^"


class _Generation(Extension):
    """`{% generation %}` marks what the assistant says, for other programs; it changes nothing."""

    tags = {"generation"}  # noqa: RUF012 - as Jinja declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@lru_cache(maxsize=8)
def _compile(template: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _raise
    environment.filters["tojson"] = _to_json
    return environment.from_string(template)


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)


def _to_json(value: Any, indent: int | None = None) -> str:  # noqa: ANN401 - any JSON value
    return json.dumps(value, ensure_ascii=False, indent=indent)
