"""PPO and PPO-ptx: move an SFT model towards a reward without letting it run away from itself.

Policy and KL reference begin as the same SFT model; the value network begins as the reward model.
With `ptx_ratio` above zero every step adds the gradient of plain pretraining (InstructGPT's
PPO-ptx), which pays back what the reward alone would cost in language.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch.optim import Optimizer

from jielong.core.config import check_positive
from jielong.core.device import default_device
from jielong.core.errors import ConfigError, JielongError
from jielong.core.run_dir import RunDir, open_finished
from jielong.core.seeds import derive
from jielong.data.shards import Shard
from jielong.feedback.rewards import ModelReward
from jielong.generation.experience import PPOSettings
from jielong.generation.loading import Assistant, load_assistant, load_reward_model, save_model
from jielong.model.actor_critic import ActorCritic
from jielong.model.heads import ScalarModel, start_from
from jielong.model.transformer import Transformer
from jielong.stages.judging import Judge, load_judge
from jielong.stages.ppo_batches import Actors, Goal, PPOBatches, PPOState, RolloutConfig
from jielong.stages.pretrain import check_window, document_parts
from jielong.training.learner import Learner, Part
from jielong.training.loop import Plan, run_training, totals
from jielong.training.optimizers import OptimizerConfig, Schedule, make_optimizers
from jielong.training.plan import LoopConfig


@dataclass(frozen=True, kw_only=True)
class PtxConfig:
    """The pretraining mix: `batch` windows a step; `ratio` of its gradient's norm to PPO's, or a
    fixed `weight`. Both zero is plain PPO."""

    ratio: float = 0.0
    weight: float = 0.0
    batch: int = 4
    window: int = 256

    def __post_init__(self) -> None:
        """Refuse two rules at once."""
        check_positive(self, "batch", "window")
        if self.ratio and self.weight:
            raise ValueError("ratio: give ptx.ratio or ptx.weight, not both")

    @property
    def is_on(self) -> bool:
        """Whether any pretraining is mixed in."""
        return bool(self.ratio or self.weight)


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """`reward` is a trained reward model ("model"), the gold labeller itself ("gold"), or a
    checker that knows the right answers ("idiom_chain"). `value_lr` moves the value network."""

    run_dir: str
    init_from: str
    data: str
    prepared: str
    reward_run: str
    reward: Literal["model", "gold", "idiom_chain"] = "model"
    seed: int = 0
    average_decay: float = 0.9
    value_lr: float = 3e-4
    save_every: int = 48
    loop: LoopConfig = dataclasses.field(default_factory=LoopConfig)
    rollout: RolloutConfig
    settings: PPOSettings = dataclasses.field(default_factory=PPOSettings)
    ptx: PtxConfig = dataclasses.field(default_factory=PtxConfig)
    optimizer: OptimizerConfig


def run(config: PPOConfig, *, resume: bool | str = False) -> Path:
    """Train; returns the run directory, whose model is the running average of the policy."""
    parents = {
        "init_from": open_finished(config.init_from, "sft").path,
        "data": open_finished(config.data, "tokenize").path,
        "prepared": open_finished(config.prepared, "prepare").path,
        "reward_run": open_finished(config.reward_run, "reward").path,
    }
    _check_optimizer(config)
    assistant = _without_dropout(load_assistant(parents["init_from"]))
    if config.ptx.is_on:
        check_window("ptx.window", config.ptx.window, assistant.context)
    judge = load_judge(parents["prepared"], parents["reward_run"], assistant.tokenizer)
    run = RunDir.create(
        config.run_dir,
        stage="ppo",
        config=config,
        inputs=parents,
        resume=resume,
        may_change=("loop",),
    )
    torch.manual_seed(derive(config.seed, "ppo"))
    module = ActorCritic(_copy(assistant.model), _value_network(config, assistant))
    module.to(default_device()).train()
    reference = assistant.model.requires_grad_(False)
    state = PPOState(beta=config.settings.beta, ptx_weight=config.ptx.weight)
    goal = Goal(
        judge.prompts(config.reward == "idiom_chain", "train"),
        _rewards(config, judge),
        _documents(config, parents["data"]),
        config.ptx.ratio,
    )
    actors = Actors(assistant, module, reference)
    batches = PPOBatches(actors, goal, config.rollout, config.settings, state, config.seed)
    boundary = config.rollout.steps_per_iteration
    steps = config.rollout.iterations * boundary
    learner = _learner(config, module, steps)

    def follow(_learner: Learner, metrics: dict[str, float]) -> None:
        if "skipped" not in metrics:
            module.follow(config.average_decay)

    plan = Plan(
        steps=steps,
        save_every=config.save_every,
        boundary=boundary,
        state=state,
        headline="reward_mean",
        guarded=None,  # its loss may have either sign, and says little
        loop=config.loop,
    )
    run_training(run, learner, batches, plan, [follow, batches.after_step])
    ended = state.ended_at
    run.finish(
        totals(run.path)
        | save_model(run.path, module.average, assistant.tokenizer)
        | {"episodes": config.rollout.iterations * config.rollout.batch, "final": state.to_dict()}
        | ({"alarms": [f"KL passed its limit at iteration {ended}"]} if ended >= 0 else {})
    )
    return run.path


def _check_optimizer(config: PPOConfig) -> None:
    if config.optimizer.kind != "adamw":
        raise ConfigError(
            f"optimizer.kind: {config.optimizer.kind!r}: PPO's clipping assumes small steps along "
            "the gradient: use 'adamw'"
        )


def _rewards(config: PPOConfig, judge: Judge) -> dict:
    """What is maximised under "reward", and gold beside it whenever the prompts have it."""
    if config.reward == "idiom_chain":
        return {"reward": judge.chain_reward()}
    if config.reward == "gold":
        return {"reward": judge.gold_reward()}
    model, _ = load_reward_model(config.reward_run)
    return {"reward": ModelReward(model.requires_grad_(False)), "gold": judge.gold_reward()}


def _value_network(config: PPOConfig, assistant: Assistant) -> ScalarModel:
    """The reward model's copy, shift and scale included; else the policy's with a zero head."""
    if config.reward == "model":
        model, tokenizer = load_reward_model(config.reward_run)
        if tokenizer.token_bytes != assistant.tokenizer.token_bytes:
            raise JielongError(
                f"reward_run: {config.reward_run}: reads another vocabulary than init_from "
                f"{config.init_from}: train the reward model from the same tokenize run"
            )
        value = ScalarModel(dataclasses.replace(model.config, dropout=0.0))
        value.load_state_dict(model.state_dict())
        return value
    value = start_from(ScalarModel(assistant.model.config), assistant.model)
    torch.nn.init.zeros_(value.score.weight)
    return value


def _learner(config: PPOConfig, module: ActorCritic, steps: int) -> Learner:
    return Learner(
        module,
        _optimizers(config, module),
        Schedule.of(config.optimizer, steps),
        config.optimizer.clip,
        # Apart: a value network's large first errors would else shrink the policy's steps.
        {"": module.policy, "value": module.value},
    )


def _optimizers(config: PPOConfig, module: ActorCritic) -> list[Optimizer]:
    value = dataclasses.replace(config.optimizer, lr=config.value_lr)
    return [
        *make_optimizers(module.policy, config.optimizer),
        *make_optimizers(module.value, value),
    ]


def _documents(config: PPOConfig, data: Path) -> Callable[[int, float], Part] | None:
    """The pretraining part of each step, with its own cursor: the step itself."""
    if not config.ptx.is_on:
        return None
    tokens: np.ndarray = Shard.load(data / "train.npz").tokens
    # Pretraining's weight is set each step, so the part is made with weight 1 and given it there.
    part = document_parts(
        tokens, config.ptx.batch, config.ptx.window, derive(config.seed, "ptx"), name="ptx"
    )

    def documents(step: int, weight: float) -> Part:
        plain = part(step)
        return dataclasses.replace(
            plain,
            objective=lambda module, batch: plain.objective(module.policy, batch),
            weight=weight,
        )

    return documents


def _without_dropout(assistant: Assistant) -> Assistant:
    """The same model without dropout: old and new log-probabilities must be one function."""
    model = Transformer(dataclasses.replace(assistant.model.config, dropout=0.0))
    model.load_state_dict(assistant.model.state_dict())
    return dataclasses.replace(assistant, model=model.to(default_device()))


def _copy(model: Transformer) -> Transformer:
    copy = Transformer(model.config)
    copy.load_state_dict(model.state_dict())
    return copy
