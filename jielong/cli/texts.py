"""Commands about text: what becomes of it in a tokenizer, and what a prepared corpus holds."""

import argparse
import sys
from pathlib import Path

from jielong.cli.options import Add, Group, console, count


def add_commands(add_group: Group) -> None:
    """The two groups of this module."""
    _add_tokenizer(add_group("tokenizer", "text to tokens and back, and what happens on the way"))
    _add_data(add_group("data", "look into a prepared corpus"))


def _add_tokenizer(add: Add) -> None:
    encode = add("encode", "text on stdin to ids on stdout", _encode)
    decode = add("decode", "ids on stdin to their bytes on stdout", _decode)
    explain = add("explain", "show each merge that makes the tokens of a text", _explain)
    explain.add_argument("text", metavar="TEXT")
    explain.add_argument(
        "--variant",
        choices=("bytes", "characters"),
        default="bytes",
        help="without --model: what the merges learned from TEXT itself begin with",
    )
    mask = add("show-mask", "show which tokens of a conversation the loss counts", _show_mask)
    mask.add_argument("file", type=Path, metavar="FILE.jsonl")
    for command in (encode, decode, explain, mask):
        command.add_argument(
            "--model",
            type=Path,
            required=command is not explain,
            metavar="MODEL",
            help="a run, a quickstart directory, a model folder, or a tokenizer.json",
        )


def _add_data(add: Add) -> None:
    summary = "what the text is, what was dropped and why: a table, and a page in DIR/stats.html"
    stats = add("stats", summary, _data_stats)
    stats.add_argument("directory", type=Path, metavar="DIR", help="a prepare or quickstart run")
    stats.add_argument("--tokens", type=Path, metavar="RUN", help="a tokenize run of that text")
    summary = "where a passage occurs, whatever its case, width and punctuation"
    find = add("find", summary, _data_find)
    find.add_argument("text", metavar="TEXT")
    find.add_argument("--dir", type=Path, default=Path("runs/quickstart"), metavar="DIR")
    find.add_argument("-k", type=count, default=10, metavar="N", help="show at most N documents")


def _encode(arguments: argparse.Namespace) -> None:
    from jielong.tokenizer import commands

    tokenizer = commands.load(arguments.model)
    sys.stdout.write(commands.encode(tokenizer, sys.stdin.buffer.read()))


def _decode(arguments: argparse.Namespace) -> None:
    from jielong.tokenizer import commands

    tokenizer = commands.load(arguments.model)
    sys.stdout.buffer.write(commands.decode(tokenizer, sys.stdin.buffer.read()))


def _explain(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from jielong.tokenizer import commands

    tokenizer = commands.load(arguments.model) if arguments.model else None
    commands.explain(arguments.text, tokenizer, arguments.variant, Console(highlight=False))


def _show_mask(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from jielong.data.conversations import read_jsonl
    from jielong.tokenizer import commands

    tokenizer = commands.load(arguments.model)
    conversations = [conversation.messages for conversation in read_jsonl(arguments.file)]
    commands.show_mask(conversations, tokenizer, Console(highlight=False))


def _data_stats(arguments: argparse.Namespace) -> None:
    from jielong.evaluation.corpus_report import corpus_table, gather, write_corpus_report

    corpus = gather(arguments.directory, arguments.tokens)
    console().print(corpus_table(corpus))
    sys.stdout.write(f"{write_corpus_report(arguments.directory, corpus)}\n")


def _data_find(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from jielong.data.passages import describe, find
    from jielong.data.prepared import open_prepared

    found = find(open_prepared(arguments.dir), arguments.text, arguments.k)
    Console(highlight=False, soft_wrap=True).print(describe(found))
