"""How far apart two sets of pictures are, by their features [N, D]: float64 on the host, in bounded memory.

All raise UserError where a set is too small or holds values that are not finite, ValueError where dimensions differ.
"""

from collections.abc import Iterator

import numpy as np
from einops import einsum

from t2i_jax.errors import UserError

BLOCK = 2**22  # pairs whose distances are held at once: 32 MiB in float64
ROWS = 4096  # features turned into float64 at once
ROUNDING = 1e-12  # far above the relative error of a squared distance in float64, far below any real difference


class Moments:
    """Mean and covariance of features that arrive in parts (pairwise update of Chan, Golub and LeVeque 1983)."""

    def __init__(self, dimension: int):
        self.count = 0
        self.mean = np.zeros(dimension)  # [D]
        self._scatter = np.zeros((dimension, dimension))  # sum of outer products of deviations from the mean

    def update(self, features: np.ndarray) -> None:
        """Takes in features [N, D] of any float type; N may be 0."""
        checked(features, dimension=len(self.mean))
        for start in range(0, len(features), ROWS):
            part = np.asarray(features[start : start + ROWS], np.float64)
            total = self.count + len(part)
            shift = part.mean(axis=0) - self.mean
            deviation = part - part.mean(axis=0)
            self._scatter += deviation.T @ deviation + np.outer(shift, shift) * (self.count * len(part) / total)
            self.mean = self.mean + shift * (len(part) / total)
            self.count = total

    @property
    def covariance(self) -> np.ndarray:
        """Unbiased covariance [D, D]; needs two features."""
        if self.count < 2:
            raise UserError(f"a covariance needs at least 2 pictures, not {self.count}: judge more pictures")
        return self._scatter / (self.count - 1)


def moments(features: np.ndarray) -> Moments:
    """The moments of features [N, D] that are all there."""
    result = Moments(np.shape(features)[1])
    result.update(features)
    return result


def frechet(a: Moments, b: Moments) -> float:
    """Fréchet distance `|m_a - m_b|² + tr(A + B - 2 (AB)^½)` of two Gaussians (Dowson and Landau 1982; FID, Heusel et
    al. 2017, eq. 6), at least 0.

    With `A = F Fᵀ` and `B = G Gᵀ`, the trace of the root is the sum of singular values of `Fᵀ G`: real whatever the
    covariances, and rounding is not magnified by a root where fewer pictures than dimensions make them singular.
    """
    if len(a.mean) != len(b.mean):
        raise ValueError(f"moments of {len(a.mean)} and of {len(b.mean)} dimensions")
    first, second = a.covariance, b.covariance
    root = np.linalg.svd(_factor(first).T @ _factor(second), compute_uv=False).sum()
    distance = np.sum((a.mean - b.mean) ** 2) + np.trace(first) + np.trace(second) - 2 * root
    return max(float(distance), 0.0)  # equal sets end up below zero by rounding


def kernel_distance(
    real: np.ndarray, fake: np.ndarray, *, subsets: int = 100, size: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Squared maximum mean discrepancy with the kernel `(x·y / D + 1)³`, unbiased, hence at times below zero (KID,
    Bińkowski et al. 2018, section 4): mean and standard deviation over random subsets.

    real: [N, D]; fake: [M, D]. Each subset takes `min(size, N, M)` of either without replacement, real first, from one
    generator. Where that is all of both, every subset is the same and the deviation is 0.
    """
    real, fake = _pair(real, fake, least=2)
    size = min(size, len(real), len(fake))
    rng = np.random.default_rng(seed)
    kernel = lambda x, y: (x @ y.T / x.shape[1] + 1) ** 3
    others = lambda square: (square.sum() - np.trace(square)) / (size * (size - 1))  # mean off the diagonal
    values = []
    for _ in range(subsets):
        x = real[rng.choice(len(real), size, replace=False)]
        y = fake[rng.choice(len(fake), size, replace=False)]
        values.append(others(kernel(x, x)) + others(kernel(y, y)) - 2 * kernel(x, y).mean())
    return float(np.mean(values)), float(np.std(values))


def precision_recall(real: np.ndarray, fake: np.ndarray, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019, eq. 2), both in [0, 1].

    Precision is the share of fake [M, D] inside a ball around some real one, recall the share of real [N, D] inside a
    ball around some fake one. A ball reaches to the k-th nearest neighbour within its own set; its surface is left out
    (the paper has it in), so that a generator of one picture, with balls of radius 0, recalls nothing.
    """
    real, fake = _pair(real, fake, least=k + 1)
    real_radii, fake_radii = _squared_radii(real, k), _squared_radii(fake, k)
    precise, recalled = np.zeros(len(fake), bool), np.zeros(len(real), bool)
    for rows, squared in distance_blocks(real, fake, margin=ROUNDING):
        precise |= (squared < real_radii[rows, None]).any(axis=0)
        recalled[rows] = (squared < fake_radii[None, :]).any(axis=1)
    return float(precise.mean()), float(recalled.mean())


def density_coverage(real: np.ndarray, fake: np.ndarray, k: int = 5) -> tuple[float, float]:
    """Density (at least 0, near 1 for a perfect generator) and coverage (in [0, 1]) (Naeem et al. 2020, section 3).

    Density is the mean number of balls of real [N, D] that a fake [M, D] is in, over k; coverage the share of balls
    that hold a fake. A ball reaches to the k-th nearest real neighbour, its surface left out: copies have density 1.
    """
    real, fake = _pair(real, fake, least=k + 1)
    radii = _squared_radii(real, k)
    inside, covered = 0, np.zeros(len(real), bool)
    for rows, squared in distance_blocks(real, fake, margin=ROUNDING):
        held = squared < radii[rows, None]
        inside += int(held.sum())
        covered[rows] = held.any(axis=1)
    return inside / (k * len(fake)), float(covered.mean())


def diversity(features: np.ndarray) -> float:
    """Mean Euclidean distance of two different features of [N, D]; 0 where all are the same."""
    features, _ = _pair(features, features, least=2)
    total = sum(float(np.sqrt(squared).sum()) for _, squared in distance_blocks(features, features))
    return total / (len(features) * (len(features) - 1))


def distance_blocks(rows: np.ndarray, columns: np.ndarray, margin: float = 0) -> Iterator[tuple[slice, np.ndarray]]:
    """Squared Euclidean distances from rows [N, D] to columns [M, D], some rows at a time: (which rows, [n, M]).

    `margin` times both squared lengths (from the columns' mean) is added: a distance that is *below* another by less
    than rounding, as between copies, is then not below it.
    """
    centre = columns.mean(axis=0, dtype=np.float64)  # lengths cancel in the difference: keep them short
    columns = columns - centre
    lengths = einsum(columns, columns, "m d, m d -> m")
    step = max(1, BLOCK // max(columns.shape))
    for start in range(0, len(rows), step):
        part = rows[start : start + step] - centre
        squared = (einsum(part, part, "n d, n d -> n")[:, None] + lengths[None, :]) * (1 + margin)
        squared -= 2 * (part @ columns.T)
        yield slice(start, start + len(part)), np.maximum(squared, 0, out=squared)


def checked(features: np.ndarray, least: int = 0, dimension: int | None = None) -> None:
    """Raises where features are not [N, `dimension`] (ValueError), not finite, or fewer than `least` (UserError)."""
    if np.ndim(features) != 2 or dimension not in (None, np.shape(features)[1]):
        raise ValueError(f"features of shape {np.shape(features)}, expected [N, {dimension or 'D'}]")
    if len(features) < least:
        raise UserError(f"a figure of the evaluation needs at least {least} pictures, not {len(features)}: judge more")
    if not all(np.isfinite(features[start : start + ROWS]).all() for start in range(0, len(features), ROWS)):
        raise UserError("features are not finite: the pictures or the feature network's weights are broken")


def _pair(real: np.ndarray, fake: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
    checked(real, least)
    checked(fake, least, dimension=real.shape[1])
    return np.asarray(real, np.float64), np.asarray(fake, np.float64)


def _factor(covariance: np.ndarray) -> np.ndarray:
    """F [D, rank] with `F Fᵀ = covariance`, without the directions that hold nothing but rounding."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > values[-1] * len(values) * np.finfo(np.float64).eps
    return vectors[:, kept] * np.sqrt(values[kept])


def _squared_radii(features: np.ndarray, k: int) -> np.ndarray:
    """Squared distance [N] of each feature to its k-th nearest other."""
    radii = np.empty(len(features))
    for rows, squared in distance_blocks(features, features):
        radii[rows] = np.partition(squared, k, axis=1)[:, k]  # the 0-th is the feature itself
    return radii
