import math

import torch
from torch import Tensor

from jielong.objectives.language_model import TokenBatch, next_token_loss
from tests.tiny import decoder, random_ids


def bigram(ids: Tensor, *, select: Tensor, documents: Tensor | None = None) -> Tensor:
    """A model of four tokens that gives the next number probability 1/2, each other 1/6."""
    probabilities = torch.full((4, 4), 1 / 6) + torch.eye(4).roll(1, 1) / 3
    return probabilities.log()[ids][select]


def test_the_loss_by_hand() -> None:
    """Targets that count: 1 after 0 (1/2), 3 after 1 (1/6), 0 after 3 (1/2)."""
    ids = torch.tensor([[0, 1, 3, 2], [2, 3, 0, 0]])
    counts = torch.tensor([[1, 1, 1, 0], [0, 0, 1, 0]], dtype=torch.bool)
    loss = next_token_loss(bigram, TokenBatch(ids, counts))
    assert loss.items.item() == 3
    assert math.isclose(loss.total.item(), 2 * math.log(2) + math.log(6), rel_tol=1e-6)


def test_the_first_token_is_never_a_target() -> None:
    batch = TokenBatch(torch.tensor([[1, 2]]), torch.tensor([[True, False]]))
    loss = next_token_loss(bigram, batch)
    assert (loss.items.item(), loss.total.item()) == (0, 0)


def test_it_is_the_cross_entropy_of_the_full_scores() -> None:
    model, ids = decoder(), random_ids(3, 9)
    counts = torch.rand(3, 9, generator=torch.Generator().manual_seed(0)) < 0.5
    logp = model(ids[:, :-1]).log_softmax(-1)
    expected = -sum(
        logp[i, t - 1, ids[i, t]] for i in range(3) for t in range(1, 9) if counts[i, t]
    )
    loss = next_token_loss(model, TokenBatch(ids, counts))
    torch.testing.assert_close(loss.total, expected)
    assert loss.items == counts[:, 1:].sum()


def packed() -> tuple[TokenBatch, list[TokenBatch]]:
    """Texts of 7, 2, 4 and 6 tokens in two rows, and each of them alone; some tokens count."""
    random = torch.Generator().manual_seed(3)
    alone = []
    for i, size in enumerate((7, 2, 4, 6)):
        counts = torch.rand(1, size, generator=random) < 0.7
        counts[:, 0], counts[:, -1] = False, True
        alone.append(TokenBatch(random_ids(1, size, seed=i), counts))
    ids = torch.zeros(2, 12, dtype=torch.long)
    counts, documents = torch.zeros(2, 12, dtype=torch.bool), torch.zeros(2, 12, dtype=torch.long)
    for number, (row, start) in enumerate(((0, 0), (0, 7), (1, 0), (1, 4))):
        place = slice(start, start + alone[number].ids.shape[1])
        ids[row, place], counts[row, place] = alone[number].ids[0], alone[number].counts[0]
        documents[row, place] = number + 1
    return TokenBatch(ids, counts, documents), alone


def test_a_packed_row_teaches_what_its_texts_teach_alone() -> None:
    """Loss, count and every gradient, in double precision (but for the rotary angles)."""
    batch, alone = packed()
    found = []
    for batches in ([batch], alone):
        model = decoder().double()
        losses = [next_token_loss(model, one) for one in batches]
        total = sum(loss.total for loss in losses)
        total.backward()
        gradients = {name: p.grad for name, p in model.named_parameters()}
        found.append((total.item(), sum(loss.items.item() for loss in losses), gradients))
    (total, items, gradients), (total_alone, items_alone, gradients_alone) = found
    assert items == items_alone
    assert math.isclose(total, total_alone, rel_tol=1e-7)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, gradients_alone[name], atol=1e-6, rtol=1e-6, msg=name)


def test_a_packed_row_in_single_precision() -> None:
    batch, alone = packed()
    found = []
    for batches in ([batch], alone):
        model = decoder()
        sum(next_token_loss(model, one).total for one in batches).backward()
        found.append([p.grad for p in model.parameters()])
    for together, apart in zip(*found, strict=True):
        torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)


def test_without_its_documents_a_packed_row_teaches_something_else() -> None:
    batch, alone = packed()
    model = decoder()
    expected = sum(next_token_loss(model, one).total.item() for one in alone)
    assert abs(next_token_loss(model, batch).total.item() - expected) < 1e-4
    mixed = next_token_loss(model, batch._replace(documents=None))
    assert abs(mixed.total.item() - expected) > 0.1
