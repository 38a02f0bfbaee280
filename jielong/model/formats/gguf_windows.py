"""Which layers see a window only: two keys of a GGUF file, and our pattern string."""

import json
from collections.abc import Mapping
from typing import Any

from jielong.model import patterns
from jielong.model.config import ModelConfig
from jielong.model.formats.gguf_keys import Keys

_WINDOW, _LAYERS = "attention.sliding_window", "attention.sliding_window_pattern"
_GEMMA_PERIOD = 6  # where a file does not list its layers, every sixth is dense


def read_windows(keys: Keys, settings: Mapping[str, Any], *, possible: bool) -> str:
    """The pattern string of a file.

    llama.cpp gives a window to some architectures only, and passes the key over elsewhere. There it
    is refused: whether the model was made with a window, such a file does not tell.
    """
    window = keys.get(_WINDOW, 0)
    listed = keys.get(_LAYERS, _GEMMA_PERIOD)
    if window == 0:
        return "dense"
    n_layer = settings["n_layer"]
    if keys.whole(_WINDOW) >= settings["context"] and not possible:
        return "dense"
    if not possible:
        raise keys.refuse(_WINDOW, "this architecture has no window")
    if type(listed) is int and listed > 0:
        listed = [layer % listed < listed - 1 for layer in range(n_layer)]
    if isinstance(listed, bool):
        listed = [listed] * n_layer
    if not isinstance(listed, list) or len(listed) != n_layer:
        raise keys.refuse(_LAYERS, f"expected a number or a list of {n_layer}")
    return patterns.shortest([f"sliding:{window}" if windowed else "dense" for windowed in listed])


def write_windows(config: ModelConfig) -> dict[str, Any]:
    """Their keys for our pattern, which has at most one window."""
    windows = [config.pattern(layer).length for layer in range(config.n_layer)]
    if not any(windows):
        return {}
    return {_WINDOW: max(windows), _LAYERS: [window > 0 for window in windows]}


def window_obstacles(config: ModelConfig, *, possible: bool) -> list[str]:
    """The setting in the way, if there is one."""
    patterns = {config.pattern(layer) for layer in range(config.n_layer)}
    banded = [pattern for pattern in patterns if pattern.kind != "dense"]
    simple = len(banded) < 2 and all(pattern.kind == "sliding" for pattern in banded)
    return (
        []
        if simple and (possible or not banded)
        else [f"attention: {json.dumps(config.attention)}"]
    )
