"""The command line: parses, calls, prints. What a command does is in the rooms below.

Exit codes: 0 done, 1 the input was at fault (one line on stderr), 2 wrong usage, 3 an internal
invariant broke, 130 stopped by Ctrl-C, 143 by SIGTERM. Heavy imports wait until a command needs
them, so that `--help` is instant.
"""

import argparse
import sys
from collections.abc import Sequence

from jielong import __version__
from jielong.cli import asking, machine, models, stages, texts
from jielong.cli.options import Add, adder
from jielong.core.errors import JielongError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    parsed = make_parser().parse_args(arguments)
    try:
        parsed.run(parsed)
    except JielongError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except KeyboardInterrupt as stop:
        sys.stderr.write(f"{stop or 'stopped; what was saved is whole: add --resume to go on'}\n")
        return getattr(stop, "exit_code", 130)
    except BrokenPipeError:
        sys.stderr.close()
    return 0


def make_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="jielong", description="The whole of ChatGPT, from raw text to your own assistant."
    )
    parser.add_argument("--version", action="version", version=f"jielong {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add_group(name: str, summary: str) -> Add:
        group = commands.add_parser(name, help=summary, description=summary)
        return adder(group.add_subparsers(title="commands", metavar="COMMAND", required=True))

    for module in (stages, asking, models, machine):
        module.add_commands(adder(commands))
    texts.add_commands(add_group)
    return parser
