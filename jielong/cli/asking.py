"""Commands that ask a model: a chat in the terminal, one continuation, a server."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from jielong.cli.options import MODEL, Add

_SPEAKER = f"{MODEL}; or a table of rules *.toml, or the word rules"


def add_commands(add: Add) -> None:
    """The commands of this module."""
    chat = add("chat", "talk to a model in the terminal", _chat)
    _add_decoding(chat, max_tokens=128)
    generate = add("generate", "continue a text; prints the continuation alone", _generate)
    _add_decoding(generate, max_tokens=64, prompt=True)
    serve = add("serve", "OpenAI-compatible API and a chat page", _serve)
    serve.add_argument("model", type=Path, metavar="MODEL", help=_SPEAKER)
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, default=8000)


def _add_decoding(
    command: argparse.ArgumentParser, *, max_tokens: int, prompt: bool = False
) -> None:
    command.add_argument("model", type=Path, metavar="MODEL", help=_SPEAKER)
    if prompt:
        command.add_argument("prompt", metavar="PROMPT")
    command.add_argument("--strategy", choices=("greedy", "sample", "beam"), default="sample")
    command.add_argument(
        "--max-tokens",
        type=int,
        metavar="N",
        help=f"default {max_tokens}; an answer by rules is said to its end",
    )
    command.set_defaults(usual_tokens=max_tokens)
    command.add_argument("--temperature", type=float, default=0.7)
    command.add_argument("--top-p", type=float, default=1.0)
    command.add_argument("--top-k", type=int)
    command.add_argument("--beams", type=int, default=4)
    command.add_argument("--seed", type=int, default=0)


def _load(arguments: argparse.Namespace):  # noqa: ANN202 - of types that are imported late
    """The model, and the rule by which it is to speak."""
    from jielong.generation.loading import load_speaker
    from jielong.generation.readers import NO_LIMIT, RuleSpeaker
    from jielong.generation.sampling import Sampling

    names = ("strategy", "temperature", "top_p", "top_k", "beams", "seed")
    settings = {name: getattr(arguments, name) for name in names}
    given, usual = arguments.max_tokens, arguments.usual_tokens
    # Made before the model is loaded: that takes a while, and an option may be wrong.
    sampling = Sampling(**settings, max_tokens=usual if given is None else given)
    speaker = load_speaker(arguments.model)
    if given is None and isinstance(speaker.model, RuleSpeaker):
        sampling = replace(sampling, max_tokens=NO_LIMIT)
    return speaker, sampling


def _chat(arguments: argparse.Namespace) -> None:
    from jielong.generation.terminal_chat import chat

    chat(*_load(arguments))


def _generate(arguments: argparse.Namespace) -> None:
    from jielong.generation.engine import stream

    assistant, sampling = _load(arguments)
    prompt = assistant.tokenizer.prompt(arguments.prompt)
    for text, _ in stream(assistant, prompt, sampling):
        sys.stdout.write(text)
        sys.stdout.flush()
    sys.stdout.write("\n")


def _serve(arguments: argparse.Namespace) -> None:
    from jielong.server.app import serve

    serve(arguments.model, host=arguments.host, port=arguments.port)
