import re

import pytest
import torch
from torch import nn

from jielong.core.errors import ConfigError
from jielong.model.actor_critic import ActorCritic
from jielong.model.lora import (
    LoraConfig,
    LoraLinear,
    adapters,
    adapters_off,
    add_adapters,
    merged_state,
)
from jielong.model.transformer import Transformer
from jielong.objectives.language_model import TokenBatch, next_token_loss
from tests.tiny import decoder, encoder_decoder, random_ids, scalar_model

LAYERS = ("attention.qkv", "attention.output", "feed_forward.gate_up", "feed_forward.down")


def adapted(**changes: object) -> Transformer:
    """A model whose adapters matter."""
    model = decoder(tied=False)
    add_adapters(model, LoraConfig(**{"rank": 3, "alpha": 6.0} | changes))
    random = torch.Generator().manual_seed(1)
    for layer in adapters(model).values():
        for parameter in (layer.lora_a, layer.lora_b):
            nn.init.normal_(parameter, std=0.2, generator=random)
    return model


def test_an_adapter_by_hand() -> None:
    """W x + b = 1*3 + 2*4 + 5 = 16; A x = 3 - 4 = -1; alpha / r = 1.5; B = 2: 16 - 3."""
    linear = nn.Linear(2, 1)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0, 2.0]]))
        linear.bias.fill_(5.0)
    layer = LoraLinear(linear, LoraConfig(rank=1, alpha=1.5))
    x = torch.tensor([3.0, 4.0])
    assert layer(x).tolist() == [16]
    with torch.no_grad():
        layer.lora_a.copy_(torch.tensor([[1.0, -1.0]]))
        layer.lora_b.fill_(2.0)
    assert layer(x).tolist() == [13]
    assert layer.merged().tolist() == [[1 + 3, 2 - 3]]
    assert LoraConfig(rank=4, alpha=6.0).scale == 1.5


def test_at_first_nothing_has_changed() -> None:
    model, ids = decoder(), random_ids(2, 9)
    before = model(ids)
    add_adapters(model, LoraConfig())
    assert torch.equal(model(ids), before)
    assert all(layer.lora_a.abs().sum() > 0 for layer in adapters(model).values())


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (("attention.*", "feed_forward.*"), [f"blocks.{i}.{n}" for i in (0, 1) for n in LAYERS]),
        (("qkv",), ["blocks.0.attention.qkv", "blocks.1.attention.qkv"]),
        (("blocks.1.*",), [f"blocks.1.{name}" for name in LAYERS]),
        (("head", "blocks.0.feed_forward.down"), ["blocks.0.feed_forward.down", "head"]),
    ],
)
def test_layers_are_chosen_by_name(targets: tuple[str, ...], expected: list[str]) -> None:
    model = adapted(targets=targets)
    assert list(adapters(model)) == expected
    free = {name for name, p in model.named_parameters() if p.requires_grad}
    assert free == {f"{name}.lora_{letter}" for name in expected for letter in "ab"}


def test_a_name_that_is_none_is_refused() -> None:
    known = ", ".join(sorted((*LAYERS, "head")))
    expected = f"lora.targets: 'q_proj': names no linear layer: there are {known}"
    model = decoder(tied=False)
    with pytest.raises(ConfigError, match="^" + re.escape(expected)):
        add_adapters(model, LoraConfig(targets=("attention.*", "q_proj")))
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "rank: 0: must be at least 1"),
        ({"alpha": 0.0}, "alpha: 0.0: must be above 0"),
        ({"dropout": 1.0}, "dropout: 1.0: must be at least 0 and below 1"),
        ({"targets": ()}, "targets: empty"),
    ],
)
def test_settings_that_adapt_nothing_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        LoraConfig(**settings)


@pytest.mark.parametrize("name", [*LAYERS, "head"])
def test_each_adapter_matters_and_merges(name: str) -> None:
    """Every linear layer of the model, so that none is passed by when it answers or learns."""
    model, ids = adapted(targets=(name,)), random_ids(2, 9)
    plain = Transformer(model.config).eval()
    plain.load_state_dict(merged_state(model))
    torch.testing.assert_close(plain(ids), model(ids), atol=1e-5, rtol=1e-4)
    assert (model(ids) - decoder(tied=False)(ids)).abs().max() > 0.1
    batch = TokenBatch(ids, torch.ones_like(ids, dtype=torch.bool))
    learned, expected = next_token_loss(model, batch).total, next_token_loss(plain, batch).total
    torch.testing.assert_close(learned, expected)
    learned.backward()
    for layer in adapters(model).values():
        assert layer.lora_a.grad.abs().sum() > 0
        assert layer.lora_b.grad.abs().sum() > 0


def test_switched_off_the_model_is_its_base_bit_for_bit() -> None:
    model, ids = adapted(dropout=0.5).train(), random_ids(2, 9)
    base = decoder(tied=False)
    with adapters_off(model):
        assert torch.equal(model(ids), base(ids))
        with adapters_off(model):
            pass
        assert torch.equal(model(ids), base(ids))
    assert not torch.equal(model(ids), base(ids))
    with pytest.raises(KeyboardInterrupt), adapters_off(model):
        raise KeyboardInterrupt
    assert not torch.equal(model(ids), base(ids))


def test_the_base_takes_no_gradient_and_the_adapters_do() -> None:
    model = adapted()
    model(random_ids(2, 9)).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == ("lora_" in name), name


def test_dropout_is_of_what_the_adapter_reads() -> None:
    model, ids = adapted(dropout=0.5), random_ids(2, 9)
    assert torch.equal(model(ids), adapted()(ids))  # a model that answers drops nothing
    model.train()
    torch.manual_seed(0)
    first, second = model(ids), model(ids)
    assert not torch.equal(first, second)


def test_a_model_without_adapters_is_saved_as_it_is() -> None:
    model = encoder_decoder()
    state, saved = model.state_dict(), merged_state(model)
    assert list(saved) == list(state)
    assert all(
        saved[name] is state[name] or torch.equal(saved[name], state[name]) for name in state
    )


def test_a_policy_may_be_adapters_on_its_own_reference() -> None:
    model = adapted()
    module = ActorCritic(model, scalar_model())
    ids = random_ids(2, 9)
    with adapters_off(module.policy):
        reference = module.policy(ids)
    assert torch.equal(reference, decoder(tied=False)(ids))
    assert torch.equal(module.average(ids), module.policy(ids))
    with torch.no_grad():
        adapters(module.policy)["blocks.0.attention.qkv"].lora_b.add_(1.0)
    assert not torch.equal(module.average(ids), module.policy(ids))
    module.follow(0.0)
    torch.testing.assert_close(module.average(ids), module.policy(ids))


def test_every_shape_of_model_can_be_adapted() -> None:
    for model, number in ((encoder_decoder(), 8), (scalar_model(), 4)):
        add_adapters(model, LoraConfig(targets=("qkv", "*.down")))
        assert len(adapters(model)) == number
