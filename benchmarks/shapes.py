"""The shapes at which several benchmarks stand, our model of each, and their clock."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from jielong.model.config import ModelConfig


class Shape(NamedTuple):
    """`tokens` are those of a row, `rows` those of a batch."""

    layers: int
    width: int
    heads: int
    tokens: int
    rows: int
    vocabulary: int

    def ours(self, **parts: Any) -> ModelConfig:  # noqa: ANN401 - fields of ModelConfig
        """Our model of this shape: Qwen3's parts, and the usual width inside, unless told."""
        sizes: dict[str, Any] = {
            "vocab_size": self.vocabulary,
            "context": self.tokens,
            "n_layer": self.layers,
            "width": self.width,
            "n_head": self.heads,
            "n_kv_head": self.heads,
            "ffn_width": 8 * self.width // 3,
        }
        return ModelConfig(**sizes | parts)


SHAPES = {"12M": Shape(6, 384, 6, 256, 16, 4096), "1M": Shape(4, 128, 4, 128, 32, 2048)}


def seconds(work: Callable[[], object]) -> float:
    """How long it takes; on one thread of that thread's own time, which other work leaves alone."""
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    work()
    return clock() - start
