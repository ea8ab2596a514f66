"""In which order, and how many together, the tokens of a picture are drawn: prefixes of an order grow by blocks."""

import numpy as np
from jax import Array
from jax import numpy as jnp


def ranks(grid: tuple[int, int], order: str) -> np.ndarray:
    """For each of the h*w places, row by row, its position in the order: int32 [h*w].

    "raster": row by row. "scattered": every prefix is spread over the whole picture as evenly as can be, so that tokens
    drawn together are far apart (the order of thresholds in ordered dithering, Bayer 1973).
    Raises ValueError for another order.
    """
    height, width = grid
    match order:
        case "raster":
            return np.arange(height * width, dtype=np.int32)
        case "scattered":
            down, right = np.divmod(np.arange(height * width), width)
            threshold = np.zeros(height * width, np.int64)
            for bit in range(max(height, width).bit_length()):  # lowest bits of the place weigh most
                threshold = 4 * threshold + 2 * ((down ^ right) >> bit & 1) + (down >> bit & 1)
            return np.argsort(np.argsort(threshold, kind="stable"), kind="stable").astype(np.int32)
        case _:
            raise ValueError(f"order {order!r} is unknown; accepted: raster, scattered")


def drawn_before(block: Array | int, blocks: Array | int, length: int) -> Array:
    """How many of `length` tokens are drawn before this of `blocks` blocks, which differ in size by one at most.

    Whole numbers of any shape, block 0 to blocks; after the last block it is `length`.
    """
    return jnp.asarray(block) * length // blocks


def block_count(wanted: int, length: int) -> int:
    """Steps that draw `length` tokens when `wanted` are asked for: 0 for one token a step, more are impossible."""
    return min(wanted, length) or length
