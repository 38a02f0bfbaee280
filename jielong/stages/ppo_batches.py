"""PPO as a stream of batches that looks at the policy: collect, freeze, then minibatches of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from jielong.core.config import check_positive
from jielong.core.errors import InvariantError
from jielong.core.progress import say
from jielong.core.seeds import derive, generator
from jielong.feedback.rewards import Answers, Reward, apply_no_eos_rule
from jielong.generation.experience import Experience, PPOSettings, freeze, ppo_objective
from jielong.generation.loading import Assistant
from jielong.generation.rollouts import Rollouts, collect
from jielong.generation.sampling import Sampling
from jielong.model.actor_critic import ActorCritic
from jielong.model.transformer import Transformer
from jielong.objectives.ppo import adapt_beta
from jielong.stages.judging import Prompt
from jielong.tokenizer.chat_template import render
from jielong.training.learner import Learner, Part

Documents = Callable[[int, float], Part]


@dataclass(frozen=True, kw_only=True)
class RolloutConfig:
    """What is sampled in one iteration, and how it is learned from.

    `no_eos` says what a cut answer is worth: its score ("none"), a fixed -no_eos_amount ("set"), or
    its score less that amount ("subtract"). When an iteration's KL passes `kl_limit` nats the run
    ends there; when one step's own passes `step_kl_limit` the rest of its iteration is skipped.
    With `kl_target` beta adapts towards it.
    """

    iterations: int
    batch: int = 96
    minibatch: int = 32
    inner_epochs: int = 2
    max_tokens: int = 32
    no_eos: Literal["none", "set", "subtract"] = "subtract"
    no_eos_amount: float = 1.0
    kl_limit: float = 5.0
    step_kl_limit: float = 0.1
    kl_target: float | None = None
    kl_horizon: int = 5000

    def __post_init__(self) -> None:
        """Refuse a batch that does not divide, and unknown rules."""
        check_positive(self, "iterations", "batch", "minibatch", "inner_epochs", "max_tokens")
        if self.batch % self.minibatch:
            raise ValueError(f"minibatch: {self.minibatch}: must divide batch {self.batch}")

    @property
    def steps_per_iteration(self) -> int:
        """Optimizer steps between two collections."""
        return self.inner_epochs * (self.batch // self.minibatch)


@dataclass
class PPOState:
    """What PPO adapts as it goes; part of every checkpoint."""

    beta: float
    ptx_weight: float = 0.0
    ppo_norm: float = 0.0
    ptx_norm: float = 0.0
    ended_at: int = -1

    def aim(self, ratio: float, metrics: Mapping[str, float]) -> None:
        """Choose the ptx weight whose share of the gradient is `ratio` times PPO's.

        The coefficient means nothing without the reduction it multiplies (a published 27.8 on
        token means swamps PPO), so what is held constant is the ratio of the two norms, each
        averaged over about ten steps.
        """
        self.ppo_norm = _average(self.ppo_norm, metrics["own_gradient_norm"])
        self.ptx_norm = _average(self.ptx_norm, metrics["ptx_own_gradient_norm"])
        weight = ratio * self.ppo_norm / max(self.ptx_norm, 1e-12)
        self.ptx_weight = min(max(weight, 1e-3), 1e3)

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def from_dict(self, values: Mapping[str, Any]) -> None:
        """Back from plain values."""
        self.__dict__.update(values)


@dataclass(frozen=True)
class Actors:
    """Who takes part: the assistant that samples by the policy, what is trained, what stays."""

    assistant: Assistant
    module: ActorCritic
    reference: Transformer


@dataclass(frozen=True)
class Goal:
    """What is asked and what is rewarded ("reward" is maximised, others are only logged).

    `documents(step, weight)` is the pretraining part of a step, if any; `ptx_ratio` holds its
    gradient's norm at that multiple of PPO's, else its weight stays as it is.
    """

    prompts: Sequence[Prompt]
    rewards: Mapping[str, Reward]
    documents: Documents | None = None
    ptx_ratio: float = 0.0


class PPOBatches:
    """`batches(step)`: collects at an iteration's first step, then serves its minibatches."""

    def __init__(
        self,
        actors: Actors,
        goal: Goal,
        rollout: RolloutConfig,
        settings: PPOSettings,
        state: PPOState,
        seed: int,
    ) -> None:
        self.module, self.reference = actors.module, actors.reference
        self.assistant = replace(actors.assistant, model=actors.module.policy)
        self.goal, self.rollout, self.settings = goal, rollout, settings
        self.state, self.seed = state, seed
        self.metrics: dict[str, float] = {}
        self._experience: Experience | None = None
        self._stopped = False

    def __call__(self, step: int) -> list[Part]:
        """The parts of one optimizer step; none when the iteration, or the run, was stopped."""
        if self.state.ended_at >= 0:
            return []
        iteration, place = divmod(step, self.rollout.steps_per_iteration)
        if place == 0:
            self._stopped = False
            self._collect(iteration)
        if self._stopped or self.state.ended_at >= 0:
            return []
        assert self._experience is not None, "a run resumes at the first step of an iteration"
        minibatch = self._experience.select(self._rows(iteration, place))
        parts = [Part([minibatch], ppo_objective(self.settings), veto=self._veto)]
        if self.goal.documents is not None:
            parts.append(self.goal.documents(step, self.state.ptx_weight))
        return parts

    def after_step(self, _learner: Learner, metrics: dict[str, float]) -> None:
        """A hook: add the iteration's figures to its first step's line."""
        metrics |= self.metrics
        self.metrics = {}
        if "ptx_own_gradient_norm" in metrics:
            ptx_norm = self.state.ptx_weight * metrics["ptx_own_gradient_norm"]
            metrics["ptx_ratio"] = ptx_norm / max(metrics["own_gradient_norm"], 1e-12)
            metrics["ptx_weight"] = self.state.ptx_weight
            if self.goal.ptx_ratio:
                self.state.aim(self.goal.ptx_ratio, metrics)

    def _rows(self, iteration: int, place: int) -> Tensor:
        epoch, number = divmod(place, self.rollout.batch // self.rollout.minibatch)
        order = generator(self.seed, "minibatches", iteration, epoch).permutation(
            self.rollout.batch
        )
        size = self.rollout.minibatch
        return torch.from_numpy(order[number * size : (number + 1) * size])

    def _veto(self, metrics: dict[str, float]) -> bool:
        self._stopped = metrics["approx_kl_nats"] > self.rollout.step_kl_limit
        return self._stopped

    def _collect(self, iteration: int) -> None:
        config = self.rollout
        random = generator(self.seed, "prompts", iteration)
        chosen = [
            self.goal.prompts[i] for i in random.integers(len(self.goal.prompts), size=config.batch)
        ]
        sampling = Sampling(
            temperature=self.settings.temperature,
            max_tokens=config.max_tokens,
            seed=derive(self.seed, "rollouts", iteration),
        )
        tokenizer = self.assistant.tokenizer
        ids = [render(tokenizer, p.messages, generation_prompt=True).ids for p in chosen]
        rollouts = collect(self.assistant, ids, sampling)
        scores = {
            name: reward(answers(rollouts, chosen)) for name, reward in self.goal.rewards.items()
        }
        total = apply_no_eos_rule(
            scores["reward"], rollouts.finished, config.no_eos, config.no_eos_amount
        )
        settings = replace(self.settings, beta=self.state.beta)
        experience = freeze(self.module, self.reference, rollouts, total, settings)
        if iteration == 0:
            check_start(experience)
        self._experience = experience
        self.metrics = describe(experience, scores) | {
            "iteration": iteration,
            "beta": self.state.beta,
        }
        self._adapt(experience.kl.mean().item(), iteration)

    def _adapt(self, kl: float, iteration: int) -> None:
        config = self.rollout
        if kl > config.kl_limit:
            say(f"KL {kl:.2f} nats has passed the limit of {config.kl_limit}: training ends here")
            self.state.ended_at = iteration
        if config.kl_target is not None:
            self.state.beta = adapt_beta(
                self.state.beta, kl, config.kl_target, config.batch, config.kl_horizon
            )


def answers(rollouts: Rollouts, prompts: Sequence[Prompt]) -> Answers:
    """Rollouts as what a reward judges."""
    return Answers(
        rollouts.ids, rollouts.lengths, rollouts.texts, rollouts.finished.tolist(), prompts
    )


def check_start(experience: Experience) -> None:
    """Before the first update policy and reference are one: every KL is exactly zero."""
    largest = experience.kl.abs().max().item()
    if largest != 0.0:
        raise InvariantError(
            f"KL {largest} nats between policy and reference before the first update: they must be "
            "the same weights: run again, and report this if it stays"
        )


def describe(experience: Experience, scores: Mapping[str, Tensor]) -> dict[str, float]:
    """One iteration in numbers: rewards apart and together, KL as a sum per sequence in nats."""
    batch, rollouts = experience.batch, experience.rollouts
    returns, values = batch.returns[batch.mask], batch.values_old[batch.mask]
    unexplained = (returns - values).var(correction=0) / returns.var(correction=0).clamp(min=1e-8)
    return {
        "reward_mean": scores["reward"].mean().item(),
        "reward_std": scores["reward"].std(correction=0).item(),
        **{f"{n}_mean": s.mean().item() for n, s in scores.items() if n != "reward"},
        "return_mean": experience.rewards.sum(dim=1).mean().item(),
        "kl_nats": experience.kl.mean().item(),
        "kl_exact_nats": experience.exact_kl.mean().item(),
        "kl_standard_error": experience.kl.std().item() / len(rollouts.texts) ** 0.5,
        "entropy_nats": experience.entropy.mean().item(),
        "response_tokens_mean": batch.mask.sum(dim=1).float().mean().item(),
        "finished_share": rollouts.finished.float().mean().item(),
        "duplicate_share": 1 - len(set(rollouts.texts)) / len(rollouts.texts),
        "explained_variance": 1 - unexplained.item(),
    }


def _average(mean: float, now: float) -> float:
    return 0.9 * mean + 0.1 * now if mean else now
