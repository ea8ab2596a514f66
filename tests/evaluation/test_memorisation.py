"""Nearest training pictures against a plain search, and copies that are flagged where unseen pictures are not."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from t2i_jax.errors import UserError
from t2i_jax.evaluation import distances, memorisation

RNG = np.random.default_rng(0)
SHAPE = (8, 8, 3)
VALUES = int(np.prod(SHAPE))
TRAIN = RNG.uniform(-1, 1, (120, VALUES)).astype(np.float32)
UNSEEN = RNG.uniform(-1, 1, (50, VALUES)).astype(np.float32)


@pytest.fixture
def rng():
    return np.random.default_rng(1)


@pytest.mark.parametrize("block", [distances.BLOCK, 3000])
def test_nearest_against_a_plain_search(block, monkeypatch):
    monkeypatch.setattr(distances, "BLOCK", block)
    monkeypatch.setattr(memorisation, "BLOCK", block)
    index, distance = memorisation.nearest(TRAIN, UNSEEN)
    every = cdist(UNSEEN.astype(np.float64), TRAIN.astype(np.float64))
    np.testing.assert_array_equal(index, every.argmin(axis=1))
    np.testing.assert_allclose(distance, every.min(axis=1), rtol=1e-12)


def test_uint8_pictures_do_not_wrap_around():
    reference, queries = np.array([[[250, 0], [9, 0]], [[0, 0], [255, 1]]], np.uint8)
    index, distance = memorisation.nearest(reference, queries)
    np.testing.assert_array_equal(index, [1, 0])
    np.testing.assert_allclose(distance, [9, np.sqrt(26)])


def test_a_copy_is_at_distance_zero_and_a_tiny_change_is_not_lost(rng):
    """Differences of a millionth of a feature's length would drown in `a² - 2ab + b²`."""
    reference = rng.normal(size=(30, 64)) + 100
    index, distance = memorisation.nearest(reference, reference[::-1])
    np.testing.assert_array_equal(index, np.arange(30)[::-1])
    assert np.all(distance == 0)
    moved = reference + 1e-7 / 8
    np.testing.assert_allclose(memorisation.nearest(reference, moved)[1], 1e-7, rtol=1e-6)


def test_copied_training_pictures_are_flagged_and_unseen_ones_are_not(rng):
    """With the noise of an autoencoder of 28 dB, and beside as many new pictures, half are near-copies."""
    noise = 2 * 10 ** (-28 / 20) * rng.normal(size=(50, VALUES))
    threshold = memorisation.pixel_threshold(VALUES)
    share = lambda queries: memorisation.near_copies(memorisation.nearest(TRAIN, queries)[1], threshold)
    assert share(TRAIN[:50]) == 1
    assert share(TRAIN[50:100] + noise) == 1
    assert share(UNSEEN) == 0
    assert share(np.concatenate([UNSEEN, TRAIN[50:100] + noise])) == 0.5


def test_pixel_threshold_is_a_twentieth_of_the_range():
    black, grey = np.full((1, VALUES), -1.0), np.full((1, VALUES), -1 + 2 * 0.05)
    distance = memorisation.nearest(black, grey)[1]
    assert memorisation.pixel_threshold(VALUES) == pytest.approx(distance[0])
    assert memorisation.pixel_threshold(VALUES, span=255) == pytest.approx(distance[0] * 127.5)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(UserError, match="at least 1"):
        memorisation.nearest(TRAIN[:0], UNSEEN)
    with pytest.raises(UserError, match="not finite"):
        memorisation.nearest(TRAIN, UNSEEN * np.float32(np.inf))
    with pytest.raises(ValueError, match="expected"):
        memorisation.nearest(TRAIN, UNSEEN[:, 1:])
