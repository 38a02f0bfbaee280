"""The command line: parses, calls, prints. What a command does is in the rooms below.

Exit codes: 0 done, 1 the input was at fault (one line on stderr), 2 wrong usage, 3 an internal
invariant broke, 130 stopped by Ctrl-C. Heavy imports wait until a command needs them, so that
`--help` is instant.
"""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from jielong import __version__
from jielong.core.errors import JielongError
from jielong.stages import STAGES

SUMMARIES = {
    "prepare": "fetch, clean and split the text of a recipe",
    "tokenize": "learn a vocabulary and pack the text into token shards",
    "pretrain": "train a language model from nothing",
    "finetune": "teach a base model one task with right answers, by a head of its own",
    "sft": "teach a base model to answer, from demonstrations",
    "reward": "train a reward model from ranked answers",
    "ppo": "improve a model by PPO, or PPO-ptx with a pretraining mix",
    "evaluate": "measure a chain of models on what none of them was trained on",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    parsed = make_parser().parse_args(arguments)
    try:
        parsed.run(parsed)
    except JielongError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("stopped; what was saved is whole: add --resume to go on\n")
        return 130
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

    def add(name: str, summary: str, run: Callable[[argparse.Namespace], None]):  # noqa: ANN202
        command = commands.add_parser(name, help=summary, description=summary)
        command.set_defaults(run=run)
        return command

    quickstart = add("quickstart", "the whole chain on real text, then a chat", _quickstart)
    quickstart.add_argument("--dir", type=Path, default=Path("runs/quickstart"), metavar="DIR")
    quickstart.add_argument("--minutes", type=float, metavar="N", help="scale the training to N")
    quickstart.add_argument("--seed", type=int, default=0)
    quickstart.add_argument("--recipes", default="small", help="small (default) or tiny")
    quickstart.add_argument("--no-chat", action="store_true", help="end after the report")
    quickstart.add_argument("--resume", action="store_true", help="go on where it stopped")
    for name, summary in SUMMARIES.items():
        stage = add(name, summary, _stage)
        stage.set_defaults(stage=name)
        if name == "evaluate":
            _add_fill(stage)
        else:
            stage.add_argument("recipe", type=Path, metavar="RECIPE.toml")
        stage.add_argument("overrides", nargs="*", metavar="key=value")
        stage.add_argument("--resume", action="store_true", help="go on with an unfinished run")
    chat = add("chat", "talk to a model in the terminal", _chat)
    _add_decoding(chat, max_tokens=128)
    generate = add("generate", "continue a text; prints the continuation alone", _generate)
    _add_decoding(generate, max_tokens=64, prompt=True)
    serve = add("serve", "OpenAI-compatible API and a chat page", _serve)
    serve.add_argument("model", type=Path, metavar="MODEL")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, default=8000)
    summary = "text to tokens and back, and what happens on the way"
    _add_tokenizer(commands.add_parser("tokenizer", help=summary, description=summary))
    _add_inspection(add)
    _add_exchange(add)
    report = add("report", "(re)write the report page of a run", _report)
    report.add_argument("run_dir", type=Path, metavar="RUN")
    _add_data(commands)
    return parser


def _add_fill(evaluate: argparse.ArgumentParser) -> None:
    evaluate.add_argument("recipe", type=Path, nargs="?", metavar="RECIPE.toml")
    evaluate.add_argument(
        "--fill",
        nargs=2,
        metavar=("RUN", "TEXT"),
        help="instead: what a masked model puts in place of each [MASK] of a text",
    )
    evaluate.add_argument("-k", type=_count, default=5, metavar="N", help="with --fill: N tokens")
    evaluate.set_defaults(run=_evaluate, refuse=evaluate.error)


def _add_tokenizer(group: argparse.ArgumentParser) -> None:
    commands = group.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, summary: str, run: Callable[[argparse.Namespace], None]):  # noqa: ANN202
        command = commands.add_parser(name, help=summary, description=summary)
        command.set_defaults(run=run)
        return command

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


def _add_exchange(add: Callable[..., argparse.ArgumentParser]) -> None:
    exchange = add("import", "make a folder of another program's a model of ours", _import)
    exchange.add_argument("source", type=Path, metavar="SOURCE", help="a Hugging Face folder")
    exchange.add_argument("out", type=Path, metavar="OUT", help="a new folder")
    exchange.add_argument(
        "--base", type=Path, metavar="MODEL", help="SOURCE is a PEFT adapter: merge it into this"
    )
    export = add("export", "write a model as a folder that other programs load", _export)
    export.add_argument("model", type=Path, metavar="MODEL", help="a run or model directory")
    export.add_argument("out", type=Path, metavar="OUT", help="a new folder")
    export.add_argument(
        "--format",
        choices=("hf", "peft"),
        default="hf",
        help="hf: Hugging Face's; peft: the adapter alone, where one was trained (LoRA)",
    )
    export.add_argument("--dtype", choices=("f32", "f16", "bf16"), default="f32")
    export.add_argument("--max-shard-size", type=_bytes, metavar="N", help="such as 500MB or 2GB")


def _add_inspection(add: Callable[..., argparse.ArgumentParser]) -> None:
    inspect = add("inspect", "a page of how a model reads a text: predictions, attention", _inspect)
    inspect.add_argument("model", type=Path, metavar="MODEL", help="a run or model directory")
    inspect.add_argument("text", metavar="TEXT")
    inspect.add_argument("--out", type=Path, default=Path("inspect.html"), metavar="FILE")
    inspect.add_argument("-k", type=_count, default=5, metavar="N", help="list the N likeliest")
    sizes = add("sizes", "parameters, FLOPs and memory of models, the published GPTs too", _sizes)
    sizes.add_argument(
        "names",
        nargs="*",
        metavar="WHAT",
        help="a recipe, a model, or a name's beginning such as gpt2; without any, all published",
    )
    sizes.add_argument(
        "--vocab-size",
        type=_count,
        metavar="N",
        help="for a recipe whose tokenizer is not made yet",
    )


def _add_data(commands) -> None:  # noqa: ANN001 - argparse names its type privately
    summary = "look into a prepared corpus"
    group = commands.add_parser("data", help=summary, description=summary)
    actions = group.add_subparsers(title="commands", metavar="COMMAND", required=True)
    summary = "what the text is, what was dropped and why: a table, and a page in DIR/stats.html"
    stats = actions.add_parser("stats", help=summary, description=summary)
    stats.set_defaults(run=_data_stats)
    stats.add_argument("directory", type=Path, metavar="DIR", help="a prepare or quickstart run")
    stats.add_argument("--tokens", type=Path, metavar="RUN", help="a tokenize run of that text")
    summary = "where a passage occurs, whatever its case, width and punctuation"
    find = actions.add_parser("find", help=summary, description=summary)
    find.set_defaults(run=_data_find)
    find.add_argument("text", metavar="TEXT")
    find.add_argument("--dir", type=Path, default=Path("runs/quickstart"), metavar="DIR")
    find.add_argument("-k", type=_count, default=10, metavar="N", help="show at most N documents")


def _count(text: str) -> int:
    if int(text) < 1:
        raise ValueError  # argparse says which option it was
    return int(text)


def _bytes(text: str) -> int:
    units = {"KB": 10**3, "MB": 10**6, "GB": 10**9}
    number, unit = (text[:-2], units[text[-2:]]) if text[-2:] in units else (text, 1)
    return _count(number) * unit


def _add_decoding(
    command: argparse.ArgumentParser, *, max_tokens: int, prompt: bool = False
) -> None:
    command.add_argument("model", type=Path, metavar="MODEL", help="a run or model directory")
    if prompt:
        command.add_argument("prompt", metavar="PROMPT")
    command.add_argument("--strategy", choices=("greedy", "sample", "beam"), default="sample")
    command.add_argument("--max-tokens", type=int, default=max_tokens, metavar="N")
    command.add_argument("--temperature", type=float, default=0.7)
    command.add_argument("--top-p", type=float, default=1.0)
    command.add_argument("--top-k", type=int)
    command.add_argument("--beams", type=int, default=4)
    command.add_argument("--seed", type=int, default=0)


def _stage(arguments: argparse.Namespace) -> None:
    from jielong.core import config as configs

    module_name, class_name = STAGES[arguments.stage].split(":")
    module = importlib.import_module(module_name)
    config = configs.load(getattr(module, class_name), arguments.recipe, arguments.overrides)
    path = module.run(config, resume=arguments.resume)
    sys.stdout.write(f"{path}\n")


def _evaluate(arguments: argparse.Namespace) -> None:
    if (arguments.recipe is None) == (arguments.fill is None):
        arguments.refuse("give a RECIPE.toml, or --fill RUN TEXT")
    if arguments.fill is None:
        _stage(arguments)
        return
    from jielong.evaluation.filling import fill
    from jielong.generation.loading import load_trained

    run, text = arguments.fill
    for gap, probability, token in fill(load_trained(run, "masked"), text, arguments.k):
        sys.stdout.write(f"{gap}\t{probability:.4f}\t{token}\n")


def _quickstart(arguments: argparse.Namespace) -> None:
    from jielong.stages import quickstart

    quickstart.run(
        arguments.dir,
        recipes=arguments.recipes,
        minutes=arguments.minutes,
        seed=arguments.seed,
        resume=arguments.resume,
    )
    if not arguments.no_chat:
        from jielong.generation.loading import load_assistant
        from jielong.generation.sampling import Sampling
        from jielong.generation.terminal_chat import chat

        chat(load_assistant(arguments.dir), Sampling(temperature=0.7))


def _decoding(arguments: argparse.Namespace):  # noqa: ANN202 - Sampling, imported late
    from jielong.generation.sampling import Sampling

    names = ("strategy", "max_tokens", "temperature", "top_p", "top_k", "beams", "seed")
    return Sampling(**{name: getattr(arguments, name) for name in names})


def _chat(arguments: argparse.Namespace) -> None:
    from jielong.generation.loading import load_assistant
    from jielong.generation.terminal_chat import chat

    chat(load_assistant(arguments.model), _decoding(arguments))


def _generate(arguments: argparse.Namespace) -> None:
    from jielong.generation.engine import stream
    from jielong.generation.loading import load_trained

    sampling = _decoding(arguments)
    assistant = load_trained(arguments.model, "causal", "prefix", "encoder_decoder")
    tokenizer = assistant.tokenizer
    prompt = [*tokenizer.begins, *tokenizer.encode(arguments.prompt)] or [tokenizer.special.eos]
    for text, _ in stream(assistant, prompt, sampling):
        sys.stdout.write(text)
        sys.stdout.flush()
    sys.stdout.write("\n")


def _serve(arguments: argparse.Namespace) -> None:
    from jielong.server.app import serve

    serve(arguments.model, host=arguments.host, port=arguments.port)


def _import(arguments: argparse.Namespace) -> None:
    from jielong.core.progress import say
    from jielong.generation.exchange import import_model

    say(import_model(arguments.source, arguments.out, arguments.base).describe())
    sys.stdout.write(f"{arguments.out}\n")


def _export(arguments: argparse.Namespace) -> None:
    from jielong.core.progress import say
    from jielong.generation.exchange import export_adapter, export_folder
    from jielong.model.formats.safetensors_files import MAX_SHARD_BYTES

    if arguments.format == "peft":
        export_adapter(arguments.model, arguments.out, dtype=arguments.dtype)
    else:
        size = arguments.max_shard_size or MAX_SHARD_BYTES
        exported = export_folder(
            arguments.model, arguments.out, dtype=arguments.dtype, max_shard_bytes=size
        )
        say(exported.describe())
    sys.stdout.write(f"{arguments.out}\n")


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


def _report(arguments: argparse.Namespace) -> None:
    from jielong.evaluation.report import write_report

    sys.stdout.write(f"{write_report(arguments.run_dir)}\n")


def _inspect(arguments: argparse.Namespace) -> None:
    from jielong.evaluation.inspect_readings import inspect_text
    from jielong.evaluation.inspect_report import cut_line, write_inspection
    from jielong.generation.loading import load_assistant

    found = inspect_text(load_assistant(arguments.model), arguments.text, arguments.k)
    sys.stdout.write(f"{write_inspection(found, arguments.out)}\n")
    if cut := cut_line(found):
        sys.stderr.write(f"{cut}\n")


def _sizes(arguments: argparse.Namespace) -> None:
    from jielong.evaluation.inspect_sizes import find, print_sizes

    print_sizes(find(arguments.names, arguments.vocab_size), _console())


def _console():  # noqa: ANN202 - Console, imported late
    from rich.console import Console

    # In a pipe nobody knows a width: a line is then as long as it needs to be.
    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=240)


def _data_stats(arguments: argparse.Namespace) -> None:
    from jielong.evaluation.corpus_report import corpus_table, gather, write_corpus_report

    corpus = gather(arguments.directory, arguments.tokens)
    _console().print(corpus_table(corpus))
    sys.stdout.write(f"{write_corpus_report(arguments.directory, corpus)}\n")


def _data_find(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from jielong.data.passages import describe, find
    from jielong.data.prepared import open_prepared

    found = find(open_prepared(arguments.dir), arguments.text, arguments.k)
    Console(highlight=False, soft_wrap=True).print(describe(found))
