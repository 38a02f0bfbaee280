"""Our recurrent models against torch's single cells, stepped by hand over time and layers."""

import pytest
import torch
from torch import nn

from jielong.baselines.recurrent import Recurrent, RecurrentConfig
from tests.tiny import random_ids, randomise


@pytest.mark.parity
@pytest.mark.parametrize(("cell", "kind"), [("lstm", nn.LSTMCell), ("gru", nn.GRUCell)])
def test_logits_and_gradients(cell: str, kind: type) -> None:
    shape = RecurrentConfig(vocab_size=23, context=32, cell=cell, n_layer=2, width=12)
    model = Recurrent(shape)
    randomise(model, seed=3)
    ids = random_ids(3, 10)
    cells = []
    for layer in range(2):
        stepped = kind(12, 12)
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        stepped.load_state_dict({n: getattr(model.cells, f"{n}_l{layer}") for n in names})
        cells.append(stepped)

    x = model.embedding(ids)
    states: list = [None, None]
    rows = []
    for place in range(10):
        h = x[:, place]
        for layer in range(2):
            states[layer] = cells[layer](h, states[layer])
            h = states[layer][0] if cell == "lstm" else states[layer]
        rows.append(h @ model.embedding.weight.T)
    expected = torch.stack(rows, dim=1)

    ours = model(ids)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)
    (theirs,) = torch.autograd.grad(expected.square().sum(), model.embedding.weight)
    (mine,) = torch.autograd.grad(ours.square().sum(), model.embedding.weight)
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
