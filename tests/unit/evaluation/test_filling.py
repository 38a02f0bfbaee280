import pytest
import torch

from jielong.core.errors import ContextLengthError, DataError
from jielong.evaluation.filling import fill
from jielong.generation.loading import Trained
from tests.tiny import decoder, tokenizer


def masked() -> Trained:
    settings = {"vocab_size": tokenizer().vocab_size, "objective": "masked", "bidirectional": True}
    return Trained("masked", decoder(std=0.5, **settings), tokenizer())


def test_fillings_are_the_models_own_probabilities() -> None:
    """The gap stands after <bos> 春风; its token is that of <pad>."""
    trained = masked()
    left, right = tokenizer().encode("春风"), tokenizer().encode("过天晴")
    ids = torch.tensor([[1, *left, 0, *right]])
    probabilities = trained.model(ids)[0, 1 + len(left)].softmax(-1)
    probabilities[:6] = 0
    best = probabilities.topk(7)
    found = fill(trained, "春风[MASK]过天晴", 7)
    assert [f.gap for f in found] == [1] * 7
    assert [f.probability for f in found] == pytest.approx(best.values.tolist())
    texts = [tokenizer().token_bytes[i] for i in best.indices.tolist()]
    for filling, piece in zip(found, texts, strict=True):
        plain = filling.text.strip("'")
        assert plain.encode() == piece or filling.text.startswith(("<", "'\\"))


def test_every_gap_is_filled_with_the_others_open() -> None:
    found = fill(masked(), "[MASK]天[MASK]", 3)
    assert [f.gap for f in found] == [1, 1, 1, 2, 2, 2]
    ids = torch.tensor([[1, 0, *tokenizer().encode("天"), 0]])
    scores = masked().model(ids)[0].softmax(-1)[:, 6:]
    assert found[0].probability == pytest.approx(scores[1].max().item())
    assert found[3].probability == pytest.approx(scores[-1].max().item())


def test_a_space_before_a_gap_is_part_of_what_is_missing() -> None:
    assert fill(masked(), "the [MASK] fox") == fill(masked(), "the[MASK] fox")


def test_every_token_can_be_shown_on_a_line() -> None:
    found = fill(masked(), "天[MASK]", 1000)
    assert len(found) == tokenizer().vocab_size - 6
    assert sum(f.probability for f in found) < 1
    assert all(f.text.strip() and f.text.isprintable() for f in found)
    assert {"<E6>", "<FF>", "'\\n'", "' '", "a"} <= {f.text for f in found}


def test_a_text_without_a_gap_or_too_long_is_refused() -> None:
    with pytest.raises(DataError, match=r"'天晴': has no gap: write \[MASK\]"):
        fill(masked(), "天晴")
    with pytest.raises(ContextLengthError, match="the model's context is 32: shorten it"):
        fill(masked(), "春风[MASK]" * 20)
