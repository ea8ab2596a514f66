"""Pictures that are the same, and pictures that look the same."""

from typing import NamedTuple

import numpy as np
from einops import rearrange, reduce

CELLS = 8  # the hash sees the picture as 8 x 8 patches of flat colour
LEVELS = np.array([32, 80, 128, 176, 224], np.float32)  # each patch and channel becomes five bits: brighter than these?
NEAR = {3: 24, 1: 8}  # bits by channels, a fortieth: JPEG or a resize changes fewer, another colour or shape more


def perceptual_hash(images: np.ndarray) -> np.ndarray:
    """Colour hashes of pictures uint8 [N, H, W, C] with H and W at least 8: uint64 [N, 15] (5 for grey).

    The number of differing bits counts by how many levels the patches' colours differ (thermometer code)."""
    count, height, width, _ = images.shape
    images = images[:, : height // CELLS * CELLS, : width // CELLS * CELLS]
    patches = reduce(images.astype(np.float32), "n (a h) (b w) c -> n (a b c)", "mean", a=CELLS, b=CELLS)
    bits = rearrange(patches[:, :, None] > LEVELS, "n p l -> n (p l)")
    return np.packbits(bits, axis=1).view(np.uint64).reshape(count, -1)


class Near(NamedTuple):
    """`count` pairs look the same; `nearest` lists some as (first, second, differing bits), nearest first; `later` [N]
    marks every picture that looks like an earlier one."""

    count: int
    nearest: list[tuple[int, int, int]]
    later: np.ndarray


def near_duplicates(hashes: np.ndarray, near: int, listed: int = 2000) -> Near:
    """Compares all pairs of hashes uint64 [N, W]; two are near with at most `near` differing bits.

    Two hashes differ in at least the difference of their numbers of ones: a window of that order is compared."""
    ones = np.bitwise_count(hashes).sum(axis=1, dtype=np.int32)
    order = np.argsort(ones, kind="stable")
    ranked = hashes[order]
    ends = np.searchsorted(ones[order], ones[order] + near, side="right")
    count, later, nearest = 0, np.zeros(len(hashes), bool), np.empty((0, 3), np.int64)
    for here, end in enumerate(ends):
        bits = np.bitwise_count(ranked[here + 1 : end] ^ ranked[here]).sum(axis=1, dtype=np.int32)
        found = np.flatnonzero(bits <= near)
        if found.size:
            others = order[here + 1 + found]
            first, second = np.minimum(others, order[here]), np.maximum(others, order[here])
            later[second] = True
            count += found.size
            nearest = np.concatenate([nearest, np.stack([first, second, bits[found]], axis=1)])
        if len(nearest) > 4 * listed or here == len(ends) - 1:
            nearest = nearest[np.lexsort((nearest[:, 1], nearest[:, 0], nearest[:, 2]))][:listed]
    return Near(count, [tuple(map(int, row)) for row in nearest], later)
