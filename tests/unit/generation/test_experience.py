import copy
import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from jielong.generation.experience import Experience, PPOSettings, freeze, ppo_objective
from jielong.generation.rollouts import Rollouts, collect, lay_out
from jielong.generation.sampling import Sampling
from jielong.model.actor_critic import ActorCritic
from jielong.objectives.loss import token_logp
from jielong.training.learner import Learner, Part
from jielong.training.optimizers import OptimizerConfig, Schedule, make_optimizers
from tests.tiny import assistant, config, decoder, randomise, scalar_model

EOS = 2
PROMPTS = [[1, 4, 9, 12, 5], [1, 4, 5], [1, 4, 20, 21, 22, 5], [1, 4, 17, 5]]
ANSWERS = [[7, 8, EOS], [9, 10, 11, 12, 13], [EOS], [14, 15, 16, EOS]]
SCORES = torch.tensor([1.0, -2.0, 0.5, 3.0])
SETTINGS = PPOSettings(beta=0.1, temperature=0.7, micro_batch=4)


def policy_and_value(seed: int = 1) -> ActorCritic:
    return ActorCritic(decoder(seed), scalar_model(seed + 1)).train()


def rollouts() -> Rollouts:
    return lay_out(PROMPTS, ANSWERS, ["text"] * 4)


def moved(module: ActorCritic, seed: int = 9) -> ActorCritic:
    """The same networks a little further on."""
    other = copy.deepcopy(module)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=random)
    return other


def log_ratio(module: ActorCritic, frozen: Experience, settings: PPOSettings) -> Tensor:
    """As the objective sees it: from a forward pass that a gradient could flow through."""
    logits, _ = module(frozen.rollouts.ids[:, :-1], select=frozen.rollouts.chosen)
    logp = token_logp(logits / settings.temperature, frozen.rollouts.targets)
    return logp - frozen.batch.logp_old[frozen.batch.mask]


@torch.no_grad()
def by_hand(model: torch.nn.Module, row: int, temperature: float) -> list[float]:
    """log pi of each answer token, each from its own unpadded prefix."""
    return [
        (model(torch.tensor([PROMPTS[row] + ANSWERS[row][:i]]))[0, -1] / temperature)
        .log_softmax(-1)[token]
        .item()
        for i, token in enumerate(ANSWERS[row])
    ]


def test_P9_each_token_pairs_with_the_state_it_was_chosen_in() -> None:
    """Log-probability and value at p - 1 for the token at p, row by row without padding."""
    module, reference = policy_and_value(), decoder(5)
    frozen = freeze(module, reference, rollouts(), SCORES, SETTINGS)
    for row, answer in enumerate(ANSWERS):
        n, start = len(answer), len(PROMPTS[row])
        old = by_hand(module.policy, row, 0.7)
        assert frozen.batch.logp_old[row, :n].tolist() == pytest.approx(old, abs=1e-5)
        values = module.value(torch.tensor([PROMPTS[row] + answer]))[0, start - 1 : start + n - 1]
        torch.testing.assert_close(
            frozen.batch.values_old[row, :n], values.detach(), atol=1e-5, rtol=0
        )
        kl = sum(old) - sum(by_hand(reference, row, 0.7))
        assert frozen.kl[row].item() == pytest.approx(kl, abs=1e-4)


def test_P9_a_model_of_three_tokens_by_hand() -> None:
    """Zero trunk: scores are the embedding times the norm's gain, nothing else."""
    shape = config(vocab_size=6, width=8, n_head=2, n_kv_head=2, n_layer=1, context=8, tied=False)
    model = type(decoder())(shape)  # as it starts, every block is the identity
    with torch.no_grad():
        model.embedding.weight.copy_(torch.eye(6, 8))
        model.head.weight.zero_()
        model.head.weight[3:, 3:6] = torch.tensor([[0.0, 2, 0], [1, 0, 3], [0, 1, 0]])
    value = scalar_model(1, vocab_size=6, width=8, n_head=2, n_kv_head=2, n_layer=1, context=8)
    module = ActorCritic(model, value)
    # Tokens 3, 4, 5. The state of token k is e_k sqrt(8), so the scores after k are head[:, k].
    taken = lay_out([[3]], [[4, 5]], ["x"])
    frozen = freeze(module, model, taken, torch.tensor([0.0]), replace(SETTINGS, temperature=1.0))
    after_3 = [0.0, 0, 0, 0.0, 1 * 8**0.5, 0.0]
    after_4 = [0.0, 0, 0, 2 * 8**0.5, 0.0, 1 * 8**0.5]
    expected = [
        after_3[4] - math.log(sum(map(math.exp, after_3))),
        after_4[5] - math.log(sum(map(math.exp, after_4))),
    ]
    assert frozen.batch.logp_old[0].tolist() == pytest.approx(expected, abs=1e-4)


def test_P3_first_ratio_is_one() -> None:
    """Bit for bit in the same shape; to 1e-5 in another. Then approx_kl and clip share are 0."""
    module = policy_and_value()
    frozen = freeze(module, decoder(5), rollouts(), SCORES, SETTINGS)
    assert torch.equal(
        log_ratio(module, frozen, SETTINGS), torch.zeros(int(frozen.batch.mask.sum()))
    )
    loss = ppo_objective(SETTINGS)(module, frozen)
    assert loss.metrics["approx_kl_nats"].item() == 0
    assert loss.metrics["clip_share"].item() == 0
    assert loss.metrics["ratio_max"].item() == 1
    for rows in ([2], [1, 3], [3, 0, 2]):
        part = frozen.select(torch.tensor(rows))
        assert log_ratio(module, part, SETTINGS).abs().max() < 1e-5


def test_P3_the_samplers_log_probabilities_agree_but_are_not_used() -> None:
    sampling = Sampling(temperature=0.7, max_tokens=8, seed=4)
    babbler = assistant()
    taken = collect(babbler, PROMPTS, sampling)
    value = scalar_model(2, vocab_size=babbler.tokenizer.vocab_size)
    module = ActorCritic(copy.deepcopy(babbler.model), value)
    frozen = freeze(module, babbler.model, taken, SCORES, SETTINGS)
    from jielong.generation.engine import generate

    sampled = list(
        itertools.chain.from_iterable(c.logps for c in generate(babbler, PROMPTS, sampling))
    )
    gap = frozen.batch.logp_old[frozen.batch.mask] - torch.tensor(sampled)
    assert gap.abs().max() < 1e-4


def test_P4_policy_and_reference_are_one_at_the_start() -> None:
    module = policy_and_value()
    reference = copy.deepcopy(module.policy).requires_grad_(False)
    frozen = freeze(module, reference, rollouts(), SCORES, SETTINGS)
    assert torch.equal(frozen.kl, torch.zeros(4))
    assert torch.equal(frozen.rewards.sum(dim=1), SCORES)


@pytest.mark.parametrize("micro_batch", [1, 3, 4])
def test_the_size_of_micro_batches_changes_nothing(micro_batch: int) -> None:
    module, reference = policy_and_value(), decoder(5)
    one, other = (
        freeze(module, reference, rollouts(), SCORES, replace(SETTINGS, micro_batch=size))
        for size in (4, micro_batch)
    )
    for a, b in zip(one.batch, other.batch, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_P1_two_passes_in_training_mode_are_one_function() -> None:
    module = policy_and_value()
    taken = rollouts()
    one, two = (module(taken.ids[:, :-1], select=taken.chosen) for _ in range(2))
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])


def test_K1_rewards_carry_beta_and_the_score() -> None:
    module, reference = policy_and_value(), decoder(5)
    frozen = freeze(module, reference, rollouts(), SCORES, SETTINGS)
    torch.testing.assert_close(
        frozen.rewards.sum(dim=1), SCORES - 0.1 * frozen.kl, atol=1e-5, rtol=0
    )
    for row, answer in enumerate(ANSWERS):
        last = len(answer) - 1
        kl = by_hand(module.policy, row, 0.7)[last] - by_hand(reference, row, 0.7)[last]
        assert frozen.rewards[row, last].item() == pytest.approx(
            SCORES[row].item() - 0.1 * kl, abs=1e-5
        )


def test_G1_advantages_are_those_of_the_frozen_rewards_and_values() -> None:
    """Worked backwards by hand, answer by answer, with a discount."""
    settings = replace(SETTINGS, gamma=0.9, lam=0.8, whiten_advantages=False)
    frozen = freeze(policy_and_value(), decoder(5), rollouts(), SCORES, settings)
    for row, answer in enumerate(ANSWERS):
        later, value_after = 0.0, 0.0
        for i in range(len(answer) - 1, -1, -1):
            value = frozen.batch.values_old[row, i].item()
            later = frozen.rewards[row, i].item() + 0.9 * value_after - value + 0.72 * later
            value_after = value
            assert frozen.batch.advantages[row, i].item() == pytest.approx(later, abs=1e-5)


def test_G2_whitening_leaves_returns_alone() -> None:
    module, reference = policy_and_value(), decoder(5)
    white, plain = (
        freeze(
            module, reference, rollouts(), SCORES, replace(SETTINGS, whiten_advantages=whiten)
        ).batch
        for whiten in (True, False)
    )
    assert torch.equal(white.returns, plain.returns)
    torch.testing.assert_close(plain.returns, (plain.advantages + plain.values_old) * plain.mask)
    advantages = white.advantages[white.mask]
    assert abs(advantages.mean().item()) < 1e-6
    assert advantages.var(correction=0).item() == pytest.approx(1, rel=1e-5)


def test_K4_entropy_and_kl_are_those_of_the_answers_own_tokens() -> None:
    module = policy_and_value()
    frozen = freeze(module, decoder(5), rollouts(), SCORES, SETTINGS)
    for row, answer in enumerate(ANSWERS):
        ids = torch.tensor([PROMPTS[row] + answer])
        logp = (module.policy(ids)[0] / 0.7).log_softmax(-1)
        own = logp[len(PROMPTS[row]) - 1 : -1]
        expected = -(own.exp() * own).sum(-1).mean().item()
        assert frozen.entropy[row].item() == pytest.approx(expected, abs=1e-5)


def padded(taken: Rollouts, columns: int, junk: int) -> Rollouts:
    """The same answers in wider rows, with anything at all where nothing stands."""
    extra = torch.full((4, columns), junk)
    nothing = torch.zeros(4, columns, dtype=torch.bool)
    ids = torch.cat([taken.ids, extra], dim=1)
    outside = torch.arange(ids.shape[1]) >= taken.lengths[:, None]
    return replace(
        taken,
        ids=ids.masked_fill(outside, junk),
        chosen=torch.cat([taken.chosen, nothing], dim=1),
        mask=torch.cat([taken.mask, nothing], dim=1),
    )


@pytest.mark.parametrize(("columns", "junk"), [(0, EOS), (0, 9), (11, 0), (11, 21)])
def test_P6_what_stands_after_an_answer_changes_nothing(columns: int, junk: int) -> None:
    """Frozen numbers, loss, metrics and gradients."""
    module, reference = policy_and_value(), decoder(5)
    later = moved(module)

    def figures(taken: Rollouts) -> tuple[list[float], list[Tensor]]:
        frozen = freeze(module, reference, taken, SCORES, SETTINGS)
        later.zero_grad()
        loss = ppo_objective(SETTINGS)(later, frozen)
        loss.total.backward()
        numbers = [loss.total, loss.items, *loss.metrics.values(), frozen.kl.sum()]
        numbers += [frozen.entropy.sum(), frozen.rewards.sum(), frozen.batch.returns.sum()]
        grads = [p.grad for p in later.parameters() if p.grad is not None]
        return [number.item() for number in numbers], grads

    (plain, plain_grads), (other, other_grads) = (
        figures(rollouts()),
        figures(padded(rollouts(), columns, junk)),
    )
    assert plain == pytest.approx(other, rel=1e-4, abs=1e-4)
    for one, two in zip(plain_grads, other_grads, strict=True):
        torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)


def test_L3_minibatches_in_one_step_are_one_batch() -> None:
    """Uneven answers, in one piece or row by row: the same weights after the step."""
    module, reference = policy_and_value(), decoder(5)
    frozen = freeze(module, reference, rollouts(), SCORES, SETTINGS)
    results = []
    for rows in ([[0, 1, 2, 3]], [[0], [1], [2], [3]], [[3, 1], [0, 2]]):
        later = moved(module)
        optimizers = [torch.optim.SGD(later.parameters(), lr=0.1)]
        learner = Learner(later, optimizers, Schedule(1), clip=0.0)
        pieces = [frozen.select(torch.tensor(row)) for row in rows]
        metrics = learner.update(Part(pieces, ppo_objective(SETTINGS)))
        results.append((metrics["loss"], [p.detach() for p in later.parameters()]))
    for loss, weights in results[1:]:
        assert loss == pytest.approx(results[0][0], abs=1e-6)
        for one, other in zip(results[0][1], weights, strict=True):
            torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_L8_the_reference_stands_still() -> None:
    module, reference = policy_and_value(), decoder(5).requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in reference.state_dict().items()}
    start = copy.deepcopy(module.state_dict())
    optimizers = make_optimizers(module.policy, OptimizerConfig(lr=1e-2))
    optimizers += make_optimizers(module.value, OptimizerConfig(lr=1e-2))
    learner = Learner(module, optimizers, Schedule(3))
    for _ in range(3):
        frozen = freeze(module, reference, rollouts(), SCORES, SETTINGS)
        learner.update(Part([frozen], ppo_objective(SETTINGS)))
    assert all(torch.equal(before[k], t) for k, t in reference.state_dict().items())
    assert all(p.grad is None for p in reference.parameters())
    after = module.state_dict()
    for name in start:
        still = name.startswith("average.") or name in {"value.shift", "value.scale"}
        assert torch.equal(start[name], after[name]) == still, name


def test_L5_policy_and_value_learn_from_their_own_losses() -> None:
    """Without advantages the policy gets no gradient, whatever the value network has to learn."""
    module = policy_and_value()
    frozen = freeze(module, decoder(5), rollouts(), SCORES, SETTINGS)
    flat = frozen.batch._replace(advantages=torch.zeros_like(frozen.batch.advantages))
    loss = ppo_objective(SETTINGS)(module, replace(frozen, batch=flat))
    loss.total.backward()
    assert not any(p.grad.any() for p in module.policy.parameters())
    assert any(p.grad.any() for p in module.value.parameters() if p.grad is not None)


def test_a_step_makes_good_tokens_likelier_and_bad_ones_rarer() -> None:
    """The direction of everything together: two answers to one prompt, +1 and -1."""
    model = decoder(1)
    module = ActorCritic(model, scalar_model(2))
    randomise(module.value, 2, std=0.01)
    taken = lay_out([[1, 5], [1, 5]], [[7, 8, EOS], [9, 10, EOS]], ["a", "b"])
    scores = torch.tensor([1.0, -1.0])
    settings = replace(SETTINGS, beta=0.0)
    frozen = freeze(module, copy.deepcopy(model), taken, scores, settings)
    before = frozen.batch.logp_old.sum(dim=1)
    optimizers = [torch.optim.SGD(module.policy.parameters(), lr=1e-2)]
    Learner(module, optimizers, Schedule(1)).update(Part([frozen], ppo_objective(settings)))
    after = freeze(module, model, taken, scores, settings).batch.logp_old.sum(dim=1)
    assert after[0] > before[0]
    assert after[1] < before[1]
