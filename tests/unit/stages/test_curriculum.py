import numpy as np
import pytest

from jielong.core import config as configs
from jielong.core.errors import DataError
from jielong.stages.lessons import CorruptionConfig, lesson
from jielong.stages.pretrain import PretrainConfig, curriculum
from tests.tiny import tokenizer

NEXT = lesson("causal", 7, CorruptionConfig(), tokenizer())


def config(steps: int) -> PretrainConfig:
    shape = {"context": 8, "n_layer": 1, "width": 8, "n_head": 1, "n_kv_head": 1, "ffn_width": 8}
    values = {"run_dir": "r", "data": "d", "steps": steps, "batch": 2, "window": 7, "model": shape}
    return configs.parse(PretrainConfig, values | {"optimizer": {"lr": 0.1}})


def test_each_phase_has_steps_in_proportion_to_its_tokens() -> None:
    """600, 100 and 300 tokens in 20 steps: 12, 2 and 6, in the order of the recipe."""
    phases = [np.full(600, 1), np.full(100, 2), np.full(300, 3)]
    part = curriculum(phases, config(20), NEXT)
    read = [int(part(step).micro_batches[0].ids.unique()) for step in range(20)]
    assert read == [1] * 12 + [2] * 2 + [3] * 6


def test_a_phase_begins_with_its_own_first_windows() -> None:
    first, second = np.arange(600), np.arange(1000, 1400)
    part, alone = (
        curriculum([first, second], config(10), NEXT),
        curriculum([second], config(4), NEXT),
    )
    assert part(6).micro_batches[0].ids.equal(alone(0).micro_batches[0].ids)


def test_a_phase_too_short_for_a_window_is_told_before_training() -> None:
    with pytest.raises(DataError, match="the corpus has 9 tokens, too few for windows of 8"):
        curriculum([np.arange(1000), np.arange(9)], config(1000), NEXT)
