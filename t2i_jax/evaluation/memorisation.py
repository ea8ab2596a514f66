"""Are training pictures handed out again? The nearest training picture of each sample, and the share of near-copies.

A figure means something only beside the same figure for real held-out pictures: some data are alike by themselves.
"""

import numpy as np

from t2i_jax.evaluation.distances import BLOCK, checked, distance_blocks

NEAR_COPY = 0.05  # of the range of values: root mean square difference below which a picture counts as a near-copy


def nearest(reference: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest reference of each query and the Euclidean distance to it: index [N], distance float64 [N].

    reference: [M, D], queries: [N, D], features or flattened pictures, of any number type. Held in float64 a part at a
    time; among references equally near (to rounding) it is one of them. A copy is at distance exactly 0.
    Raises UserError where there is no reference or values are not finite, ValueError where dimensions differ.
    """
    checked(reference, least=1)
    checked(queries, dimension=reference.shape[1])
    index, distance = np.zeros(len(queries), np.int64), np.full(len(queries), np.inf)
    step = max(1, BLOCK // reference.shape[1])
    for start in range(0, len(reference), step):
        part = np.asarray(reference[start : start + step], np.float64)
        for rows, squared in distance_blocks(queries, part):
            found = squared.argmin(axis=1)
            exact = np.linalg.norm(queries[rows] - part[found], axis=1)  # by differences: nothing cancels
            nearer = exact < distance[rows]
            index[rows] = np.where(nearer, start + found, index[rows])
            distance[rows] = np.where(nearer, exact, distance[rows])
    return index, distance


def pixel_threshold(values: int, span: float = 2.0) -> float:
    """The distance below which two pictures of `values = H W C` numbers are near-copies: their root mean square
    difference is `NEAR_COPY` of the range, about 13 grey levels, 26 dB.

    span: width of the range, 2 for pictures in [-1, 1], 255 for uint8.
    """
    return NEAR_COPY * span * values**0.5


def near_copies(distance: np.ndarray, threshold: float) -> float:
    """Share of distances [N] from `nearest` that are below the threshold (`pixel_threshold` for pictures)."""
    return float(np.mean(np.asarray(distance) < threshold))
