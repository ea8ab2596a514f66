"""Orders of tokens and the blocks they are drawn in."""

import numpy as np
import pytest

from t2i_jax.models.token_order import block_count, drawn_before, ranks


@pytest.mark.parametrize("grid", [(8, 8), (4, 4), (7, 5), (1, 6)])
@pytest.mark.parametrize("order", ["raster", "scattered"])
def test_every_place_has_one_rank(grid, order):
    assert sorted(ranks(grid, order).tolist()) == list(range(grid[0] * grid[1]))


def test_raster_goes_row_by_row():
    assert ranks((2, 3), "raster").tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("count, apart", [(4, 4), (16, 2), (32, 1)])
def test_prefixes_of_the_scattered_order_are_regular_lattices(count, apart):
    places = np.argwhere(ranks((8, 8), "scattered").reshape(8, 8) < count)
    distances = np.abs(places[:, None] - places[None]).sum(-1) + 99 * np.eye(count, dtype=int)
    assert distances.min() == distances.min(1).max() >= apart
    quarters = np.bincount(2 * (places[:, 0] // 4) + places[:, 1] // 4, minlength=4)
    assert quarters.tolist() == [count // 4] * 4


def test_another_order_is_refused():
    with pytest.raises(ValueError, match="raster, scattered"):
        ranks((2, 2), "spiral")


@pytest.mark.parametrize("length", [1, 7, 16, 64])
def test_blocks_of_any_number_cover_all_tokens_and_differ_by_one_at_most(length):
    for blocks in range(1, length + 1):
        ends = np.asarray(drawn_before(np.arange(blocks + 1), blocks, length))
        sizes = np.diff(ends)
        assert ends[0] == 0 and ends[-1] == length
        assert sizes.min() >= 1 and sizes.max() - sizes.min() <= 1


def test_the_number_of_blocks_is_capped_and_zero_is_one_token_a_step():
    assert [block_count(wanted, 16) for wanted in (0, 1, 5, 16, 50)] == [16, 1, 5, 16, 16]
