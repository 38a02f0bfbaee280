import copy
import math

import pytest
import torch

from jielong.model.heads import ScalarModel, start_from
from jielong.model.visibility import look
from tests.tiny import config, decoder, random_ids, scalar_model


def test_R3_the_score_is_read_at_the_last_real_token() -> None:
    model = scalar_model()
    ids, lengths = random_ids(3, 7), torch.tensor([7, 4, 1])
    values = model(ids)
    expected = torch.stack([values[0, 6], values[1, 3], values[2, 0]])
    torch.testing.assert_close(model.rewards(ids, lengths), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("pads", [0, 5, 24])
@pytest.mark.parametrize("junk", [0, 2, 9])
def test_R3_padding_changes_no_score(pads: int, junk: int) -> None:
    """Padding of any kind, <eos> and ordinary tokens included: lengths tell where a row ends."""
    model, lengths = scalar_model(), torch.tensor([8, 5])
    ids = random_ids(2, 8)
    ids[:, 3] = 0  # and padding in the middle ends nothing
    right = torch.cat([ids, torch.full((2, pads), junk)], dim=1)
    right[1, 5:] = junk
    scores = model.rewards(right, lengths)
    alone = [model(ids[i : i + 1, :n])[0, -1] for i, n in enumerate((8, 5))]
    torch.testing.assert_close(scores, torch.stack(alone), atol=1e-5, rtol=0)


@pytest.mark.parametrize("pads", [5, 50])
def test_R3_left_padding_changes_no_score(pads: int) -> None:
    """Not even where there is more of it than the context is long: positions count tokens."""
    model, ids = scalar_model(), random_ids(2, 8)
    left = torch.cat([torch.zeros(2, pads, dtype=torch.long), ids], dim=1)
    is_token = (torch.arange(pads + 8) >= pads).expand(2, -1)
    scores = model(left, is_token=is_token)[:, -1]
    torch.testing.assert_close(scores, model(ids)[:, -1], atol=1e-5, rtol=0)


def test_R3_padding_and_the_end_of_an_answer_are_two_tokens() -> None:
    from jielong.tokenizer.special_tokens import SPECIAL

    assert SPECIAL.pad != SPECIAL.eos


@pytest.mark.parametrize("tied", [True, False])
def test_R4_the_head_starts_small_and_the_trunk_as_the_language_model(*, tied: bool) -> None:
    torch.manual_seed(0)
    shape = config(width=960, n_head=4, ffn_width=4, n_layer=1)
    model = ScalarModel(shape)
    assert math.isclose(model.score.weight.detach().std().item(), 961**-0.5, rel_tol=0.1)
    assert torch.equal(model.score.bias, torch.zeros(1))
    language_model, scorer = decoder(1, tied=tied), ScalarModel(config(tied=tied))
    head = scorer.score.weight.clone()
    start_from(scorer, language_model)
    ids = random_ids(2, 5)
    assert torch.equal(scorer.trunk.hidden(ids), language_model.hidden(ids))
    assert torch.equal(scorer.score.weight, head)
    assert scorer.trunk.head is None  # scores over the vocabulary are never read
    assert 0.3 < ScalarModel(config())(ids).std() < 3  # first scores of order one


def test_R4_the_final_norm_is_applied_once() -> None:
    """The head reads normed states: their mean square is the norm's gain squared, not one more."""
    model, ids = scalar_model(), random_ids(2, 5)
    torch.nn.init.constant_(model.trunk.norm.weight, 2.0)
    x = model.trunk.embedding(ids)
    sight = look(ids, causal=True)
    rotary = model.trunk.rotaries[0](sight.queries, 5)
    for block in model.trunk.blocks:
        x = block(x, rotary, sight)
    normed = 2 * x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    expected = normed @ model.score.weight[0] + model.score.bias
    torch.testing.assert_close(model(ids), expected)


def test_R4_training_and_evaluation_mode_score_alike() -> None:
    model, ids = scalar_model(), random_ids(2, 5)
    assert torch.equal(model.train()(ids), model.eval()(ids))


def test_R5_demonstrations_get_mean_zero_and_keep_their_order() -> None:
    model = scalar_model()
    ids, lengths = random_ids(12, 6), torch.full((12,), 6)
    raw = model.rewards(ids, lengths)
    model.calibrate(raw.mean().item())
    once = model.rewards(ids, lengths)
    assert abs(once.mean().item()) < 1e-4
    torch.testing.assert_close(once, raw - raw.mean())
    model.calibrate(once.mean().item(), once.std().item())
    twice = model.rewards(ids, lengths)
    assert abs(twice.mean().item()) < 1e-4
    assert math.isclose(twice.std().item(), 1, rel_tol=1e-5)
    model.calibrate(0.5, 2.0)  # and once more on top of a shift and a scale
    torch.testing.assert_close(model.rewards(ids, lengths), (twice - 0.5) / 2)
    assert torch.equal(twice.argsort(), raw.argsort())


def test_R5_shift_and_scale_travel_with_the_weights() -> None:
    model, ids = scalar_model(), random_ids(2, 5)
    model.calibrate(0.75, 3.0)
    other = scalar_model(seed=5)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(ids), model(ids))
    assert {"shift", "scale"} <= set(model.state_dict())
    assert {"shift", "scale"}.isdisjoint(dict(model.named_parameters()))  # never learned


def test_L5_a_value_copied_from_the_reward_model_begins_with_its_score() -> None:
    reward = scalar_model()
    reward.calibrate(0.3, 2.0)
    value = ScalarModel(reward.config)
    value.load_state_dict(copy.deepcopy(reward.state_dict()))
    ids, lengths = random_ids(3, 7), torch.tensor([7, 5, 6])
    at_end = value(ids)[torch.arange(3), lengths - 1]
    torch.testing.assert_close(reward.rewards(ids, lengths), at_end, atol=1e-6, rtol=0)
