import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from jielong.core.errors import InvariantError
from jielong.data.shards import Shard
from jielong.feedback.rewards import FunctionReward
from jielong.generation.experience import PPOSettings
from jielong.model.actor_critic import ActorCritic
from jielong.model.transformer import Transformer
from jielong.objectives.language_model import next_token_loss
from jielong.objectives.loss import Loss
from jielong.stages.judging import Prompt
from jielong.stages.ppo_batches import Actors, Goal, PPOBatches, PPOState, RolloutConfig
from jielong.stages.pretrain import document_parts
from jielong.tokenizer.special_tokens import SPECIAL
from jielong.training.learner import Learner, Part
from jielong.training.loop import train
from jielong.training.optimizers import OptimizerConfig, Schedule, make_optimizers
from tests.tiny import TEXTS, assistant, scalar_model, tokenizer

ROLLOUT = RolloutConfig(iterations=3, batch=8, minibatch=4, inner_epochs=2, max_tokens=6)
SETTINGS = PPOSettings(beta=0.1, micro_batch=4)


def prompt(i: int) -> Prompt:
    messages = ({"role": "user", "content": f"{i} 春风"},)
    return Prompt(str(i), str(i), "zh", messages, {}, "")


class Chain:
    """A whole small PPO run: batches, learner, and what it was given."""

    def __init__(
        self,
        rollout: RolloutConfig = ROLLOUT,
        reference: Transformer | None = None,
        **changes: object,
    ) -> None:
        base = assistant(std=0.1)
        policy = copy.deepcopy(base.model)
        self.module = ActorCritic(policy, scalar_model(2, vocab_size=300)).train()
        self.reference = copy.deepcopy(base.model).requires_grad_(False)
        self.state = PPOState(beta=0.1)
        goal = {
            "prompts": [prompt(i) for i in range(5)],
            "rewards": {
                "reward": FunctionReward(lambda _prompt, text, _done: float(len(text) % 5))
            },
        }
        self.batches = PPOBatches(
            Actors(base, self.module, reference or self.reference),
            Goal(**goal | changes),
            rollout,
            SETTINGS,
            self.state,
            seed=7,
        )
        config = OptimizerConfig(lr=1e-2)
        optimizers = make_optimizers(self.module.policy, config)
        optimizers += make_optimizers(self.module.value, config)
        self.learner = Learner(self.module, optimizers, Schedule(100))
        self.metrics: list[dict[str, float]] = []

    def run(self, steps: int) -> "Chain":
        def keep(_learner: Learner, metrics: dict[str, float]) -> None:
            self.metrics.append(metrics)

        train(self.learner, self.batches, steps, [self.batches.after_step, keep])
        return self


def weights(chain: Chain) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in chain.module.parameters()])


def test_L4_every_epoch_visits_every_rollout_once_in_another_order() -> None:
    """8 rollouts, minibatches of 4, two epochs: four steps an iteration."""
    assert ROLLOUT.steps_per_iteration == 4
    chain = Chain()
    drawn = []
    for step in range(4):
        (part,) = chain.batches(step)
        (minibatch,) = part.micro_batches
        drawn.append([tuple(row) for row in minibatch.rollouts.ids.tolist()])
    epochs = [drawn[0] + drawn[1], drawn[2] + drawn[3]]
    assert sorted(epochs[0]) == sorted(epochs[1])
    assert epochs[0] != epochs[1]


def test_L4_a_remainder_is_refused() -> None:
    with pytest.raises(ValueError, match="minibatch: 3: must divide batch 8"):
        replace(ROLLOUT, minibatch=3)


def test_L4_the_ratio_is_one_before_the_first_step_of_an_iteration_and_not_after() -> None:
    chain = Chain(rollout=replace(ROLLOUT, step_kl_limit=1e9)).run(8)
    ratios = [metrics["ratio_max"] for metrics in chain.metrics]
    for first in (0, 4):
        assert ratios[first] == pytest.approx(1, abs=1e-4)
        assert min(ratios[first + 1 : first + 4]) > 1.001
    assert [m.get("iteration") for m in chain.metrics] == [0, *[None] * 3, 1, *[None] * 3]


def test_X4_a_reference_that_is_not_the_policy_is_refused_at_the_start() -> None:
    other = copy.deepcopy(assistant(std=0.1).model)
    other.embedding.weight.data[9] += 0.1
    with pytest.raises(InvariantError, match="before the first update"):
        Chain(reference=other).batches(0)


def test_L7_beyond_the_step_limit_the_rest_of_the_iteration_is_skipped() -> None:
    chain = Chain(rollout=replace(ROLLOUT, step_kl_limit=1e-9))
    chain.run(1)
    after_first = weights(chain).clone()
    states = [copy.deepcopy(optimizer.state_dict()) for optimizer in chain.learner.optimizers]
    chain.run(4)
    assert torch.equal(weights(chain), after_first)
    assert [m.get("skipped") for m in chain.metrics] == [None, 1, 1, 1]
    for before, optimizer in zip(states, chain.learner.optimizers, strict=True):
        for i, state in optimizer.state_dict()["state"].items():
            assert all(torch.equal(before["state"][i][k], v) for k, v in state.items())
    chain.run(5)  # and the next iteration learns again
    assert not torch.equal(weights(chain), after_first)


def test_L7_beyond_the_whole_limit_the_run_ends() -> None:
    chain = Chain(rollout=replace(ROLLOUT, kl_limit=1e-6, step_kl_limit=1e9)).run(12)
    moved = [m.get("skipped") is None for m in chain.metrics]
    assert moved == [True] * 4 + [False] * 8  # the second iteration sees how far the first went
    assert chain.state.ended_at == 1


def test_K3_beta_adapts_after_the_batch_by_the_sum_of_its_kl() -> None:
    rollout = replace(ROLLOUT, kl_target=2.0, kl_horizon=100)
    chain = Chain(rollout=rollout).run(9)
    told = [m for m in chain.metrics if "beta" in m]
    assert [m["beta"] for m in told[:2]] == pytest.approx([0.1, 0.1 * (1 - 0.2 * 8 / 100)])
    betas = [0.1]
    for metrics in told:
        error = min(max(metrics["kl_nats"] / 2.0 - 1, -0.2), 0.2)
        betas.append(betas[-1] * (1 + error * 8 / 100))
    assert [m["beta"] for m in told] + [chain.state.beta] == pytest.approx(betas)
    again = PPOState(beta=9.0)
    again.from_dict(chain.state.to_dict())  # and it is part of the checkpoint
    assert again == chain.state


def test_L8_reference_and_reward_are_left_as_they_were() -> None:
    chain = Chain()
    before = copy.deepcopy(chain.reference.state_dict())
    chain.run(8)
    assert all(torch.equal(before[k], t) for k, t in chain.reference.state_dict().items())
    assert all(p.grad is None for p in chain.reference.parameters())


def fixed_gradient(size: float, name: str) -> Part:
    """A part whose gradient is `size` on one number of the policy."""

    def objective(module: ActorCritic, _batch: object) -> Loss:
        return Loss(size * module.policy.embedding.weight[0, 0], torch.tensor(1.0))

    return Part([None], objective, name=name)


@pytest.mark.parametrize("target", [1.0, 0.3])
def test_X3_the_weight_reaches_the_target_on_constant_gradients(target: float) -> None:
    """norm(c g_ptx) / norm(g_ppo): with norms 2 and 50, c = target 2 / 50."""
    state = PPOState(beta=0.1)
    for _ in range(3):
        state.aim(target, {"own_gradient_norm": 2.0, "ptx_own_gradient_norm": 50.0})
    assert state.ptx_weight == pytest.approx(target * 2 / 50, rel=0.1)
    state.aim(target, {"own_gradient_norm": 2.0, "ptx_own_gradient_norm": 0.0})
    assert math.isfinite(state.ptx_weight)
    state = PPOState(beta=0.1)
    state.aim(target, {"own_gradient_norm": 1e9, "ptx_own_gradient_norm": 1e-9})
    assert state.ptx_weight == 1e3  # bounded


@pytest.mark.parametrize("target", [0.0, 0.5])
def test_X3_the_ratio_that_is_logged_is_that_of_the_two_gradients(target: float) -> None:
    state = PPOState(beta=0.1, ptx_weight=0.25)
    chain = Chain(documents=lambda _step, _weight: fixed_gradient(1.0, "ptx"), ptx_ratio=target)
    chain.batches.state = state
    ptx = replace(fixed_gradient(8.0, "ptx"), weight=0.25)
    metrics = chain.learner.update(fixed_gradient(5.0, ""), ptx)
    chain.batches.after_step(chain.learner, metrics)
    assert metrics["ptx_ratio"] == pytest.approx(0.25 * 8 / 5)
    assert metrics["ptx_weight"] == 0.25
    assert state.ptx_weight == pytest.approx(target * 5 / 8 if target else 0.25)


def shard(documents: int = 40) -> Shard:
    ids = tokenizer().encode_batch([TEXTS[i % 4] * 2 for i in range(documents)])
    return Shard.pack(ids, SPECIAL.bos, ["zh"] * documents, [1] * documents)


def test_X2_the_pretraining_mix_is_raw_packed_text() -> None:
    """No token of the chat template, none skipped; as many windows as asked for."""
    part = document_parts(shard().tokens, 3, 20, 0)(0)
    (batch,) = part.micro_batches
    assert batch.ids.shape == (3, 21)
    assert batch.counts.all()
    assert not np.isin(batch.ids.numpy(), [*SPECIAL[3:], SPECIAL.pad, SPECIAL.eos]).any()


def test_X2_the_cursor_is_the_step() -> None:
    straight, resumed = (document_parts(shard().tokens, 3, 20, 0) for _ in range(2))
    seen = [straight(step).micro_batches[0].ids for step in range(9)]
    assert torch.equal(resumed(8).micro_batches[0].ids, seen[8])
    assert not any(torch.equal(seen[8], ids) for ids in seen[:8])
    other = document_parts(shard().tokens, 3, 20, 1)
    assert not torch.equal(other(8).micro_batches[0].ids, seen[8])


@pytest.mark.parametrize(("weight", "same"), [(0.0, True), (0.1, False)])
def test_X1_without_weight_the_mix_is_plain_ppo_bit_for_bit(weight: float, same: bool) -> None:
    """Rollouts, weights, averages of the optimizers, and the random numbers that come next."""
    part = document_parts(shard().tokens, 2, 20, 0, name="ptx")

    def documents(step: int, weight: float) -> Part:
        return replace(
            part(step),
            objective=lambda module, batch: next_token_loss(module.policy, batch),
            weight=weight,
        )

    mixed, plain = Chain(documents=documents), Chain()
    mixed.state.ptx_weight = weight
    results = []
    for chain in (mixed, plain):
        torch.manual_seed(3)
        chain.run(6)
        moments = [
            torch.cat([v.flatten() for v in state.values()])
            for optimizer in chain.learner.optimizers
            for state in optimizer.state_dict()["state"].values()
        ]
        results.append(torch.cat([weights(chain), *moments, torch.rand(2)]))
    assert torch.equal(*results) == same
