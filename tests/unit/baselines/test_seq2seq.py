"""The translator: what it may see, attention by its equations, and the loss that trains it."""

import pytest
import torch

from jielong.baselines.seq2seq import Seq2Seq, Seq2SeqConfig
from jielong.objectives.sequence_to_sequence import Marks, lay_out, target_loss
from jielong.training.learner import Learner, Part
from jielong.training.optimizers import OptimizerConfig, Schedule, make_optimizers
from tests.tiny import random_ids, randomise

ATTENTION = pytest.mark.parametrize("attention", [True, False])


def seq2seq(attention: bool, **changes: object) -> Seq2Seq:
    settings: dict = {"vocab_size": 23, "context": 16, "width": 12, "attention": attention}
    model = Seq2Seq(Seq2SeqConfig(**settings | changes))
    randomise(model, seed=2)
    return model.eval()


@ATTENTION
def test_padding_of_the_source_changes_nothing(attention: bool) -> None:
    model, target = seq2seq(attention), random_ids(3, 4)
    rows = [random_ids(1, length, seed=length) for length in (2, 5, 3)]
    for side in ("left", "right"):
        source, is_source = torch.zeros(3, 5, dtype=torch.long), torch.zeros(3, 5, dtype=torch.bool)
        for i, row in enumerate(rows):
            place = slice(5 - row.shape[1], 5) if side == "left" else slice(0, row.shape[1])
            source[i, place], is_source[i, place] = row[0], True
        scores = model(source, target, source_is_token=is_source)
        for i, row in enumerate(rows):
            whole = torch.ones_like(row, dtype=torch.bool)
            alone = model(row, target[i : i + 1], source_is_token=whole)[0]
            torch.testing.assert_close(scores[i], alone)


@ATTENTION
def test_every_source_token_and_no_later_target_is_seen(attention: bool) -> None:
    model, source, target = seq2seq(attention), random_ids(1, 5), random_ids(1, 6, seed=3)
    is_source = torch.ones_like(source, dtype=torch.bool)
    scores = model(source, target, source_is_token=is_source)
    later = target.clone()
    later[:, 4:] = random_ids(1, 2, seed=8)
    found = model(source, later, source_is_token=is_source)
    torch.testing.assert_close(found[:, :4], scores[:, :4])
    for place in range(5):
        other = source.clone()
        other[0, place] = 6 if other[0, place] != 6 else 7
        assert not torch.allclose(
            model(other, target, source_is_token=is_source)[:, 0], scores[:, 0]
        )


@ATTENTION
def test_written_token_by_token_is_the_same(attention: bool) -> None:
    model, source, target = seq2seq(attention), random_ids(2, 5), random_ids(2, 6, seed=3)
    is_source = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    whole = model.write(target, model.read(source, is_source))
    read = model.read(source, is_source)
    for place in range(6):
        piece = model.write(target[:, place : place + 1], read)
        torch.testing.assert_close(piece[:, 0], whole[:, place])


@torch.no_grad()
def test_attention_by_its_equations() -> None:
    """Position by position: a(s) ~ exp(h W s), c = sum a(s) s, h~ = tanh(W_c [c; h])."""
    model, source, target = seq2seq(True), random_ids(1, 4), random_ids(1, 3, seed=3)
    read = model.read(source, torch.ones_like(source, dtype=torch.bool))
    states, memory = read.states[0], read.memory
    found = model.write(target, read)[0]
    for t, token in enumerate(target[0]):
        h, memory = model.writer(model.embedding(token)[None, None], memory)
        h = h[0, 0]
        scores = [float(h @ model.attend.weight.T @ s) for s in states]
        weights = torch.tensor(scores).exp()
        weights = weights / weights.sum()
        c = sum(a * s for a, s in zip(weights, states, strict=True))
        expected = torch.tanh(model.combine.weight @ torch.cat([c, h]))
        torch.testing.assert_close(found[t], expected, rtol=1e-4, atol=1e-5)


def test_without_attention_the_last_state_is_all_that_is_known() -> None:
    model, target = seq2seq(False), random_ids(1, 4)
    read = model.read(random_ids(1, 5), torch.ones(1, 5, dtype=torch.bool))
    other = model.read(random_ids(1, 5, seed=9), torch.ones(1, 5, dtype=torch.bool))
    other.memory = read.memory
    torch.testing.assert_close(model.write(target, read), model.write(target, other))
    assert not hasattr(model, "attend")


def test_attention_learns_to_copy() -> None:
    """Which token stood at which place: what one state of a few numbers cannot hold."""
    losses = {}
    for attention in (True, False):
        torch.manual_seed(0)
        settings: dict = {"vocab_size": 23, "context": 16, "width": 16, "attention": attention}
        model = Seq2Seq(Seq2SeqConfig(**settings))
        config = OptimizerConfig(lr=0.02)
        learner = Learner(model, make_optimizers(model, config), Schedule.of(config, 150))
        for step in range(150):
            source = random_ids(16, 8, seed=step)
            batch = lay_out([(row, row) for row in source], Marks(pad=0, bos=1, eos=2, mask=0))
            losses[attention] = learner.update(Part([batch], target_loss))["loss"]
    assert losses[True] < losses[False] - 0.3


@pytest.mark.parametrize("change", [{"width": 5}, {"dropout": -0.1}, {"context": 0}])
def test_impossible_shapes_are_named(change: dict) -> None:
    settings: dict = {"context": 32, "width": 8, "attention": True} | change
    with pytest.raises(ValueError, match=next(iter(change))):
        Seq2SeqConfig(**settings)
