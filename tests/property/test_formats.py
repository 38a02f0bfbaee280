"""What is written of a shape is read back as the same shape."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from jielong.model.config import RopeConfig
from jielong.model.formats.families import read_config, write_config
from jielong.model.formats.layer_types import read_layer_types, window_of, write_layer_types
from jielong.model.formats.settings import Settings
from tests.tiny import config

bases = st.floats(10.0, 1e7)
factors = st.floats(1.0, 64.0)
contexts = st.integers(8, 100_000)
ropes = st.one_of(
    st.builds(RopeConfig, base=bases),
    st.builds(RopeConfig, base=bases, scaling=st.just("linear"), factor=factors),
    st.builds(
        RopeConfig,
        base=bases,
        scaling=st.just("llama3"),
        factor=factors,
        original_context=contexts,
        low_frequency_factor=st.floats(0.5, 1.9),
        high_frequency_factor=st.floats(2.0, 8.0),
    ),
    st.builds(
        RopeConfig,
        base=bases,
        scaling=st.just("yarn"),
        factor=factors,
        original_context=contexts,
        beta_fast=st.floats(2.0, 64.0),
        beta_slow=st.floats(0.5, 1.5),
        attention_factor=st.none() | st.floats(0.5, 2.0),
    ),
)
qwen3 = st.fixed_dictionaries({"rope": ropes, "bias": st.sampled_from(["none", "attention"])})
llama = st.fixed_dictionaries(
    {
        "rope": ropes,
        "bias": st.sampled_from(["none", "attention", "all"]),
        "qk_norm": st.just(False),
    }
)
gemma = st.fixed_dictionaries(
    {
        "rope": st.builds(
            lambda rope, local: RopeConfig(**vars(rope) | {"local_base": local}), ropes, bases
        ),
        "norm_place": st.just("both"),
        "scale_embedding": st.just(True),
        "attention": st.sampled_from(["dense", "sliding:3 dense", "dense sliding:9", "sliding:5"]),
        "head_size": st.sampled_from([None, 8, 10]),
    }
)
shapes = st.tuples(
    st.one_of(qwen3, llama, gemma),
    st.sampled_from(["swiglu", "geglu", "geglu_tanh"]),
    st.booleans(),
    st.floats(1e-12, 0.1),
)


@given(shapes)
def test_a_shape_is_read_as_it_was_written(drawn: tuple[dict[str, Any], str, bool, float]) -> None:
    changes, ffn, tied, eps = drawn
    shape = config(**changes, ffn=ffn, tied=tied, norm_eps=eps)
    family, written = write_config(shape)
    assert read_config(Settings(written, "config.json")) == (family, shape)


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_any_list_of_layers_is_a_pattern(sliding: list[bool]) -> None:
    kinds = ["sliding_attention" if windowed else "full_attention" for windowed in sliding]
    settings = Settings({"layer_types": kinds, "sliding_window": 5}, "config.json")
    pattern = read_layer_types(settings, len(kinds), lambda *_: [])
    shape = config(n_layer=len(kinds), attention=pattern)
    assert [shape.pattern(i).kind == "sliding" for i in range(len(kinds))] == sliding
    assert window_of(shape) == (5 if any(sliding) else 0)
    assert write_layer_types(shape)["layer_types"] == kinds
