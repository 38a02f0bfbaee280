"""Reward: sample answers from an SFT model, have them ranked, learn to score as people would."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from jielong.baselines.ngram import NgramModel
from jielong.core.config import check_positive
from jielong.core.device import default_device
from jielong.core.errors import DataError
from jielong.core.processes import first_ahead
from jielong.core.progress import say
from jielong.core.run_dir import RunDir, open_finished
from jielong.core.seeds import derive
from jielong.data.lexicon import Lexicon
from jielong.data.shards import Shard
from jielong.feedback import records
from jielong.feedback.agreement import pairs
from jielong.feedback.gold import Annotators, Answer, GoldScorer, calibrate
from jielong.generation.loading import Assistant, load_assistant, save_model
from jielong.generation.sampling import Sampling
from jielong.model.heads import ScalarModel, start_from
from jielong.objectives.preference import ranking_loss
from jielong.stages.candidates import Candidate, sample_candidates, sample_only
from jielong.stages.judging import Prompt, fluency_of, save_judge, sentences
from jielong.stages.learning import check_machine, make_learner
from jielong.stages.ranking_batches import Ranked, RankingBatches, check_lengths, collate
from jielong.tokenizer.bpe import Tokenizer
from jielong.tokenizer.chat_template import render
from jielong.training.learner import Part
from jielong.training.loop import Plan, run_training, totals
from jielong.training.optimizers import OptimizerConfig
from jielong.training.plan import LoopConfig
from jielong.training.settings import TrainingConfig

RANKINGS = "rankings.jsonl"
FEW_COMPARISONS = 2000


@dataclass(frozen=True, kw_only=True)
class RewardConfig:
    """Where the rankings come from, and how they are learned.

    With `rankings` the user's own file is used; else `train_prompts` prompts get `answers` answers
    each, ranked by `opinions` of the `annotators` simulated people, who agree with each other
    `agreement` of the time.
    """

    run_dir: str
    init_from: str
    data: str
    prepared: str
    rankings: str | None = None
    seed: int = 0
    train_prompts: int = 3200
    answers: int = 4
    annotators: int = 5
    opinions: int = 1
    agreement: float = 0.73
    fault_share: float = 0.35
    temperature: float = 0.7
    max_tokens: int = 32
    batch: int = 32
    epochs: int = 1
    fit_prompts: int = 300
    save_every: int = 50
    loop: LoopConfig = field(default_factory=LoopConfig)
    optimizer: OptimizerConfig
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        check_positive(self, "train_prompts", "batch", "epochs", "fit_prompts", "save_every")
        check_positive(self, "max_tokens", "temperature", "opinions")
        for name, least in (("answers", 2), ("annotators", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: {getattr(self, name)}: must be at least {least}")
        if self.training.parallel == "fsdp":  # where all would have to make equally many passes
            raise ValueError(
                "training.parallel: 'fsdp': how many passes a reward model makes depends on its "
                "rows: use 'ddp'"
            )
        if self.opinions > self.annotators:
            raise ValueError(
                f"opinions: {self.opinions}: must be at most annotators {self.annotators}"
            )


def run(config: RewardConfig, *, resume: bool | str = False) -> Path:
    """Collect rankings, train; returns the run directory with rankings, judge and model."""
    check_machine(config.training)
    parents = {
        "init_from": open_finished(config.init_from, "sft").path,
        "data": open_finished(config.data, "tokenize").path,
        "prepared": open_finished(config.prepared, "prepare").path,
    }
    inputs = parents | ({"rankings": Path(config.rankings)} if config.rankings else {})
    # Read the user's file first: a bad line must leave no half-begun run behind.
    own = usable(Path(config.rankings)) if config.rankings else None
    run = RunDir.create(
        config.run_dir,
        stage="reward",
        config=config,
        inputs=inputs,
        resume=resume,
        may_change=("loop",),
    )
    assistant = load_assistant(parents["init_from"])
    with first_ahead():  # it alone asks, and writes down the rankings that all learn from
        rankings = _rankings(config, run.path, assistant, parents, own)
    torch.manual_seed(derive(config.seed, "reward"))
    # Dropout would make a score depend on chance.
    shape = dataclasses.replace(assistant.model.config, dropout=0.0)
    model = start_from(ScalarModel(shape), assistant.model).to(default_device())
    batches = RankingBatches(rankings, assistant.tokenizer, config.batch, config.seed)
    check_lengths(batches.prompts, assistant.context)
    steps = config.epochs * batches.per_epoch
    learner = make_learner(model, config.optimizer, config.training, steps)
    plan = Plan(steps=steps, save_every=config.save_every, loop=config.loop)
    run_training(run, learner, lambda step: [Part([batches(step)], ranking_loss)], plan)
    with learner.averaged():
        mean, deviation = _calibrate(model, assistant.tokenizer, parents["prepared"])
        found = totals(run.path) | save_model(run.path, model, assistant.tokenizer)
    found |= {"rankings": len(rankings), "tokens": batches.tokens * config.epochs}
    run.finish(found | {"demonstration_mean": mean, "demonstration_std": deviation})
    return run.path


def _rankings(
    config: RewardConfig,
    run: Path,
    assistant: Assistant,
    parents: dict[str, Path],
    own: list[records.Ranking] | None,
) -> list[records.Ranking]:
    """The run's rankings: already collected, the user's, or new ones by simulated people."""
    kept = run / RANKINGS
    if not kept.exists():
        lexicon = Lexicon.load(parents["prepared"] / "lexicon.json")
        ngram = NgramModel.fit(
            Shard.load(parents["data"] / "train.npz").tokens, 3, assistant.tokenizer.vocab_size
        )
        prompts = sentences(lexicon, "train")
        say(f"reward -> {run}: asking for {config.train_prompts} x {config.answers} answers")
        scorer, annotators = _labellers(config, assistant, prompts, ngram)
        save_judge(run, ngram, scorer, annotators)
        if own is None:
            own = _simulate(config, assistant, prompts, scorer, annotators)
        records.write(kept, own)
    found = usable(kept)
    comparisons = sum(len(pairs(ranking.ranks)) for ranking in found)
    if comparisons < FEW_COMPARISONS:
        say(
            f"only {comparisons} comparisons: below {FEW_COMPARISONS} a reward model hardly beats "
            "chance (arXiv:2210.10760)"
        )
    return found


def usable(path: Path) -> list[records.Ranking]:
    """The rankings of a file that may be learned from: with consent, and some order in them."""
    found = records.read(path, records.Ranking)
    kept = [r for r in found if r.consent and r.verdict != "cannot_judge" and pairs(r.ranks)]
    if not kept:
        raise DataError(f"{path}: no ranking that can be learned from: rank some answers first")
    if len(kept) < len(found):
        say(f"{path}: {len(found) - len(kept)} of {len(found)} rankings are left out")
    return kept


def _labellers(
    config: RewardConfig, assistant: Assistant, prompts: list[Prompt], ngram: NgramModel
) -> tuple[GoldScorer, Annotators]:
    """The gold scorer scaled on samples of the SFT model, and people who agree as asked."""
    chosen = prompts[: config.fit_prompts]
    groups = sample_only(assistant, chosen, config.answers, _sampling(config, "fit"))
    samples = [
        [Answer(p.constraints, c.text, c.finished) for c in group]
        for p, group in zip(chosen, groups, strict=True)
    ]
    scorer = GoldScorer.fit(fluency_of(ngram, assistant.tokenizer), samples)
    features = np.stack([scorer.features(group) for group in samples])
    people = Annotators.recruit(config.annotators, seed=derive(config.seed, "annotators"))
    return scorer, calibrate(people, features, config.agreement)


def _simulate(
    config: RewardConfig,
    assistant: Assistant,
    prompts: list[Prompt],
    scorer: GoldScorer,
    annotators: Annotators,
) -> list[records.Ranking]:
    """Rankings of sampled answers, each by some of the annotators in turn."""
    chosen = [prompts[i % len(prompts)] for i in range(config.train_prompts)]
    groups = sample_candidates(
        assistant, chosen, config.answers, _sampling(config, "candidates"), config.fault_share
    )
    found = []
    for number, (prompt, group) in enumerate(zip(chosen, groups, strict=True)):
        features = scorer.features([Answer(prompt.constraints, c.text, c.finished) for c in group])
        first = derive(config.seed, "who", number)
        for who in ((first + i) % config.annotators for i in range(config.opinions)):
            ranks = annotators.rank(features, who, config.seed, number)
            found.append(_record(number, prompt, group, ranks, who, assistant))
    return found


def _record(
    number: int,
    prompt: Prompt,
    group: list[Candidate],
    ranks: list[int],
    annotator: int,
    assistant: Assistant,
) -> records.Ranking:
    """The same record that a person at the labelling page makes."""
    responses = tuple(
        records.Response(
            id=f"{number}-{i}",
            text=candidate.text,
            ids=tuple(candidate.ids),
            tokenizer_sha=assistant.tokenizer.sha256,
            model=f"{assistant.name}:{candidate.kind}",
            finish="stop" if candidate.finished else "length",
        )
        for i, candidate in enumerate(group)
    )
    return records.Ranking(
        id=f"gold-{number}-{annotator}",
        prompt_id=prompt.id,
        messages=prompt.messages,
        responses=responses,
        ranks=tuple(ranks),
        annotator=f"gold-{annotator}",
        presented_order=tuple(response.id for response in responses),
    )


def _sampling(config: RewardConfig, purpose: str) -> Sampling:
    return Sampling(
        temperature=config.temperature,
        max_tokens=config.max_tokens,
        seed=derive(config.seed, "reward", purpose),
    )


def _calibrate(model: ScalarModel, tokenizer: Tokenizer, prepared: Path) -> tuple[float, float]:
    """Shift scores so that demonstrations have mean 0; returns their mean and deviation before."""
    prompts = sentences(Lexicon.load(prepared / "lexicon.json"), "train")[:256]
    rows = [
        render(tokenizer, [*p.messages, {"role": "assistant", "content": p.example}]).ids
        for p in prompts
    ]
    batch = collate([Ranked("", [row], [[1]]) for row in rows], tokenizer.special.pad)
    with torch.no_grad():
        scores = model.rewards(batch.ids, batch.lengths)
    mean, deviation = scores.mean().item(), scores.std().item()
    model.calibrate(mean)
    return mean, deviation
