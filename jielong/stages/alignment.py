"""The evaluation's second half: is the reward model right, and are the aligned models better?

The noise-free gold labeller decides, on prompts that no stage was given: their word was never asked
for and their wording never used (the word itself may stand in sentences that were learned). Idioms
to be continued were never asked either; of their wordings one was never used.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from jielong.core.errors import DataError
from jielong.core.seeds import derive
from jielong.evaluation.reward_report import RankedScores, reward_report
from jielong.evaluation.statistics import (
    Groups,
    Interval,
    best_of_n,
    length_controlled_win_rate,
    number_groups,
    win_rate,
)
from jielong.evaluation.summary import PreferenceSummary, RewardModelSummary
from jielong.feedback import gold, records
from jielong.feedback.agreement import linear_ceiling
from jielong.feedback.features import units
from jielong.feedback.gold import Answer
from jielong.feedback.rewards import Answers, ModelReward
from jielong.generation.engine import generate
from jielong.generation.loading import Assistant, load_reward_model
from jielong.generation.rollouts import Rollouts, lay_out
from jielong.generation.sampling import Sampling
from jielong.model.transformer import Transformer
from jielong.objectives.loss import token_logp
from jielong.stages.judging import Prompt, load_judge
from jielong.stages.ranking_batches import by_answers
from jielong.tokenizer.chat_template import render

if TYPE_CHECKING:
    from jielong.stages.evaluate import EvaluateConfig

Floats = NDArray[np.float64]
CEILING_PROMPTS = 800
TITLES = {"ppo": "PPO", "ppo_ptx": "PPO-ptx", "ppo_chain": "PPO on chains"}


@dataclass(frozen=True)
class Sampled:
    """S answers to each of P prompts: rows in order, and their scores and lengths (P, S).

    `groups` (P,) numbers the words that prompts are about: prompts about one word are no
    independent evidence.
    """

    rollouts: Rollouts
    scores: Floats
    lengths: Floats
    groups: Groups

    def first(self, number: int) -> "Sampled":
        """The first `number` answers to each prompt."""
        prompts, samples = self.scores.shape
        rows = torch.arange(prompts * samples).reshape(prompts, samples)[:, :number].flatten()
        return Sampled(
            self.rollouts.select(rows),
            self.scores[:, :number],
            self.lengths[:, :number],
            self.groups,
        )


@dataclass(frozen=True)
class Features:
    """The gold labeller's features of each answer, (P, S, F): as they are, and standardised."""

    raw: Floats
    standard: Floats


class Alignment:
    """Samples of each model on the held-out prompts, and the comparisons made of them."""

    def __init__(self, config: "EvaluateConfig", models: dict[str, Assistant]) -> None:
        self.config, self.models = config, models
        self.files: dict[str, Any] = {"win_rates": []}
        tokenizer = models["sft"].tokenizer
        self.judge = load_judge(Path(config.prepared), Path(config.reward), tokenizer)
        self.prompts = self.judge.prompts(False, "test")[: config.prompts]
        if not self.prompts:
            raise DataError(f"{config.prepared}: no held-out word to ask for: prepare more text")
        self._sft = self._sample("sft", self.prompts, config.best_of, config.temperature)
        self._sft_greedy = self._sample("sft", self.prompts, 1, 0.0)

    def reward_model(self) -> RewardModelSummary:
        """Its accuracy on SFT samples to held-out prompts, and best-of-n by it."""
        model, _ = load_reward_model(self.config.reward)
        rollouts = self._sft.rollouts
        scores = ModelReward(model)(Answers(rollouts.ids, rollouts.lengths, [], [])).numpy()
        scores = scores.reshape(self._sft.scores.shape).astype(np.float64)
        few = slice(0, self.config.samples)
        features = self._features()
        order = self._sft.scores[:, few]
        report = reward_report(
            RankedScores(
                scores=scores[:, few],
                ranks=self._labels(features.standard[:, few]),
                lengths=self._sft.lengths[:, few],
                gold=order,
                features={n: features.raw[:, few, i] for i, n in enumerate(gold.WEIGHTS)},
                groups=self._sft.groups,
            ),
            ceiling=self._ceiling(features.standard[:, few], order),
            seed=self.config.seed,
        )
        sizes = [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= self.config.best_of]
        points = best_of_n(scores, self._sft.scores, sizes, self._sft.groups, seed=self.config.seed)
        self.files |= {"reward_model": report, "best_of_n": [point.to_dict() for point in points]}
        pairs = report["gold_pair_accuracy"]
        return RewardModelSummary(
            pair_accuracy=pairs["estimate"],
            pair_accuracy_ci=(pairs["low"], pairs["high"]),
            length_baseline=report["gold_length_baseline"]["estimate"],
            ceiling=report["ceiling"],
            n=report["n"],
        )

    def against_sft(self, name: str) -> PreferenceSummary:
        """Win rate of one aligned model: as it samples, at equal length, and greedy."""
        config = self.config
        sampled = self._sample(name, self.prompts, config.samples, config.temperature)
        greedy = self._sample(name, self.prompts, 1, 0.0)
        sft = self._sft.first(config.samples)
        found = self._compare(name, (sampled, sft), (greedy, self._sft_greedy), config.temperature)
        controlled = length_controlled_win_rate(
            (sampled.scores, sft.scores),
            (sampled.lengths, sft.lengths),
            sampled.groups,
            seed=config.seed,
        )
        self._row(f"{TITLES[name]}, at equal length", controlled, name, found.decoding, found.n)
        return replace(found, length_controlled=controlled.estimate)

    def chain_against_sft(self) -> PreferenceSummary:
        """The same for idiom chains, where a checker decides: right beats wrong.

        Asked is after every held-out idiom: answers are short, and models of one family differ in
        few of them.
        """
        config, name = self.config, "ppo_chain"
        prompts = self.judge.prompts(True, "test")
        if not prompts:
            raise DataError(f"{config.prepared}: no held-out idiom to continue: drop ppo_chain")
        at = config.chain_temperature
        sampled, greedy = (
            (self._sample(name, prompts, *how), self._sample("sft", prompts, *how))
            for how in ((config.samples, at), (1, 0.0))
        )
        return self._compare(name, sampled, greedy, at)

    def _compare(
        self,
        name: str,
        sampled: "tuple[Sampled, Sampled]",
        greedy: "tuple[Sampled, Sampled]",
        temperature: float,
    ) -> PreferenceSummary:
        """(model, SFT), as they sample and greedy."""
        model, sft = sampled
        wins, greedy_wins = (
            win_rate(a.scores, b.scores, a.groups, seed=self.config.seed)
            for a, b in (sampled, greedy)
        )
        rule = f"{model.scores.shape[1]} samples a side at temperature {temperature}"
        found = PreferenceSummary(
            win_rate=wins.estimate,
            win_rate_ci=wins.ends,
            kl=self._kl(name, model.rollouts, temperature),
            gold_sft=float(sft.scores.mean()),
            gold_ppo=float(model.scores.mean()),
            n=len(model.scores),
            decoding=rule,
            greedy_win_rate=greedy_wins.estimate,
            greedy_win_rate_ci=greedy_wins.ends,
        )
        self._row(TITLES[name], wins, name, rule, found.n)
        self._row(f"{TITLES[name]}, greedy", greedy_wins, name, "greedy", found.n)
        return found

    def _features(self) -> "Features":
        """What the gold labeller sees in each SFT sample."""
        rollouts, scorer = self._sft.rollouts, self.judge.scorer
        repeated = [p for p in self.prompts for _ in range(self.config.best_of)]
        rows = zip(repeated, rollouts.texts, rollouts.finished.tolist(), strict=True)
        found = [Answer(p.constraints, text, end) for p, text, end in rows]
        shape = (*self._sft.scores.shape, len(gold.WEIGHTS))
        return Features(scorer.raw(found).reshape(shape), scorer.features(found).reshape(shape))

    def _labels(self, features: Floats) -> Floats:
        """Ranks by the simulated people, a prompt each in turn; features (P, K, F)."""
        people, seed = self.judge.annotators, derive(self.config.seed, "held-out labels")
        number = len(people.tastes)
        return np.array(
            [people.rank(f, i % number, seed, i) for i, f in enumerate(features)], dtype=np.float64
        )

    def _ceiling(self, features: Floats, order: Floats) -> float | None:
        """What the best linear scorer of the true features would reach, taught by the same labels.

        None when the labels are a user's own, whose prompts the gold labeller does not know.
        """
        known = {p.id: p for p in self.judge.prompts(False, "train")}
        rankings = records.read(Path(self.config.reward) / "rankings.jsonl", records.Ranking)
        most = self.config.samples
        usable = [r for r in rankings if r.prompt_id in known and len(r.ranks) == most]
        usable = [r for group in by_answers(usable)[:CEILING_PROMPTS] for r in group]
        if not usable:
            return None
        taught = [
            self.judge.scorer.features(
                Answer(known[r.prompt_id].constraints, a.text, a.finish == "stop")
                for a in r.responses
            )
            for r in usable
        ]
        truth = [gold.ranks(row) for row in order]
        return linear_ceiling(np.stack(taught), [r.ranks for r in usable], features, truth)

    def _row(self, title: str, wins: Interval, name: str, rule: str, number: int) -> None:
        colour = "other" if name == "ppo_chain" else name.replace("_", "-")
        row = {"name": title, **wins.to_dict(), "colour": colour, "decoding": rule, "n": number}
        self.files["win_rates"].append(row)

    def _generate(
        self, name: str, prompts: list[Prompt], number: int, temperature: float
    ) -> Rollouts:
        assistant = self.models[name]
        sampling = Sampling(
            temperature=temperature,
            max_tokens=self.config.max_tokens,
            seed=derive(self.config.seed, "evaluate", name),
        )
        ids = [
            render(assistant.tokenizer, prompt.messages, generation_prompt=True).ids
            for prompt in prompts
            for _ in range(number)
        ]
        completions = generate(assistant, ids, sampling)
        answers = [c.ids for c in completions]
        texts = [c.text for c in completions]
        return lay_out(ids, answers, texts, special=assistant.tokenizer.special)

    def _sample(
        self,
        name: str,
        prompts: list[Prompt],
        number: int,
        temperature: float,
    ) -> Sampled:
        """Answers and what they are worth: by their checker, or by the gold labeller."""
        rollouts = self._generate(name, prompts, number, temperature)
        repeated = [prompt for prompt in prompts for _ in range(number)]
        done = rollouts.finished.tolist()
        if prompts[0].item:
            answers = Answers(rollouts.ids, rollouts.lengths, rollouts.texts, done, repeated)
            scores = self.judge.chain_reward()(answers).numpy().astype(np.float64)
        else:
            scores = self.judge.gold(repeated, rollouts.texts, done)
        lengths = np.array([len(units(text)) for text in rollouts.texts], dtype=np.float64)
        return Sampled(
            rollouts,
            scores.reshape(-1, number),
            lengths.reshape(-1, number),
            number_groups([prompt.group for prompt in prompts]),
        )

    def _kl(self, name: str, rollouts: Rollouts, temperature: float) -> float:
        """KL from SFT in nats: the mean over answers of the summed log ratio."""
        first = _sequence_logp(self.models[name].model, rollouts, temperature)
        second = _sequence_logp(self.models["sft"].model, rollouts, temperature)
        return (first - second).mean().item()


@torch.no_grad()
def _sequence_logp(model: Transformer, rollouts: Rollouts, temperature: float) -> torch.Tensor:
    """log p of each answer, (B,)."""
    totals = []
    for rows in torch.arange(len(rollouts.texts)).split(128):
        part = rollouts.select(rows)
        logits = model(part.ids[:, :-1], select=part.chosen) / temperature
        totals.append(part.spread(token_logp(logits, part.targets)).sum(dim=1))
    return torch.cat(totals)
