import pytest
import torch

from jielong.core.errors import ConfigError
from jielong.feedback.rewards import apply_no_eos_rule
from jielong.generation.engine import generate
from jielong.generation.rollouts import Rollouts, check_sampling, collect, lay_out
from jielong.generation.sampling import Sampling
from jielong.tokenizer.special_tokens import SPECIAL
from tests.tiny import assistant, tokenizer

EOS, PAD = SPECIAL.eos, SPECIAL.pad
PROMPTS = [[1, 4, 9, 12, 5], [1, 4, 5], [1, 4, 60, 61, 62, 5]]


def laid(*pairs: tuple[list[int], list[int]]) -> Rollouts:
    prompts, answers = zip(*pairs, strict=True)
    return lay_out(prompts, answers, [str(i) for i in range(len(pairs))])


def test_P6_rows_by_hand() -> None:
    """<eos> is an action and counts; what stands after it never does."""
    rollouts = laid(([1, 5], [7, 8, EOS]), ([1, 6, 5], [9]))
    assert rollouts.ids.tolist() == [[1, 5, 7, 8, EOS], [1, 6, 5, 9, PAD]]
    assert rollouts.lengths.tolist() == [5, 4]
    assert rollouts.chosen.int().tolist() == [[0, 1, 1, 1], [0, 0, 1, 0]]
    assert rollouts.mask.int().tolist() == [[1, 1, 1], [1, 0, 0]]
    assert rollouts.targets.tolist() == [7, 8, EOS, 9]
    spread = rollouts.spread(torch.tensor([0.1, 0.2, 0.3, 0.4]))
    torch.testing.assert_close(spread, torch.tensor([[0.1, 0.2, 0.3], [0.4, 0, 0]]))


def test_rows_are_selected_with_everything_that_belongs_to_them() -> None:
    rollouts = laid(([1, 5], [7, EOS]), ([1, 6, 5], [9]), ([1], [8, 8]))
    picked = rollouts.select(torch.tensor([2, 0]))
    assert picked.texts == ["2", "0"]
    assert picked.targets.tolist() == [8, 8, 7, EOS]
    assert picked.finished.tolist() == [False, True]
    assert picked.lengths.tolist() == [3, 4]


@pytest.mark.parametrize(
    ("prompt", "answer", "finished"),
    [
        ([1, 5], [7, EOS, 9], False),  # <eos> in the middle does not end the row's own answer
        ([1, 5], [7, EOS], True),
        ([1, 5], [7, 8], False),
        ([1, 5], [7, SPECIAL.user], False),  # another special token is no end
        ([1, EOS, 5], [7, 8], False),  # nor is an <eos> of the prompt
    ],
)
def test_P7_an_answer_has_ended_when_its_own_last_token_says_so(
    prompt: list[int], answer: list[int], finished: bool
) -> None:
    rollouts = laid((prompt, answer))
    assert rollouts.finished.tolist() == [finished]
    assert rollouts.ids[0, : len(prompt) + len(answer)].tolist() == prompt + answer  # none added
    assert rollouts.mask.sum() == len(answer)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("none", [3.0, 3.0]), ("set", [3.0, -2.0]), ("subtract", [3.0, 1.0])],
)
def test_P7_what_a_cut_answer_is_worth(rule: str, expected: list[float]) -> None:
    scores, finished = torch.tensor([3.0, 3.0]), torch.tensor([True, False])
    assert apply_no_eos_rule(scores, finished, rule, 2.0).tolist() == expected


def test_P7_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="no_eos: 'replace': choose none, set or subtract"):
        apply_no_eos_rule(torch.zeros(1), torch.tensor([True]), "replace", 1.0)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"strategy": "greedy"}, "strategy"),
        ({"strategy": "beam"}, "strategy"),
        ({"top_p": 0.9}, "top_p"),
        ({"top_k": 50}, "top_k"),
        ({"stop": ("。",)}, "stop"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": 1e-4}, "temperature"),
    ],
)
def test_P2_what_changes_the_distribution_is_refused_by_name(settings: dict, name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name}: .*rollouts must sample"):
        collect(assistant(), PROMPTS, Sampling(**settings))
    check_sampling(Sampling(temperature=0.7))


def test_P2_first_tokens_come_as_often_as_the_policy_says() -> None:
    """Chi-square of 20,000 first tokens of one prompt."""
    sampling = Sampling(temperature=0.7, max_tokens=1, seed=11)
    rollouts = collect(assistant(std=0.05), [PROMPTS[0]] * 20_000, sampling)
    with torch.no_grad():
        scores = assistant(std=0.05).model(torch.tensor([PROMPTS[0]]))[0, -1].double()
    probabilities = (scores / 0.7).softmax(0)
    seen = torch.bincount(rollouts.targets, minlength=len(probabilities)).double()
    expected = 20_000 * probabilities
    assert expected.min() > 5  # each token in a bin of its own
    statistic = ((seen - expected).square() / expected).sum().item()
    degrees = len(expected) - 1
    assert abs(statistic - degrees) < 4 * (2 * degrees) ** 0.5  # its mean, four deviations


def test_P5_the_ids_trained_on_are_the_ids_sampled() -> None:
    """Random tokens make byte fragments that no text encodes to; they stay as they are."""
    sampling = Sampling(max_tokens=14, seed=2)
    rollouts = collect(assistant(std=0.05), PROMPTS, sampling)
    sampled = [answer.ids for answer in generate(assistant(std=0.05), PROMPTS, sampling)]
    rows = [
        rollouts.targets[sum(map(len, sampled[:i])) :][: len(ids)].tolist()
        for i, ids in enumerate(sampled)
    ]
    assert rows == sampled
    again = [tokenizer().encode(text) for text in rollouts.texts]
    assert again != sampled
    assert any("\ufffd" in text for text in rollouts.texts)
