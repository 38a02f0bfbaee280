"""Sizes by arithmetic are the sizes of what is built, and of what is computed."""

import dataclasses

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from jielong.model import patterns
from jielong.model.config import ModelConfig
from jielong.model.encoder_decoder import EncoderDecoder
from jielong.model.kv_cache import KVCache
from jielong.model.sizes import TRAINING, forward_flops, memory, pairs_seen, parameters
from jielong.model.transformer import Transformer
from tests.shapes import shapes

PARTS = {
    "attention": ("qkv.", "query.", "key_value.", "output."),
    "feed_forward": ("gate_up.", "up.", "down."),
    "norms": ("norm.", "after."),
    "head": ("head.",),
    "embedding": ("embedding.",),
}


def part_of(name: str) -> str:
    """Which part a parameter belongs to, by the module that holds it."""
    holder = name.removesuffix("weight").removesuffix("bias")
    return next(
        part
        for part, ends in PARTS.items()
        if any(holder == end or holder.endswith((f".{end}", f"_{end}")) for end in ends)
    )


@given(shapes())
@settings(max_examples=60)
def test_parameters_are_those_of_the_built_model(parts: dict) -> None:
    shape = ModelConfig(**parts)
    with torch.device("meta"):
        model = Transformer(shape)
    found = dict.fromkeys(PARTS, 0)
    for name, parameter in model.named_parameters():
        found[part_of(name)] += parameter.numel()
    assert dataclasses.asdict(parameters(shape)) == found
    assert parameters(shape).total == sum(p.numel() for p in model.parameters())


@given(shapes())
@settings(max_examples=30)
def test_parameters_of_a_pair_are_those_of_the_built_one(parts: dict) -> None:
    shape = ModelConfig(**parts | {"attention": "dense", "objective": "encoder_decoder"})
    with torch.device("meta"):
        pair = EncoderDecoder(shape)
    found = dict.fromkeys(PARTS, 0)
    for name, parameter in pair.named_parameters():  # what two stacks share comes once
        found[part_of(name)] += parameter.numel()
    assert dataclasses.asdict(parameters(shape)) == found


@given(shapes(bidirectional=True), st.integers(1, 12))
@settings(max_examples=15)
def test_flops_are_those_that_torch_counts(parts: dict, tokens: int) -> None:
    """Both ways, as torch knows no pattern; the plain kernel, as it counts no other on a CPU."""
    shape = ModelConfig(**parts | {"dropout": 0.0})
    model = Transformer(shape)
    ids = torch.zeros(1, tokens, dtype=torch.long)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as forward:
        scores = model(ids)
    with FlopCounterMode(display=False) as backward:
        scores.sum().backward()
    counted = forward.get_total_flops()
    assert forward_flops(shape, tokens) * tokens == counted
    assert counted + backward.get_total_flops() == TRAINING * counted


@given(shapes(bidirectional=False), st.sampled_from([1, 3, 11]))
@settings(max_examples=15)
def test_flops_of_a_pair_are_those_that_torch_counts(parts: dict, tokens: int) -> None:
    """Torch counts keys of the target that cannot be seen, too."""
    shape = ModelConfig(
        **parts | {"attention": "dense", "dropout": 0.0, "objective": "encoder_decoder"}
    )
    pair = EncoderDecoder(shape)
    ids = torch.zeros(1, tokens, dtype=torch.long)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        pair(ids, ids)
    hidden = shape.n_layer * tokens * (tokens - 1) // 2
    unseen = 4 * shape.n_head * shape.head_dim * hidden
    found = forward_flops(shape, tokens) * tokens
    assert found == counter.get_total_flops() - unseen


@given(st.sampled_from(["dense", "sliding", "strided", "fixed"]), st.data())
@settings(max_examples=60)
def test_pairs_are_those_that_the_pattern_allows(kind: str, data: st.DataObject) -> None:
    tokens = data.draw(st.integers(1, 40))
    length = 0 if kind == "dense" else data.draw(st.integers(1, 45))
    tail = data.draw(st.integers(0, length)) if kind == "fixed" else 0
    pattern = patterns.Pattern(kind, length, tail)
    places = torch.arange(tokens)
    allowed = patterns.allowed(pattern, places, places)
    assert pairs_seen(pattern, tokens) == int(allowed.sum())


@given(shapes(), st.integers(1, 9))
@settings(max_examples=15)
def test_the_cache_takes_what_is_said(parts: dict, capacity: int) -> None:
    shape = ModelConfig(**parts)
    cache = KVCache(shape, batch=1, capacity=capacity)
    taken = cache.keys.nbytes + cache.values.nbytes
    assert memory(shape).kv_cache * capacity == taken
