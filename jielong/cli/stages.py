"""Commands that make models: the quickstart, each stage by its recipe, and the report of a run."""

import argparse
import importlib
import sys
from pathlib import Path

from jielong.cli.options import Add, console, count
from jielong.stages import STAGES

TRAIN = ("pretrain", "finetune", "sft", "reward", "ppo")
"""The stages that several processes may run together."""

SUMMARIES = {
    "prepare": "fetch, clean and split the text of a recipe",
    "tokenize": "learn a vocabulary and pack the text into token shards",
    "pretrain": "train a language model from nothing",
    "finetune": "teach a base model one task with right answers, by a head of its own",
    "sft": "teach a base model to answer, from demonstrations",
    "reward": "train a reward model from ranked answers",
    "ppo": "improve a model by PPO, or PPO-ptx with a pretraining mix",
    "evaluate": "measure a chain of models on what none of them was trained on",
    "ladder": "train the models that came before, and ours, on one text and one clock",
}


def add_commands(add: Add) -> None:
    """The commands of this module."""
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
        if name not in ("prepare", "tokenize", "evaluate", "ladder"):
            stage.add_argument("--resume-from", metavar="CHECKPOINT", help="go on from this one")
    watch = add("watch", "the curves of a run in the terminal, as it goes on", _watch)
    watch.add_argument("run_dir", type=Path, metavar="RUN")
    watch.add_argument("--metric", action="append", default=[], metavar="NAME", help="(repeatable)")
    watch.add_argument("--once", action="store_true", help="draw what there is, and end")
    plan = add("plan", "settings for a time or a size, and what they will take and reach", _plan)
    plan.add_argument("data", type=Path, metavar="RUN", help="a tokenize run, or a prepare run")
    plan.add_argument("--minutes", type=float, metavar="N", help="train for N minutes")
    plan.add_argument("--parameters", type=count, metavar="N", help="train a model of about N")
    plan.add_argument("--out", type=Path, metavar="PLAN.toml", help="write the recipe")
    plan.set_defaults(refuse=plan.error)
    report = add("report", "(re)write the report page of a run", _report)
    report.add_argument("run_dir", type=Path, metavar="RUN")


def _add_fill(evaluate: argparse.ArgumentParser) -> None:
    evaluate.add_argument("recipe", type=Path, nargs="?", metavar="RECIPE.toml")
    evaluate.add_argument(
        "--fill",
        nargs=2,
        metavar=("RUN", "TEXT"),
        help="instead: what a masked model puts in place of each [MASK] of a text",
    )
    evaluate.add_argument("-k", type=count, default=5, metavar="N", help="with --fill: N tokens")
    evaluate.set_defaults(run=_evaluate, refuse=evaluate.error)


def _stage(arguments: argparse.Namespace) -> None:
    from jielong.core import config as configs
    from jielong.core.processes import is_first, joined

    module_name, class_name = STAGES[arguments.stage].split(":")
    with joined(arguments.stage, shared=arguments.stage in TRAIN):
        module = importlib.import_module(module_name)
        config = configs.load(getattr(module, class_name), arguments.recipe, arguments.overrides)
        resume = getattr(arguments, "resume_from", None) or arguments.resume
        path = module.run(config, resume=resume)
        if is_first():
            sys.stdout.write(f"{path}\n")


def _evaluate(arguments: argparse.Namespace) -> None:
    if (arguments.recipe is None) == (arguments.fill is None):
        arguments.refuse("give a RECIPE.toml, or --fill RUN TEXT")
    if arguments.fill is None:
        _stage(arguments)
        return
    from jielong.evaluation.filling import fill
    from jielong.generation.loading import load_transformer

    run, text = arguments.fill
    for gap, probability, token in fill(load_transformer(run, "masked"), text, arguments.k):
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


def _plan(arguments: argparse.Namespace) -> None:
    if arguments.minutes is None and arguments.parameters is None:
        arguments.refuse("give --minutes N or --parameters N")
    from jielong.stages import plan

    text = plan.open_text(arguments.data)
    choice = plan.make(text, arguments.minutes, arguments.parameters)
    console().print(plan.table(choice, text))
    if arguments.out is not None:
        for command in plan.write(choice, text, arguments.out):
            sys.stdout.write(f"{command}\n")


def _report(arguments: argparse.Namespace) -> None:
    from jielong.evaluation.report import write_report

    sys.stdout.write(f"{write_report(arguments.run_dir)}\n")


def _watch(arguments: argparse.Namespace) -> None:
    from jielong.core.watch import watch

    watch(arguments.run_dir, arguments.metric, once=arguments.once)
