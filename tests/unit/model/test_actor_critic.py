import torch

from jielong.model.actor_critic import ActorCritic
from tests.tiny import decoder, random_ids, randomise, scalar_model


def test_scores_and_values_at_the_selected_positions() -> None:
    module, ids = ActorCritic(decoder(1), scalar_model(2)), random_ids(2, 4)
    select = torch.tensor([[0, 1, 1, 0], [0, 0, 0, 1]], dtype=torch.bool)
    scores, values = module(ids, select=select)
    full, every = module.policy(ids), module.value(ids)
    torch.testing.assert_close(scores, torch.stack([full[0, 1], full[0, 2], full[1, 3]]))
    torch.testing.assert_close(values, torch.stack([every[0, 1], every[0, 2], every[1, 3]]))


def test_L6_the_average_follows_in_closed_form() -> None:
    """After n steps of decay d from weights a to weights b held still: d^n a + (1 - d^n) b."""
    module = ActorCritic(decoder(1), scalar_model(2))
    start = {name: p.clone() for name, p in module.policy.named_parameters()}
    randomise(module.policy, 3)
    for _ in range(5):
        module.follow(0.9)
    for name, mean in module.average.named_parameters():
        now = dict(module.policy.named_parameters())[name]
        expected = 0.9**5 * start[name] + (1 - 0.9**5) * now
        torch.testing.assert_close(mean, expected)


def test_policy_value_and_average_share_nothing_and_the_average_takes_no_gradient() -> None:
    module, ids = ActorCritic(decoder(1), scalar_model(2)), random_ids(1, 4)
    select = torch.ones(1, 4, dtype=torch.bool)
    scores, values = module(ids, select=select)
    assert torch.equal(module.average(ids), module.policy(ids))
    values.sum().backward()
    assert all(p.grad is None for p in module.policy.parameters())
    scores.sum().backward()
    assert all(p.grad is not None for p in module.policy.parameters())
    assert not any(p.requires_grad for p in module.average.parameters())
    pointers = [
        {p.data_ptr() for p in part.parameters()}
        for part in (module.policy, module.value, module.average)
    ]
    assert len(set.union(*pointers)) == sum(map(len, pointers))
