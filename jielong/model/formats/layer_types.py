"""Which layers see a window only: their list of layers, and our pattern string."""

from collections.abc import Callable
from typing import Any

from jielong.model import patterns
from jielong.model.config import ModelConfig
from jielong.model.formats.settings import Settings

FULL, SLIDING = "full_attention", "sliding_attention"


def read_layer_types(
    settings: Settings, n_layer: int, rule: Callable[[Settings, int], list[bool]]
) -> str:
    """The pattern string of a file; `rule` says which layers see a window where it lists none."""
    listed = settings.values.get("layer_types")
    if listed is None:
        sliding = rule(settings, n_layer)
    else:
        if not isinstance(listed, list) or len(listed) != n_layer:
            raise settings.refuse("layer_types", listed, f"expected a list of {n_layer}")
        for kind in listed:
            if kind not in (FULL, SLIDING):
                raise settings.refuse("layer_types", kind, f"only {FULL} and {SLIDING} can be read")
        sliding = [kind == SLIDING for kind in listed]
    if not any(sliding):
        return "dense"
    window = settings.whole("sliding_window")
    return patterns.shortest([f"sliding:{window}" if windowed else "dense" for windowed in sliding])


def write_layer_types(config: ModelConfig) -> dict[str, Any]:
    """Their settings for our pattern, which has at most one window."""
    sliding = [config.pattern(layer).kind == "sliding" for layer in range(config.n_layer)]
    return {
        "sliding_window": window_of(config) or None,
        "layer_types": [SLIDING if windowed else FULL for windowed in sliding],
    }


def window_of(config: ModelConfig) -> int | None:
    """The one window of a model's layers, 0 where all are dense, None where it is not so simple."""
    patterns = {config.pattern(layer) for layer in range(config.n_layer)}
    windows = {pattern.length for pattern in patterns if pattern.kind == "sliding"}
    if {pattern.kind for pattern in patterns} - {"dense", "sliding"} or len(windows) > 1:
        return None
    return windows.pop() if windows else 0
