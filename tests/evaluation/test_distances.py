"""Distances against independent implementations and closed forms, and controls that must come out badly."""

import tracemalloc

import numpy as np
import pytest
import scipy.linalg
from sklearn.metrics.pairwise import polynomial_kernel

from t2i_jax.errors import UserError
from t2i_jax.evaluation import distances

RNG = np.random.default_rng(0)
MIX = RNG.normal(size=(8, 8))
REAL = RNG.normal(size=(300, 8)) @ MIX + 3
FAKE = RNG.normal(size=(200, 8)) @ (MIX + 0.3 * RNG.normal(size=(8, 8))) + 2.5


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def scipy_frechet(a, b):
    """The textbook formula with a general matrix root; holds for regular covariances."""
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(first @ second)
    return np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2) + np.trace(first + second - 2 * root.real)


def frechet(a, b):
    return distances.frechet(distances.moments(a), distances.moments(b))


def sklearn_kernel_distance(x, y):
    options = dict(degree=3, gamma=1 / x.shape[1], coef0=1)
    within = []
    for features in (x, y):
        kernel = polynomial_kernel(features, **options)
        within.append(kernel[~np.eye(len(kernel), dtype=bool)].mean())
    return sum(within) - 2 * polynomial_kernel(x, y, **options).mean()


@pytest.mark.parametrize("dimension", [2, 8, 64])
def test_frechet_against_scipy(dimension, rng):
    real = rng.normal(size=(400, dimension)) @ rng.normal(size=(dimension, dimension))
    fake = rng.normal(size=(300, dimension)) @ rng.normal(size=(dimension, dimension)) + 0.5
    np.testing.assert_allclose(frechet(real, fake), scipy_frechet(real, fake), rtol=1e-8)
    np.testing.assert_allclose(frechet(fake, real), frechet(real, fake), rtol=1e-10)


def test_frechet_of_gaussians_on_shared_axes_has_a_closed_form():
    """`Σ (m - n)² + (σ - τ)²`, some of the deviations zero."""
    deviations, others = np.array([2.0, 1.0, 0.0, 0.5]), np.array([1.0, 0.0, 0.0, 3.0])
    cross = np.concatenate([np.eye(4), -np.eye(4)]) * np.sqrt(7 / 2)  # mean 0, unbiased covariance I
    a, b = cross * deviations, cross * others + np.array([1.0, 0, -2, 0])
    np.testing.assert_allclose(frechet(a, b), 5 + np.sum((deviations - others) ** 2), rtol=1e-12)


@pytest.mark.parametrize("real_rank, fake_rank", [(8, 8), (8, 200), (200, 200)])
def test_frechet_of_fewer_pictures_than_dimensions(real_rank, fake_rank, rng):
    """Singular covariances. With deviations X [N, D] and Y [M, D], the trace of the root is the sum of the singular
    values of `X Yᵀ` over `((N - 1)(M - 1))^½`, without any covariance."""
    spread, turn = np.exp(-np.arange(200) / 20), np.linalg.qr(rng.normal(size=(200, 200)))[0]
    draw = lambda count, rank: rng.normal(size=(count, rank)) * spread[:rank] @ turn[:rank]
    real, fake = draw(60, real_rank), draw(50, fake_rank)
    x, y = real - real.mean(axis=0), fake - fake.mean(axis=0)
    root = np.linalg.svd(x @ y.T, compute_uv=False).sum() / np.sqrt(59 * 49)
    expected = np.sum((real.mean(axis=0) - fake.mean(axis=0)) ** 2) + np.sum(x**2) / 59 + np.sum(y**2) / 49 - 2 * root
    np.testing.assert_allclose(frechet(real, fake), expected, rtol=1e-12)
    assert isinstance(frechet(real, fake), float) and 0 <= frechet(real, real[::-1]) < 1e-12


def test_frechet_between_single_points_is_their_squared_distance():
    assert frechet(np.zeros((5, 3)), np.full((4, 3), 2.0)) == 12


def test_moments_of_a_stream_are_those_of_the_whole(monkeypatch, rng):
    """Far from zero and in float32, where a sum of squares would have lost the covariance."""
    features = (rng.normal(size=(1000, 5)) + 1000).astype(np.float32)
    whole = np.asarray(features, np.float64)
    for rows in (distances.ROWS, 7):
        monkeypatch.setattr(distances, "ROWS", rows)
        stream = distances.Moments(5)
        for part in np.split(features, [0, 1, 64, 999]):
            stream.update(part)
        assert stream.count == 1000 and stream.mean.dtype == stream.covariance.dtype == np.float64
        np.testing.assert_allclose(stream.mean, whole.mean(axis=0), rtol=1e-13)
        np.testing.assert_allclose(stream.covariance, np.cov(whole, rowvar=False), rtol=1e-9, atol=1e-11)


def test_kernel_distance_against_scikit_learn():
    mean, deviation = distances.kernel_distance(REAL, FAKE[:, ::-1], subsets=7, size=50, seed=3)
    rng = np.random.default_rng(3)
    pick = lambda features: features[rng.choice(len(features), 50, replace=False)]
    expected = [sklearn_kernel_distance(pick(REAL), pick(FAKE[:, ::-1])) for _ in range(7)]
    np.testing.assert_allclose(mean, np.mean(expected), rtol=1e-9)
    np.testing.assert_allclose(deviation, np.std(expected), rtol=1e-9)


def test_kernel_distance_takes_no_more_than_there_is():
    whole, deviation = distances.kernel_distance(REAL[:200], FAKE, subsets=2)
    np.testing.assert_allclose(whole, sklearn_kernel_distance(REAL[:200], FAKE), rtol=1e-9)
    assert deviation < 1e-12 * whole


def test_kernel_distance_of_one_distribution_is_zero_on_average(rng):
    """Counting each picture as its own neighbour would lift it by `2 (E k(x, x) - E k(x, y)) / N`."""
    values = [distances.kernel_distance(*rng.normal(size=(2, 20, 8)), subsets=1)[0] for _ in range(400)]
    error = np.std(values) / np.sqrt(400)
    assert abs(np.mean(values)) < 4 * error < 2 * (8 - 1) / 20 / 4


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_precision_recall_density_coverage_against_prdc(k, dtype, capsys, monkeypatch):
    prdc = pytest.importorskip("prdc", reason="the reference implementation, of the extra parity")
    monkeypatch.setattr(distances, "BLOCK", 1700)  # several blocks, the last one ragged
    real, fake = REAL.astype(dtype), FAKE.astype(dtype)
    expected = prdc.compute_prdc(real, fake, nearest_k=k)
    assert 0 < expected["recall"] < 1 and 0 < expected["coverage"] < 1
    found = dict(zip(("precision", "recall"), distances.precision_recall(real, fake, k)))
    found |= dict(zip(("density", "coverage"), distances.density_coverage(real, fake, k)))
    assert found == pytest.approx(expected, rel=1e-9)


def test_precision_recall_density_coverage_on_a_line():
    """Worked out by hand: the real balls are (-1, 1), (0, 2) and (1, 5), the fake ones reach half a unit each way."""
    real, fake = np.array([[0.0], [1], [3]]), np.array([[0.5], [0], [7], [7.5]])
    assert distances.precision_recall(real, fake, k=1) == pytest.approx((2 / 4, 1 / 3))
    assert distances.density_coverage(real, fake, k=1) == pytest.approx((3 / 4, 2 / 3))


@pytest.mark.parametrize("offset", [0, 1e4])
def test_copies_are_counted_alike_wherever_they_stand(offset, rng):
    """Balls end where the next copy stands: rounding must not decide whether it is in."""
    real = rng.normal(size=(64, 32)) + offset
    copies = rng.permutation(real)
    assert distances.precision_recall(real, copies) == (1, 1)
    assert distances.density_coverage(real, copies) == (1, 1)


def test_diversity_is_the_mean_distance_of_pairs(monkeypatch):
    monkeypatch.setattr(distances, "BLOCK", 64)
    assert distances.diversity(np.array([[0.0, 0], [3, 4], [0, 8]])) == pytest.approx((5 + 8 + 5) / 3)
    pairs = [np.linalg.norm(a - b) for i, a in enumerate(FAKE[:30]) for b in FAKE[:i]]
    assert distances.diversity(FAKE[:30]) == pytest.approx(np.mean(pairs), rel=1e-9)
    assert distances.diversity(FAKE[:30] + 1e7) == pytest.approx(np.mean(pairs), rel=1e-7)  # wherever they stand


def test_a_collapsed_generator_is_caught(rng):
    """One good picture drawn over and over: precise, but nothing is covered."""
    good, collapsed = rng.normal(size=(300, 8)) @ MIX + 3, np.repeat(REAL[:1], 300, axis=0)
    assert distances.precision_recall(REAL, collapsed) == (1, 0)
    assert distances.precision_recall(REAL, good)[1] > 0.8
    assert distances.density_coverage(REAL, collapsed)[1] < 0.1 < 0.8 < distances.density_coverage(REAL, good)[1]
    assert distances.diversity(collapsed) < 1e-9 and distances.diversity(good) > 0.9 * distances.diversity(REAL)


def test_noise_and_mean_pictures_are_the_farthest(rng):
    """Features of pictures lie near a surface of few dimensions: noise lies off it, the mean picture is one point."""
    surface = rng.normal(size=(4, 32))
    draw = lambda count: np.tanh(rng.normal(size=(count, 4)) @ surface)
    real = draw(500)
    far = {
        "good": draw(400),
        "collapsed to a tenth": np.repeat(draw(40), 10, axis=0),
        "blurred": 0.7 * draw(400),
        "mean": np.repeat(real.mean(axis=0, keepdims=True), 400, axis=0),
        "noise": rng.uniform(-1, 1, size=(400, 32)),
    }
    for distance in (frechet, lambda a, b: distances.kernel_distance(a, b, subsets=3)[0]):
        order = sorted(far, key=lambda name: distance(real, far[name]))
        assert order[0] == "good" and set(order[-2:]) == {"mean", "noise"}


@pytest.mark.parametrize("figure", [distances.precision_recall, distances.density_coverage])
def test_memory_is_bounded(figure, monkeypatch, rng):
    """A few blocks and a few copies of the features, never all pairs, which would be 32 blocks here."""
    monkeypatch.setattr(distances, "BLOCK", 2**16)
    real, fake = rng.normal(size=(2, 1500, 16)).astype(np.float32)
    tracemalloc.start()
    figure(real, fake)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 8 * 2**16 + 6 * 8 * real.size


def test_sets_that_cannot_be_judged_are_refused():
    with pytest.raises(UserError, match="at least 2 pictures, not 1"):
        frechet(REAL[:1], FAKE)
    with pytest.raises(UserError, match="at least 4 pictures, not 3"):
        distances.precision_recall(REAL, FAKE[:3])
    with pytest.raises(UserError, match="at least 6 pictures, not 5"):
        distances.density_coverage(REAL[:5], FAKE)
    for figure in (distances.kernel_distance, distances.precision_recall, distances.density_coverage):
        with pytest.raises(ValueError, match="expected"):
            figure(REAL, FAKE[:, :7])
    with pytest.raises(ValueError, match="dimensions"):
        frechet(REAL, FAKE[:, :7])
    broken = FAKE.copy()
    broken[-1, 0] = np.nan
    for figure in (frechet, distances.kernel_distance, distances.precision_recall, distances.density_coverage):
        with pytest.raises(UserError, match="not finite"):
            figure(REAL, broken)
