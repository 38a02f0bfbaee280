"""The ladder: what language models were, one rung after the other, on one corpus and one clock.

Networks are trained for the same wall time each; counting takes what it takes. Every rung is a run
of its own under `rungs/`, so a ladder that was interrupted keeps those that are done, and each can
be talked to. The page and `summary.json` are made from them at the end.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from jielong.baselines import rules
from jielong.baselines.recurrent import Recurrent
from jielong.baselines.word2vec import Vectors, Word2VecConfig, train
from jielong.core.config import check_positive, parse
from jielong.core.device import describe_machine
from jielong.core.errors import CheckpointError, ConfigError, DataError
from jielong.core.files import atomic_writer
from jielong.core.progress import say
from jielong.core.run_dir import MANIFEST, RunDir, open_finished, open_run
from jielong.core.seeds import derive
from jielong.data.lexicon import Lexicon
from jielong.data.sentence_pairs import SentencePair, sentence_pairs, word_pairs
from jielong.data.shards import Shard
from jielong.evaluation import ladder_measures as measures
from jielong.evaluation.ladder_report import write_ladder_report
from jielong.evaluation.ladder_summary import (
    LadderSummary,
    Rung,
    Translation,
    Translator,
    Turn,
    write_ladder_summary,
)
from jielong.evaluation.language_modeling import bits_per_byte
from jielong.generation.loading import Trained, load_rules, load_speaker
from jielong.generation.readers import Speaker
from jielong.generation.sampling import Sampling
from jielong.model.transformer import Transformer
from jielong.stages.ladder_rungs import (
    Material,
    NgramRung,
    RecurrentRung,
    Seq2SeqRung,
    TransformerRung,
    climb_network,
    climb_ngram,
    climb_seq2seq,
    fits,
    pair_batch,
)
from jielong.stages.pretrain import document_parts
from jielong.tokenizer.bpe import Tokenizer

RUNGS = "rungs"
VECTORS = "vectors.npz"
WORD2VEC = "word2vec"


@dataclass(frozen=True, kw_only=True)
class ShowConfig:
    """What the page shows: `prompts` to go on from, lines that are `said` to the rules, `words` and
    `analogies` (a, b, c: what is a - b + c?) to look up in the word vectors."""

    prompts: tuple[str, ...]
    said: tuple[str, ...]
    words: tuple[str, ...] = ()
    analogies: tuple[tuple[str, ...], ...] = ()
    neighbours: int = 6
    max_tokens: int = 48
    temperature: float = 0.8
    translations: int = 8
    tested_pairs: int = 200

    def __post_init__(self) -> None:
        """Refuse what cannot be shown."""
        check_positive(self, "neighbours", "max_tokens", "translations", "tested_pairs")
        for words in self.analogies:
            if len(words) != 3:
                raise ValueError(f"analogies: {list(words)}: give three words, a - b + c")
        try:
            self.sampling(seed=0)
        except ConfigError as error:
            raise ValueError(str(error)) from None

    def sampling(self, seed: int) -> Sampling:
        """How the rungs go on from the prompts."""
        return Sampling(temperature=self.temperature, max_tokens=self.max_tokens, seed=seed)


@dataclass(frozen=True, kw_only=True)
class LadderConfig:
    """`prepared` and `data` are a prepare and a tokenize run; each network has `seconds`.

    A rung's name is the key of its table. `rules` is a table of rules (none: our own).
    """

    run_dir: str
    prepared: str
    data: str
    seed: int = 0
    seconds: float
    rules: str | None = None
    word2vec: Word2VecConfig | None = None
    ngram: dict[str, NgramRung] = field(default_factory=dict)
    recurrent: dict[str, RecurrentRung] = field(default_factory=dict)
    transformer: dict[str, TransformerRung] = field(default_factory=dict)
    seq2seq: dict[str, Seq2SeqRung] = field(default_factory=dict)
    show: ShowConfig

    def __post_init__(self) -> None:
        """Refuse names that two rungs would share, or that are no folder's."""
        check_positive(self, "seconds")
        kinds = (self.ngram, self.recurrent, self.transformer, self.seq2seq)
        names = [WORD2VEC, *(name for kind in kinds for name in kind)]
        for name in names:
            if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
                raise ValueError(f"{name}: no rung's name: use small letters, digits and -")
            if names.count(name) > 1:
                raise ValueError(f"{name}: the name of two rungs: rename one")


def run(config: LadderConfig, *, resume: bool = False) -> Path:
    """Climb; returns the run directory, with `summary.json` and `report.html`."""
    data = open_finished(config.data, "tokenize")
    prepared = open_finished(config.prepared, "prepare")
    material = Material(
        Tokenizer.load(data.path),
        Shard.load(data.path / "train.npz"),
        Shard.load(data.path / "valid.npz"),
        config.seconds,
        config.seed,
    )
    # What is wrong is told now: not after an hour, and not by a run that can go no further.
    rules_path = Path(config.rules) if config.rules else rules.SHIPPED
    dialogue = measures.dialogue(load_rules(rules_path), config.show.said)
    _check_reach(config, material)
    learned, asked = _pairs(config, prepared, material.tokenizer)
    run = RunDir.create(
        config.run_dir,
        stage="ladder",
        config=config,
        inputs={"data": data.path, "prepared": prepared.path},
        resume=resume,
    )
    _climb(config, run.path / RUNGS, material, learned)
    summary = _measure(config, run, material, asked, dialogue)
    write_ladder_summary(summary, run.path)
    say(f"page: {write_ladder_report(run.path)}")
    run.finish({"steps": {rung.name: rung.steps for rung in summary.rungs}})
    return run.path


def _check_reach(config: LadderConfig, material: Material) -> None:
    """Refuse prompts that a rung cannot read, and windows that the corpus does not fill."""
    sizes = [1 + len(material.tokenizer.encode(prompt)) for prompt in config.show.prompts]
    for name, rung in (config.recurrent | config.transformer).items():
        document_parts(material.train.tokens, 1, rung.window, material.seed)(0)
        for place, size in enumerate(sizes):
            if size >= rung.model.context:
                raise ConfigError(
                    f"show.prompts[{place}]: {size} tokens, which leaves {name} no room in its "
                    f"context of {rung.model.context}: shorten it"
                )


def _pairs(
    config: LadderConfig, prepared: RunDir, tokenizer: Tokenizer
) -> tuple[dict[str, list[SentencePair]], list[SentencePair]]:
    """What each translator learns from, and what all of them are asked: pairs that each can take.

    Raises `DataError` where a translator is left without any.
    """
    if not config.seq2seq:
        return {}, []
    sides = sentence_pairs(prepared)
    words = word_pairs(Lexicon.load(prepared.path / "lexicon.json"))

    def fitting(pairs: list[SentencePair], context: int) -> Iterator[SentencePair]:
        for pair in pairs:
            if fits((tokenizer.encode(pair.zh), tokenizer.encode(pair.en)), context):
                yield pair

    rungs = config.seq2seq
    learned = {
        name: [*sides["train"], *(words if rung.words else ())] for name, rung in rungs.items()
    }
    contexts = {name: rung.model.context for name, rung in rungs.items()}
    asked = fitting(sides["test"], min(contexts.values()))
    tested = [*islice(asked, config.show.tested_pairs)]
    for name, context in sorted(contexts.items(), key=lambda item: item[1]):
        if not tested or next(fitting(learned[name], context), None) is None:
            raise DataError(
                f"seq2seq.{name}.model.context: {context}: no pair of sentences fits: raise it"
            )
    return learned, tested


def _climb(
    config: LadderConfig,
    root: Path,
    material: Material,
    learned: Mapping[str, list[SentencePair]],
) -> None:
    """Train every rung that is not finished yet, in the order in which they came to the world."""

    def once(name: str, rung: Any, climb: Callable[[RunDir], None]) -> None:  # noqa: ANN401
        path = root / name
        if not _finished(path):
            say(f"{name}: counting")
            climb(RunDir.create(path, stage="rung", config=rung, resume=True))
        _tell(path)

    for name, rung in config.ngram.items():
        once(name, rung, lambda run, rung=rung: climb_ngram(run, rung, material))
    if config.word2vec is not None:
        wanted = config.word2vec
        once(WORD2VEC, wanted, lambda run: _climb_word2vec(run, wanted, material))
    for name, rung in (config.recurrent | config.transformer).items():
        if not _finished(root / name):
            climb_network(root / name, rung, material, resume=True)
        _tell(root / name)
    for name, rung in config.seq2seq.items():
        if not _finished(root / name):
            climb_seq2seq(root / name, rung, material, learned[name], resume=True)


def _climb_word2vec(run: RunDir, config: Word2VecConfig, material: Material) -> None:
    documents = np.split(material.train.tokens, material.train.starts[1:])
    seed = derive(material.seed, WORD2VEC)
    vectors = train(documents, config, material.tokenizer.vocab_size, seed)
    with atomic_writer(run.path / VECTORS) as file:
        np.savez(file, vectors=vectors)
    run.finish()


def _measure(
    config: LadderConfig,
    run: RunDir,
    material: Material,
    pairs: list[SentencePair],
    dialogue: tuple[Turn, ...],
) -> LadderSummary:
    """Everything on the page, from the finished rungs."""
    root, show = run.path / RUNGS, config.show
    names = [*config.ngram, *config.recurrent, *config.transformer]
    models = {name: load_speaker(root / name) for name in names}
    words = measures.Words.of(material.tokenizer, material.train)
    vectors = _vectors(config, root, models)
    queries = [*((word,) for word in show.words), *show.analogies]
    translators, translations = _translations(config, root, pairs, material)
    valid = material.valid
    nothing = np.log(material.tokenizer.vocab_size) * len(valid.tokens)
    machine = describe_machine()
    return LadderSummary(
        seconds=config.seconds,
        seed=config.seed,
        machine=f"{machine['processor']}, {machine['cores']} threads, torch {machine['torch']}",
        commit=run.manifest.get("commit"),
        train_tokens=len(material.train.tokens),
        valid_tokens=len(valid.tokens),
        valid_bytes=int(valid.text_bytes.sum()),
        uniform=bits_per_byte(float(nothing), int(valid.text_bytes.sum())),
        pairs=len(pairs),
        rungs=tuple(_rung(root / name) for name in names),
        samples=measures.samples(models, show.prompts, show.sampling(config.seed)),
        nearest=tuple(measures.nearest(words, vectors, q, show.neighbours) for q in queries),
        translators=translators,
        translations=translations,
        dialogue=dialogue,
    )


def _vectors(
    config: LadderConfig, root: Path, models: Mapping[str, Trained[Speaker]]
) -> dict[str, Vectors]:
    """A vector for each token: word2vec's, and the embeddings of the networks."""
    found: dict[str, Vectors] = {}
    if config.word2vec is not None:
        path = root / WORD2VEC / VECTORS
        try:
            with np.load(path, allow_pickle=False) as arrays:
                found[WORD2VEC] = arrays["vectors"]
        except Exception as error:  # noqa: BLE001 - zipfile and NumPy raise many kinds
            raise CheckpointError(f"{path}: damaged ({error}): delete {root / WORD2VEC}") from None
    for name in (*config.recurrent, *config.transformer):
        network = models[name].model
        assert isinstance(network, Recurrent | Transformer)
        found[name] = network.embedding.weight.detach().cpu().numpy()
    return found


def _translations(
    config: LadderConfig, root: Path, pairs: list[SentencePair], material: Material
) -> tuple[tuple[Translator, ...], tuple[Translation, ...]]:
    """Each translator's figures, and the first sentences as each has them."""
    tokenizer = material.tokenizer
    rows = [(tokenizer.encode(pair.zh), tokenizer.encode(pair.en)) for pair in pairs]
    translators, texts = [], {}
    for name in config.seq2seq:
        manifest = open_run(root / name).manifest
        climbed = measures.Climbed(
            load_speaker(root / name), manifest["train_s"], manifest["steps"], manifest["size"]
        )
        sampling = Sampling(strategy="greedy", max_tokens=48)
        result, texts[name] = measures.translate(
            climbed, pairs, pair_batch(rows, tokenizer), sampling
        )
        translators.append(result)
    return tuple(translators), measures.examples(pairs, texts, config.show.translations)


def _finished(path: Path) -> bool:
    return (path / MANIFEST).exists() and open_run(path).finished


def _rung(path: Path) -> Rung:
    return parse(Rung, open_run(path).manifest["rung"])


def _tell(path: Path) -> None:
    """One line about a finished rung."""
    if "rung" in open_run(path).manifest:
        rung = _rung(path)
        say(f"{rung.name}: {rung.bits_per_byte:.3f} bits per byte, {rung.seconds:.1f} s")
