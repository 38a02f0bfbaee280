"""What the modules of commands share: how one is added, and what the values of options are."""

import argparse
import sys
from collections.abc import Callable
from typing import Any

Run = Callable[[argparse.Namespace], None]
Add = Callable[[str, str, Run], argparse.ArgumentParser]
"""Adds a command: its name, one line about it, and what runs it."""
Group = Callable[[str, str], Add]
"""Adds a group of commands, and gives what adds these."""
MODEL = "a run, a model folder, ours or Hugging Face's, or a GGUF file"
"""What the commands take that ask for a model."""


def adder(commands: Any) -> Add:  # noqa: ANN401 - argparse names its type privately
    """What adds commands to a parser's `commands`."""

    def add(name: str, summary: str, run: Run) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=summary, description=summary)
        command.set_defaults(run=run)
        return command

    return add


def count(text: str) -> int:
    """A whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give a whole number from 1")
    return int(text)


def size_in_bytes(text: str) -> int:
    """Such as 500MB."""
    units = {"KB": 10**3, "MB": 10**6, "GB": 10**9}
    number, unit = (text[:-2], units[text[-2:]]) if text[-2:] in units else (text, 1)
    return count(number) * unit


def console():  # noqa: ANN201 - Console, imported late
    """Where tables go."""
    from rich.console import Console

    # In a pipe nobody knows a width: a line is then as long as it needs to be.
    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=240)
