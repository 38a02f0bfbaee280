import math

import torch

from jielong.objectives.loss import masked_mean, token_logp


def test_masked_mean_by_hand() -> None:
    values = torch.tensor([[1.0, 2.0, 100.0], [6.0, 100.0, 100.0]])
    mask = torch.tensor([[True, True, False], [True, False, False]])
    assert masked_mean(values, mask).item() == 3.0
    assert masked_mean(values, torch.zeros_like(mask)).item() == 0.0


def test_token_logp_by_hand() -> None:
    """Scores log 1, log 2, log 5: probabilities 1/8, 2/8, 5/8."""
    logits = torch.tensor([1.0, 2.0, 5.0]).log() + 40
    targets = torch.tensor([[0, 1], [2, 2]])
    logp = token_logp(logits.expand(2, 2, 3), targets)
    expected = [[math.log(1 / 8), math.log(2 / 8)], [math.log(5 / 8)] * 2]
    torch.testing.assert_close(logp, torch.tensor(expected), atol=1e-5, rtol=0)
