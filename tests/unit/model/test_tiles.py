import torch

from jielong.model.tiles import SIZE, tiles


def test_tiles_cover_every_row_once_and_are_about_as_large_as_said() -> None:
    x = torch.empty(1000, 4, 100)
    cut = tiles(x)
    assert [row for tile in cut for row in range(1000)[tile]] == list(range(1000))
    assert all(x[tile].numel() <= SIZE for tile in cut)
    assert len(cut) == 4  # 327 rows of 400 numbers fit


def test_what_fits_is_one_tile_and_so_is_what_lies_elsewhere() -> None:
    assert tiles(torch.empty(2, SIZE // 2)) == [slice(None)]
    assert tiles(torch.empty(0, 4)) == [slice(None)]
    assert tiles(torch.empty(1000, SIZE, device="meta")) == [slice(None)]


def test_a_row_that_is_larger_than_a_tile_is_a_tile() -> None:
    assert tiles(torch.empty(3, 2 * SIZE)) == [slice(0, 1), slice(1, 2), slice(2, 3)]
