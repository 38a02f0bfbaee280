import math

import torch

from jielong.objectives.loss import token_logp


def test_token_logp_by_hand() -> None:
    """Scores log 1, log 2, log 5: probabilities 1/8, 2/8, 5/8."""
    logits = torch.tensor([1.0, 2.0, 5.0]).log() + 40
    targets = torch.tensor([[0, 1], [2, 2]])
    logp = token_logp(logits.expand(2, 2, 3), targets)
    expected = [[math.log(1 / 8), math.log(2 / 8)], [math.log(5 / 8)] * 2]
    torch.testing.assert_close(logp, torch.tensor(expected), atol=1e-5, rtol=0)
