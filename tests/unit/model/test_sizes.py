import dataclasses

import pytest
import torch
from torch.nn import functional as F

from jielong.model.config import ModelConfig
from jielong.model.encoder_decoder import EncoderDecoder
from jielong.model.sizes import Optimizer, forward_flops, memory, parameters
from jielong.model.transformer import Transformer
from jielong.training.optimizers import OptimizerConfig, make_optimizers
from tests.tiny import config, decoder, random_ids

WIDE = {"vocab_size": 500, "n_layer": 3, "width": 96, "ffn_width": 256, "context": 64}
BERT = {"norm": "layer", "norm_place": "post", "ffn": "gelu", "bias": "all", "qk_norm": False}


def test_parameters_by_hand() -> None:
    """Two layers, C = 24, V = 23, heads of 6: 4 for queries, 2 for keys and values; F = 40."""
    assert dataclasses.asdict(parameters(config())) == {
        "embedding": 23 * 24,
        "attention": 2 * (24 * (24 + 12 + 12) + 24 * 24),
        "feed_forward": 2 * 3 * 24 * 40,
        "norms": 2 * (24 + 24 + 6 + 6) + 24,
        "head": 0,
    }
    assert parameters(config(tied=False)).head == 23 * 24


def test_flops_by_hand() -> None:
    """Of 4 tokens the first sees one key, the last all four: 10 pairs in each dense layer.

    In the other layer, which sees two, they are 1 + 2 + 2 + 2.
    """
    weights = 2 * (24 * 48 + 24 * 24 + 3 * 24 * 40) + 23 * 24
    assert forward_flops(config(), 4) == 2 * weights + 4 * 24 * (10 + 10) // 4
    both = forward_flops(config(attention="dense sliding:2"), 4)
    assert both == 2 * weights + 4 * 24 * (10 + 7) // 4


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_the_optimizer_keeps_what_is_said(kind: Optimizer) -> None:
    model = decoder()
    model(random_ids(1, 5)).sum().backward()
    kept = 0
    for optimizer in make_optimizers(model, OptimizerConfig(kind=kind, lr=1e-3)):
        optimizer.step()
        states = [value for state in optimizer.state.values() for value in state.values()]
        kept += sum(v.nbytes for v in states if isinstance(v, torch.Tensor) and v.numel() > 1)
    found = memory(config(), optimizer=kind)
    assert found.optimizer == kept
    weights = sum(p.nbytes for p in model.parameters())
    assert (found.weights, found.gradients) == (weights, weights)
    assert found.training == 2 * weights + kept


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"qk_norm": False, "positions": "learned"},
        {"norm_place": "both", "ffn": "relu2"},
        BERT,
        BERT | {"bidirectional": True, "positions": "learned"},
    ],
    ids=str,
)
def test_activations_are_about_what_autograd_keeps(changes: dict) -> None:
    shape = config(**(WIDE | changes))
    kept = kept_for_backward(shape)
    assert memory(shape).activations == pytest.approx(kept, rel=0.08)


@pytest.mark.parametrize("changes", [{}, BERT], ids=str)
def test_activations_of_a_pair(changes: dict) -> None:
    shape = config(**(WIDE | changes | {"objective": "encoder_decoder"}))
    kept = kept_for_backward(shape)
    assert memory(shape).activations == pytest.approx(kept, rel=0.08)


def kept_for_backward(shape: ModelConfig) -> float:
    """Bytes for each token of what a training step's graph holds, parameters left out."""
    rows, tokens = 2, 48
    pair = shape.objective == "encoder_decoder"
    model = EncoderDecoder(shape) if pair else Transformer(shape)
    own = {t.untyped_storage().data_ptr() for t in [*model.parameters(), *model.buffers()]}
    kept: dict[int, torch.UntypedStorage] = {}  # held, so that no address is used twice

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    ids = random_ids(rows, tokens)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        if isinstance(model, EncoderDecoder):
            F.cross_entropy(model(ids, ids).flatten(0, 1), ids.flatten())
        elif shape.bidirectional:
            F.cross_entropy(model(ids).flatten(0, 1), ids.flatten())
        else:
            model.surprisal(ids, ids.flatten(), select=torch.ones_like(ids, dtype=torch.bool))
    sizes = [storage.nbytes() for storage in kept.values()]
    if not (pair or shape.bidirectional):  # the matrix's gradient is kept, whatever the batch
        sizes.remove(4 * shape.vocab_size * shape.width)
    return sum(sizes) / (rows * tokens)
