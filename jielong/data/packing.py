"""Which pieces of text share a row: bin packing, so that little of a batch is padding."""

from collections.abc import Sequence


def pack(lengths: Sequence[int], longest: int) -> list[list[int]]:
    """Places in `lengths` by row: as few rows of `longest` as best fit finds, as narrow as can be.

    Each piece is in exactly one row. A batch is as wide as its fullest row, so once the number of
    rows is known a lower limit spreads what is left over all of them.
    """
    rows = best_fit(lengths, longest)
    narrowest = max(max(lengths, default=0), -(-sum(lengths) // max(1, len(rows))))
    for limit in range(narrowest, longest):
        narrow = best_fit(lengths, limit)
        if len(narrow) <= len(rows):
            return narrow
    return rows


def best_fit(lengths: Sequence[int], limit: int) -> list[list[int]]:
    """Best-fit decreasing: the longest first, each into the fullest row that still has room.

    At most 11/9 of the fewest rows possible, and some (Johnson et al. 1974,
    doi:10.1137/0203025); for language models arXiv:2404.10830. Raises `ValueError` when a piece is
    longer than `limit`.
    """
    if any(length > limit for length in lengths):
        raise ValueError(f"lengths: {max(lengths)}: exceeds a row of {limit}")
    rows: list[list[int]] = []
    room: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        open_rows = [(left, row) for row, left in enumerate(room) if left >= lengths[place]]
        if open_rows:
            _, row = min(open_rows)
        else:
            row = len(rows)
            rows.append([])
            room.append(limit)
        rows[row].append(place)
        room[row] -= lengths[place]
    return rows
