"""Commands about a model as it is: what it computes, how large it is, other programs' formats."""

import argparse
import sys
from pathlib import Path

from jielong.cli.options import MODEL, Add, console, count, size_in_bytes


def add_commands(add: Add) -> None:
    """The commands of this module."""
    _add_inspection(add)
    _add_exchange(add)


def _add_inspection(add: Add) -> None:
    inspect = add("inspect", "a page of how a model reads a text: predictions, attention", _inspect)
    inspect.add_argument("model", type=Path, metavar="MODEL", help=MODEL)
    inspect.add_argument("text", metavar="TEXT")
    inspect.add_argument("--out", type=Path, default=Path("inspect.html"), metavar="FILE")
    inspect.add_argument("-k", type=count, default=5, metavar="N", help="list the N likeliest")
    sizes = add("sizes", "parameters, FLOPs and memory of models, the published GPTs too", _sizes)
    sizes.add_argument(
        "names",
        nargs="*",
        metavar="WHAT",
        help="a recipe, a model, or a name's beginning such as gpt2; without any, all published",
    )
    sizes.add_argument(
        "--vocab-size",
        type=count,
        metavar="N",
        help="for a recipe whose tokenizer is not made yet",
    )


def _add_exchange(add: Add) -> None:
    exchange = add("import", "make a folder of another program's a model of ours", _import)
    exchange.add_argument(
        "source", type=Path, metavar="SOURCE", help="a Hugging Face folder or a GGUF file"
    )
    exchange.add_argument("out", type=Path, metavar="OUT", help="a new folder")
    exchange.add_argument(
        "--base", type=Path, metavar="MODEL", help="SOURCE is a PEFT adapter: merge it into this"
    )
    export = add("export", "write a model so that other programs load it", _export)
    export.add_argument("model", type=Path, metavar="MODEL", help=MODEL)
    export.add_argument("out", type=Path, metavar="OUT", help="a new folder, or file")
    export.add_argument(
        "--format",
        choices=("hf", "gguf", "peft"),
        help="hf: a folder for transformers and vLLM; gguf: a file for llama.cpp, as *.gguf means; "
        "peft: the adapter alone, where one was trained (LoRA)",
    )
    export.add_argument(
        "--dtype",
        choices=("f32", "f16", "bf16", "q8_0"),
        default="f32",
        help="bf16 in folders only, q8_0 in GGUF files only",
    )
    export.add_argument(
        "--max-shard-size", type=size_in_bytes, metavar="N", help="such as 500MB or 2GB"
    )
    export.set_defaults(refuse=export.error)


def _inspect(arguments: argparse.Namespace) -> None:
    from jielong.evaluation.inspect_readings import inspect_text
    from jielong.evaluation.inspect_report import cut_line, write_inspection
    from jielong.generation.loading import load_transformer

    trained = load_transformer(arguments.model, "causal", "prefix", "masked")
    found = inspect_text(trained, arguments.text, arguments.k)
    sys.stdout.write(f"{write_inspection(found, arguments.out)}\n")
    if cut := cut_line(found):
        sys.stderr.write(f"{cut}\n")


def _sizes(arguments: argparse.Namespace) -> None:
    from jielong.evaluation.inspect_sizes import find, print_sizes

    print_sizes(find(arguments.names, arguments.vocab_size), console())


def _import(arguments: argparse.Namespace) -> None:
    from jielong.core.progress import say
    from jielong.generation.exchange import import_model

    say(import_model(arguments.source, arguments.out, arguments.base).describe())
    sys.stdout.write(f"{arguments.out}\n")


def _export(arguments: argparse.Namespace) -> None:
    from jielong.core.progress import say
    from jielong.generation.exchange import GGUF, export_adapter, export_folder, export_gguf
    from jielong.model.formats.safetensors_files import MAX_SHARD_BYTES

    model, out, dtype = arguments.model, arguments.out, arguments.dtype
    form = arguments.format or ("gguf" if out.suffix == GGUF else "hf")
    if dtype == ("bf16" if form == "gguf" else "q8_0"):
        arguments.refuse(f"--dtype {dtype}: --format {form} has no such numbers")
    if arguments.max_shard_size and form != "hf":
        one = "a GGUF file" if form == "gguf" else "an adapter"
        arguments.refuse(f"--max-shard-size: {one} is one file")
    if form == "gguf":
        say(export_gguf(model, out, dtype=dtype).describe())
    elif form == "peft":
        export_adapter(model, out, dtype=dtype)
    else:
        size = arguments.max_shard_size or MAX_SHARD_BYTES
        say(export_folder(model, out, dtype=dtype, max_shard_bytes=size).describe())
    sys.stdout.write(f"{arguments.out}\n")
