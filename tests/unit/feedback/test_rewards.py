import math

import pytest
import torch

from jielong.core.errors import DataError
from jielong.feedback.rewards import Answers, FunctionReward, ModelReward
from tests.tiny import random_ids, scalar_model


def answers(rows: int = 5) -> Answers:
    lengths = torch.tensor([8, 3, 5, 1, 7])[:rows]
    texts = ["a", "bb", "", "dddd", "e"][:rows]
    finished = [True, False, True, True, False][:rows]
    return Answers(random_ids(rows, 8), lengths, texts, finished, list(range(rows)))


@pytest.mark.parametrize("micro_batch", [1, 2, 128])
def test_a_model_scores_each_row_at_its_own_end(micro_batch: int) -> None:
    model, given = scalar_model(), answers()
    scores = ModelReward(model, micro_batch)(given)
    expected = torch.stack(
        [model(given.ids[i : i + 1, :n])[0, -1] for i, n in enumerate(given.lengths)]
    )
    torch.testing.assert_close(scores, expected.detach(), atol=1e-5, rtol=0)
    assert not scores.requires_grad


def test_a_function_sees_prompt_text_and_end() -> None:
    reward = FunctionReward(lambda prompt, text, finished: prompt + 10 * len(text) + 100 * finished)
    scores = reward(answers())
    assert scores.tolist() == [110, 21, 102, 143, 14]
    assert scores.dtype == torch.float32


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_score_that_is_no_number_is_refused(bad: float) -> None:
    reward = FunctionReward(lambda _prompt, text, _finished: bad if text == "dddd" else 0.0)
    with pytest.raises(DataError, match=r"reward: (nan|inf) for the answer 'dddd'"):
        reward(answers())
