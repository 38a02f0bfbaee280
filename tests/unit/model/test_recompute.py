"""Activation checkpointing: the same gradients, from less that is kept."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from jielong.model.transformer import recompute_activations
from tests.tiny import decoder, encoder_decoder, random_ids, scalar_model

IDS = random_ids(3, 20)


def step(model: nn.Module, forward: Callable[[nn.Module], Tensor]) -> tuple[list[Tensor], int]:
    """The gradients, and how many bytes the forward pass keeps for them."""
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    torch.manual_seed(0)
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = forward(model).square().mean()
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return gradients, sum(size for place, size in kept.items() if place not in own)


@pytest.mark.parametrize(
    ("make", "forward"),
    [
        (decoder, lambda model: model(IDS)),
        (lambda: decoder(dropout=0.3).train(), lambda model: model(IDS)),
        (lambda: decoder(attention="sliding:4 dense"), lambda model: model(IDS)),
        (decoder, lambda model: model(IDS, documents=torch.arange(20).expand(3, -1) // 7)),
        (lambda: encoder_decoder(dropout=0.3).train(), lambda model: model(IDS, IDS[:, :9])),
        (scalar_model, lambda model: model(IDS)),
    ],
    ids=["dense", "dropout", "sliding", "documents", "encoder-decoder", "scalar"],
)
def test_gradients_are_equal_and_less_is_kept(
    make: Callable[[], nn.Module], forward: Callable[[nn.Module], Tensor]
) -> None:
    """Bit for bit: the same operations on the same numbers, random ones too."""
    whole, needed = step(make(), forward)
    model = make()
    recompute_activations(model)
    again, needed_again = step(model, forward)
    assert len(whole) == len(again) > 10
    assert all(torch.equal(one, other) for one, other in zip(whole, again, strict=True))
    assert needed_again < 0.6 * needed


def test_blocks_are_run_twice_only_where_a_gradient_is_wanted() -> None:
    model, calls = decoder(), []
    recompute_activations(model)
    model.blocks[0].attention.register_forward_hook(lambda *_: calls.append(1))
    model(IDS).sum().backward()
    assert len(calls) == 2
    with torch.no_grad():
        model(IDS)
    assert len(calls) == 3
