"""Evaluate: a whole chain of models on text, words and prompts that none of them was trained on."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jielong.baselines.ngram import NgramModel
from jielong.core import config as configs
from jielong.core.config import check_positive
from jielong.core.device import describe_machine
from jielong.core.errors import ConfigError
from jielong.core.files import write_atomic
from jielong.core.progress import progress, say
from jielong.core.resources import peak_rss_bytes
from jielong.core.run_dir import RunDir, open_finished, open_run
from jielong.data.lexicon import Lexicon
from jielong.data.shards import Shard
from jielong.data.tasks import FAMILIES, Item
from jielong.data.tasks.idiom_chain import first_character_ok
from jielong.evaluation.language_modeling import (
    difference,
    score,
    score_ngram,
    xz_bits_per_byte,
)
from jielong.evaluation.models import score_family, token_nats
from jielong.evaluation.summary import (
    BitsPerByteSummary,
    StageCost,
    Summary,
    TaskScore,
    Tax,
    write_summary,
)
from jielong.generation.engine import generate
from jielong.generation.loading import Assistant, load_assistant
from jielong.generation.sampling import Sampling
from jielong.stages.alignment import Alignment
from jielong.stages.ppo import PPOConfig
from jielong.tokenizer.chat_template import render

MODELS = ("base", "sft", "ppo", "ppo_ptx", "ppo_chain")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Which runs make up the chain, how much is asked of each, and where `summary` is written.

    `families` are the tasks that were trained. Each prompt gets `samples` answers a side for win
    rates, and `best_of` from the SFT model for best-of-n. Sampled answers are compared at the
    temperature that their PPO run sampled at: `temperature`, and `chain_temperature` for chains.
    """

    run_dir: str
    summary: str
    prepared: str
    data: str
    base: str
    sft: str
    reward: str
    ppo: str | None = None
    ppo_ptx: str | None = None
    ppo_chain: str | None = None
    extra: tuple[str, ...] = ()
    seed: int = 0
    families: tuple[str, ...]
    items: int = 400
    prompts: int = 400
    samples: int = 4
    best_of: int = 16
    temperature: float = 0.7
    chain_temperature: float = 1.0
    max_tokens: int = 32
    shown: int = 12

    def __post_init__(self) -> None:
        """Refuse counts that measure nothing."""
        check_positive(self, "items", "prompts", "samples", "max_tokens", "shown")
        check_positive(self, "temperature", "chain_temperature")
        if self.best_of < self.samples:
            raise ValueError(f"best_of: {self.best_of}: must be at least samples {self.samples}")

    def chain(self) -> dict[str, str]:
        """The chat models by name, base first."""
        return {name: path for name in MODELS if (path := getattr(self, name)) is not None}


def run(config: EvaluateConfig, *, resume: bool = False) -> Path:
    """Measure everything; returns the run directory, and writes the summary."""
    chain = config.chain()
    _check_parents(config, chain)
    parents = {"prepared": config.prepared, "data": config.data, "reward": config.reward}
    inputs = {name: Path(path) for name, path in (parents | chain).items()}
    run = RunDir.create(
        config.run_dir,
        stage="evaluate",
        config=config,
        inputs=inputs,
        resume=resume,
    )
    models = {name: load_assistant(path) for name, path in chain.items()}
    with progress(f"evaluate -> {run.path}", total=4) as bar:
        bits, tax, text = measure_text(config, models)
        bar.advance(note="tasks")
        tasks, answers = measure_tasks(config, models)
        bar.advance(note="reward model and win rates")
        alignment = Alignment(config, models)
        reward = alignment.reward_model()
        bar.advance()
        ppo, ppo_ptx = (
            alignment.against_sft(name) if name in models else None for name in ("ppo", "ppo_ptx")
        )
        ppo_chain = alignment.chain_against_sft() if "ppo_chain" in models else None
        bar.advance()
    files = {"text": text, "tasks": answers, **alignment.files, "samples": show(config, models)}
    for name, content in files.items():
        text_ = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
        write_atomic(run.path / f"{name}.json", text_)
    summary = Summary(
        **_costs(config),
        seed=config.seed,
        machine=_machine(),
        commit=run.manifest.get("commit"),
        bits_per_byte=bits,
        tasks=tasks,
        reward_model=reward,
        ppo=ppo,
        ppo_ptx=ppo_ptx,
        ppo_chain=ppo_chain,
        tax=tax,
    )
    write_summary(summary, Path(config.summary))
    run.finish()
    say(f"summary: {config.summary}")
    return run.path


def _check_parents(config: EvaluateConfig, chain: dict[str, str]) -> None:
    """Every run is finished, and each PPO run sampled at the temperature it is judged at."""
    open_finished(config.prepared, "prepare")
    open_finished(config.data, "tokenize")
    open_finished(config.reward, "reward")
    for name, path in chain.items():
        stage = {"base": "pretrain", "sft": "sft"}.get(name, "ppo")
        run = open_finished(path, stage)
        if stage == "ppo":
            key = "chain_temperature" if name == "ppo_chain" else "temperature"
            sampled = configs.load(PPOConfig, run.path / "config.toml").settings.temperature
            if sampled != getattr(config, key):
                raise ConfigError(f"{key}: {getattr(config, key)}: {path} sampled at {sampled}")
    for path in config.extra:
        open_finished(path, "ppo")


def measure_text(
    config: EvaluateConfig, models: dict[str, Assistant]
) -> tuple[BitsPerByteSummary, Tax, dict[str, Any]]:
    """Bits per byte of every model on the held-out documents, and of what has to be beaten."""
    data = Path(config.data)
    valid, train = Shard.load(data / "valid.npz"), Shard.load(data / "train.npz")
    nats = {name: token_nats(a.model, valid) for name, a in models.items() if name != "ppo_chain"}
    scores = {name: score(valid, values, seed=config.seed) for name, values in nats.items()}
    vocabulary = models["base"].tokenizer.vocab_size
    seen = open_run(Path(config.base)).manifest["tokens"]
    same = score_ngram(valid, NgramModel.fit(train.tokens[:seen], 5, vocabulary))
    whole = score_ngram(valid, NgramModel.fit(train.tokens, 5, vocabulary))
    documents = Path(config.prepared) / "documents"
    held_out, known = (_text(documents / f"{name}.jsonl") for name in ("valid", "train"))
    bits = BitsPerByteSummary(
        model=scores["base"].overall.estimate,
        ngram=same.overall.estimate,
        ngram_all=whole.overall.estimate,
        xz=xz_bits_per_byte(held_out),
        xz_after_training_text=xz_bits_per_byte(held_out, known),
        by_language={
            language: {"model": value, "ngram_all": whole.by_language[language]}
            for language, value in scores["base"].by_language.items()
        },
    )
    tax = Tax(**{name: result.overall.estimate for name, result in scores.items()})
    text = {
        name: {
            "overall": result.overall.to_dict(),
            "by_language": result.by_language,
            "above_sft": difference(valid, nats[name], nats["sft"], seed=config.seed).to_dict(),
        }
        for name, result in scores.items()
    }
    return bits, tax, text


def measure_tasks(
    config: EvaluateConfig, models: dict[str, Assistant]
) -> tuple[dict[str, TaskScore], dict[str, Any]]:
    """Accuracy of each model on held-out items of each family; chains also as they are sampled.

    The base model knows no chat: it is shown solved training items as plain text (few-shot).
    """
    lexicon = Lexicon.load(Path(config.prepared) / "lexicon.json")
    greedy = Sampling(strategy="greedy", max_tokens=config.max_tokens)
    sampled = Sampling(
        temperature=config.chain_temperature, max_tokens=config.max_tokens, seed=config.seed
    )
    tasks: dict[str, TaskScore] = {}
    answers: dict[str, Any] = {}
    for family in config.families:
        items = FAMILIES[family].items(lexicon, "test", config.seed)
        items = sorted(items, key=lambda item: item.id)[:: max(1, len(items) // config.items)]
        chance = FAMILIES[family].chance(items)
        rules = {family: greedy}
        if family == "idiom_chain":
            rules["idiom_chain_sampled"] = sampled
        for name, rule in rules.items():
            shots = FAMILIES[family].items(lexicon, "train", config.seed)
            found = {
                model: score_family(a, items, rule, shots if model == "base" else ())
                for model, a in models.items()
            }
            shares = {model: result.accuracy.estimate for model, result in found.items()}
            decoding = found["base"].decoding
            tasks[name] = TaskScore(chance=chance, n=len(items), decoding=decoding, **shares)
            answers[name] = {
                "intervals": {model: r.accuracy.to_dict() for model, r in found.items()},
                "examples": _examples(items, {m: r.answers for m, r in found.items()}),
            }
            if name == "idiom_chain":
                tasks["chain_first_character"] = _first_characters(items, found, decoding)
    return tasks, answers


def _first_characters(items: list[Item], found: dict[str, Any], decoding: str) -> TaskScore:
    """How often the reply at least begins with the right character; chance is one idiom in all."""
    shares = {
        model: float(
            np.mean([first_character_ok(i, t) for i, t in zip(items, r.answers, strict=True)])
        )
        for model, r in found.items()
    }
    chance = FAMILIES["idiom_chain"].chance(items)
    return TaskScore(chance=chance, n=len(items), decoding=decoding, **shares)


def _examples(items: list[Item], answers: dict[str, list[str]], number: int = 20) -> list[Any]:
    return [
        {"prompt": item.messages[-1]["content"], **{m: texts[i] for m, texts in answers.items()}}
        for i, item in enumerate(items[:number])
    ]


def show(config: EvaluateConfig, models: dict[str, Assistant]) -> list[dict[str, Any]]:
    """The same few prompts answered by every model, for people to read."""
    lexicon = Lexicon.load(Path(config.prepared) / "lexicon.json")
    items = []
    for family in config.families:
        found = FAMILIES[family].items(lexicon, "test", config.seed)
        share = max(1, config.shown // len(config.families))
        items += found[:: max(1, len(found) // share)][:share]
    sampling = Sampling(strategy="greedy", max_tokens=config.max_tokens)
    columns = {}
    for name, assistant in models.items():
        prompts = [
            render(assistant.tokenizer, item.messages, generation_prompt=True).ids for item in items
        ]
        columns[name] = [c.text for c in generate(assistant, prompts, sampling)]
    return [
        {"prompt": list(item.messages), **{name: texts[i] for name, texts in columns.items()}}
        for i, item in enumerate(items)
    ]


def _costs(config: EvaluateConfig) -> dict[str, Any]:
    """Seconds, steps and tokens of each stage, and the largest memory any of them took."""
    paths = [config.prepared, config.data, config.reward, *config.chain().values(), *config.extra]
    stages, peak = {}, peak_rss_bytes()
    for path in paths:
        manifest = open_run(Path(path)).manifest
        stages[Path(path).name] = StageCost(
            seconds=manifest["seconds"],
            steps=manifest.get("steps", 0),
            tokens=manifest.get("tokens", 0),
        )
        peak = max(peak, manifest["peak_rss_bytes"])
    seconds = sum(stage.seconds for stage in stages.values())
    return {"stages": stages, "train_seconds": seconds, "peak_rss_bytes": peak}


def _machine() -> str:
    found = describe_machine()
    return f"{found['processor']}, {found['cores']} threads, torch {found['torch']}"


def _text(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return "\n".join(json.loads(line)["text"] for line in file)
