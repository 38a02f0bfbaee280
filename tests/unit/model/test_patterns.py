import pytest
import torch

from jielong.model.patterns import Pattern, allowed, of_layer, parse

DRAWN = {
    "dense": """
        1......
        11.....
        111....
        1111...
        11111..
        111111.
        1111111""",
    "sliding:3": """
        1......
        11.....
        111....
        .111...
        ..111..
        ...111.
        ....111""",
    "strided:3": """
        1......
        11.....
        111....
        1111...
        .1111..
        ..1111.
        1..1111""",
    "fixed:3:1": """
        1......
        11.....
        111....
        ..11...
        ..111..
        ..1111.
        ..1..11""",
    "fixed:4:2": """
        1......
        11.....
        111....
        1111...
        ..111..
        ..1111.
        ..11111""",
    "fixed:3:0": """
        1......
        11.....
        111....
        ...1...
        ...11..
        ...111.
        ......1""",
}


@pytest.mark.parametrize("text", DRAWN)
def test_a_pattern_looks_as_drawn(text: str) -> None:
    (pattern,) = parse(text)
    mask = allowed(pattern, torch.arange(7), torch.arange(7))
    rows = ["".join(".1"[int(cell)] for cell in row) for row in mask]
    assert rows == DRAWN[text].split()


def test_positions_of_queries_and_keys_are_absolute_and_may_differ_by_row() -> None:
    queries, keys = torch.tensor([[6], [3]]), torch.tensor([[0, 1, 3], [0, 1, 3]])
    mask = allowed(Pattern("strided", 3), queries, keys)
    assert mask.tolist() == [[[True, False, True]], [[True, True, True]]]


def test_a_string_is_read() -> None:
    assert parse("dense") == (Pattern("dense"),)
    assert parse(" sliding:512*2  dense fixed:64:8 ") == (
        Pattern("sliding", 512),
        Pattern("sliding", 512),
        Pattern("dense"),
        Pattern("fixed", 64, 8),
    )
    assert parse("strided:1 fixed:2:2 fixed:2:0") == (
        Pattern("strided", 1),
        Pattern("fixed", 2, 2),
        Pattern("fixed", 2, 0),
    )


def test_entries_are_cycled_over_the_layers() -> None:
    patterns = parse("sliding:4*2 dense")
    kinds = [of_layer(patterns, layer).kind for layer in range(7)]
    assert kinds == ["sliding", "sliding", "dense", "sliding", "sliding", "dense", "sliding"]


@pytest.mark.parametrize(
    "entry",
    "strided sliding:0 strided:-3 fixed:8 fixed:4:5 dense:3 dense*0 dense*1000 sliding:3:1 "
    "Dense sparse:3 sliding:3* *2 sliding:1.5 sliding:² strided:1000000000".split(),
)
def test_what_cannot_be_read_is_named_in_one_line(entry: str) -> None:
    with pytest.raises(ValueError, match="must be dense, sliding:l, strided:l or fixed") as error:
        parse(f"dense {entry} dense")
    assert str(error.value).startswith(f"'{entry}': ")
    assert "\n" not in str(error.value)


def test_an_empty_string_names_no_pattern() -> None:
    with pytest.raises(ValueError, match="'  ': names no pattern: must be dense"):
        parse("  ")
