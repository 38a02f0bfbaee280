import pytest

from tests.tiny import config


def test_the_head_size_is_the_width_shared_out() -> None:
    assert config(width=24, n_head=4).head_dim == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 25}, "n_head: 4: must divide width 25, or"),
        ({"width": 20}, "n_head: 4: rotary positions need even heads, not of 5"),
        ({"n_kv_head": 3}, "n_kv_head: 3: must divide n_head 4"),
        ({"dropout": 1.0}, "dropout: 1.0: must be at least 0 and below 1"),
        ({"dropout": -0.1}, "dropout: -0.1"),
        ({"context": 0}, "context: 0: must be above 0"),
        ({"n_layer": 0}, "n_layer: 0"),
        ({"ffn_width": 0}, "ffn_width: 0"),
        ({"n_head": 0}, "n_head: 0"),
        ({"n_kv_head": 0}, "n_kv_head: 0"),
        ({"n_head": -2}, "n_head: -2"),
        ({"width": 0}, "width: 0"),
    ],
)
def test_a_shape_that_cannot_be_built_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        config(**changes)
