"""Dots by pencil. A pattern's columns are 1 2 3 7 (left) and 4 5 6 8 (right), from the top."""

from jielong.core.curves import curve


def dots(*numbers: int) -> str:
    """The pattern of the dots with these numbers (Unicode names them so)."""
    return chr(0x2800 + sum(1 << (number - 1) for number in numbers))


def test_two_points_are_joined() -> None:
    # Two columns of dots: from the left one's foot to the right one's top; the right column has
    # the way up, from beside the first dot.
    assert curve([(0, 0.0), (1, 1.0)], 1, 1) == [dots(7, 6, 5, 4)]
    assert curve([(0, 1.0), (1, 0.0)], 1, 1) == [dots(1, 5, 6, 8)]


def test_a_level_line_is_in_the_middle() -> None:
    assert curve([(0, 3.0), (9, 3.0)], 2, 1) == [dots(2, 5) * 2]


def test_points_of_one_column_are_averaged() -> None:
    # Columns 0 and 1 of dots: 0 and 2 are 1 on average, and the last is 3.
    assert curve([(0, 0.0), (1, 2.0), (9, 3.0)], 1, 1) == curve([(0, 1.0), (9, 3.0)], 1, 1)


def test_a_missing_column_is_bridged() -> None:
    # Four columns and eight rows of dots; two points, so columns 1 and 2 lie between, at rows
    # 14/3 and 7/3 from the top: 5 and 2. Each column fills up from beside the dot before.
    top, foot = curve([(0, 0.0), (3, 7.0)], 2, 2)
    assert foot == dots(7, 6, 5) + dots(1)
    assert top == dots() + dots(7, 3, 5, 4)


def test_one_point_and_none() -> None:
    assert curve([(5, 2.0)], 2, 1) == [dots(2) + dots()]
    assert curve([], 2, 2) == [dots() * 2] * 2
