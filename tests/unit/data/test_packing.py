import pytest

from jielong.data.packing import best_fit, pack


def test_best_fit_by_hand() -> None:
    """Sorted 8, 6, 5, 3, 2, 2: 8; 6; 5 leaves 5 of 10; 3 goes where 4 are left, not 5; the first 2
    fills the row of 8; the second goes where 5 are left, since nowhere else are two."""
    assert best_fit([5, 3, 8, 2, 6, 2], 10) == [[2, 3], [4, 1], [0, 5]]


def test_equal_pieces_stay_in_order() -> None:
    assert best_fit([2, 2, 2, 2, 2], 5) == [[0, 1], [2, 3], [4]]


def test_a_piece_longer_than_a_row_is_no_ones_to_cut() -> None:
    with pytest.raises(ValueError, match="lengths: 11: exceeds a row of 10"):
        best_fit([3, 11], 10)


def test_rows_are_as_narrow_as_their_number_allows() -> None:
    """Four of 4 need two rows of 10; rows of 8 hold them as well, and leave nothing empty."""
    assert pack([4, 4, 4, 4], 10) == [[0, 1], [2, 3]]
    assert pack([6, 5, 4, 3], 20) == [[0, 1, 2, 3]]
    lengths = [7, 7, 3, 3, 3, 3]  # 26 in rows of 12: three; no three rows of 9 hold 7, 7 and 3s
    rows = pack(lengths, 12)
    assert len(rows) == 3
    assert max(sum(lengths[i] for i in row) for row in rows) == 10


def test_nothing_fills_no_row() -> None:
    assert pack([], 10) == []
