"""Shapes of models drawn at random, with every part that a configuration can name.

As settings, not as a `ModelConfig`: the hook that checks types draws at random itself, which
hypothesis does not allow while it draws.
"""

from hypothesis import strategies as st

from jielong.model.config import RopeConfig

PATTERNS = (
    "dense",
    "dense sliding:3",
    "strided:3 dense",
    "fixed:4:1",
    "sliding:2*2 dense fixed:5:2",
)
FEED_FORWARDS = ("swiglu", "geglu", "geglu_tanh", "gelu", "gelu_tanh", "relu", "relu2")
ROPES = (
    RopeConfig(base=100.0),
    RopeConfig(base=100.0, local_base=20.0, scaling="linear", factor=4.0),
    RopeConfig(base=100.0, scaling="yarn", factor=2.0, original_context=8),
)


@st.composite
def shapes(draw: st.DrawFn, bidirectional: bool | None = None) -> dict:
    """The settings of a small model of any kind."""
    n_kv_head, head_size = draw(st.integers(1, 3)), draw(st.sampled_from((2, 4, 6)))
    n_head = n_kv_head * draw(st.integers(1, 3))
    is_given = draw(st.booleans())
    both_ways = draw(st.booleans()) if bidirectional is None else bidirectional
    return {
        "vocab_size": draw(st.integers(8, 40)),
        "context": draw(st.integers(12, 20)),
        "n_layer": draw(st.integers(1, 4)),
        "width": draw(st.sampled_from((8, 12, 20))) if is_given else n_head * head_size,
        "n_head": n_head,
        "n_kv_head": n_kv_head,
        "ffn_width": draw(st.integers(1, 30)),
        "head_size": head_size if is_given else None,
        "attention": "dense" if both_ways else draw(st.sampled_from(PATTERNS)),
        "bidirectional": both_ways,
        "positions": draw(st.sampled_from(("rotary", "learned", "sinusoidal", "none"))),
        "rope": draw(st.sampled_from(ROPES)),
        "segments": draw(st.sampled_from((0, 2))),
        "turn_ids": (1, 2),
        "norm": draw(st.sampled_from(("rms", "layer"))),
        "norm_place": draw(st.sampled_from(("pre", "post", "both"))),
        "embedding_norm": draw(st.booleans()),
        "qk_norm": draw(st.booleans()),
        "ffn": draw(st.sampled_from(FEED_FORWARDS)),
        "bias": draw(st.sampled_from(("none", "qkv", "attention", "all"))),
        "scale_embedding": draw(st.booleans()),
        "dropout": draw(st.sampled_from((0.0, 0.5))),
        "tied": draw(st.booleans()),
    }
