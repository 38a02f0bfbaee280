import dataclasses
import re

import pytest
import torch

from jielong.model.config import ModelConfig
from jielong.model.published import GPT1_VOCABULARY, PUBLISHED, Published
from jielong.model.sizes import parameters
from jielong.model.transformer import Transformer

UNITS = {"M": 10**6, "B": 10**9}


def says(figure: str, count: int) -> bool:
    """Whether `count` is written like `figure` when rounded to as many places."""
    found = re.fullmatch(r"(\d+(?:\.(\d+))?)([MB])", figure)
    assert found is not None
    places = len(found[2] or "")
    if found[1].endswith("0") and not places:  # 1320M is 1.32B
        return abs(count / UNITS[found[3]] - float(found[1])) <= 5
    return round(count / UNITS[found[3]], places) == float(found[1])


@pytest.mark.parametrize("model", PUBLISHED, ids=lambda model: model.name)
def test_the_count_is_that_of_the_authors(model: Published) -> None:
    with torch.device("meta"):
        built = Transformer(model.config)
    count = sum(p.numel() for p in built.parameters())
    assert parameters(model.config).total == count
    assert says(model.recount, count)
    is_wrong = model.name.startswith("gpt2") or model.paper in {"350M", "13.0B", "175.0B"}
    assert says(model.paper, count) != is_wrong


def test_figures_are_read_to_their_last_place() -> None:
    assert says("117M", 116_534_784)
    assert not says("117M", 117_600_000)
    assert says("1.3B", 1_315_723_264)
    assert not says("1.3B", 1_360_000_000)
    assert says("175.0B", 174_960_000_000)


def test_the_figures_of_gpt2s_paper_are_for_gpt1s_vocabulary() -> None:
    for model in PUBLISHED:
        if model.name.startswith("gpt2"):
            shape = dataclasses.replace(model.config, vocab_size=GPT1_VOCABULARY)
            assert says(model.paper, parameters(shape).total)


@pytest.mark.parametrize(
    ("name", "changes", "count"),
    [
        ("gpt3-1.3b", {"n_head": 24, "n_kv_head": 24, "head_size": 128}, "1.52B"),
        ("gpt3-13b", {"width": 5140, "ffn_width": 20560, "head_size": 128}, "12.94B"),
    ],
)
def test_table_2_1_to_the_letter_gives_another_count(name: str, changes: dict, count: str) -> None:
    shape: ModelConfig = next(model.config for model in PUBLISHED if model.name == name)
    other = parameters(dataclasses.replace(shape, **changes)).total
    assert says(count, other)
    note = next(model.note for model in PUBLISHED if model.name == name)
    assert count in note


def test_names_are_unique() -> None:
    names = [model.name for model in PUBLISHED]
    assert len(set(names)) == len(names) == 13
