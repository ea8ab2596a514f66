"""Flattening: a bilateral filter as its formula says; flat areas lose noise, edges stay."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2i_jax.models.smoothing import flatten

IMAGES = np.random.default_rng(0).uniform(-1, 1, (2, 5, 6, 3)).astype(np.float32)


@pytest.mark.parametrize("within, reach", [(0.3, 2), (0.3, 1), (2.0, 3)])
def test_every_pixel_by_the_formula(within, reach):
    expected = np.zeros_like(IMAGES, np.float64)
    for n, y, x in np.ndindex(2, 5, 6):
        total, weights = 0.0, 0.0
        for v in range(max(y - reach, 0), min(y + reach, 4) + 1):
            for u in range(max(x - reach, 0), min(x + reach, 5) + 1):
                colour = IMAGES[n, v, u].astype(np.float64) - IMAGES[n, y, x]
                weight = np.exp(-((v - y) ** 2 + (u - x) ** 2) / (2 * reach**2) - (colour @ colour) / (2 * within**2))
                total, weights = total + weight * IMAGES[n, v, u], weights + weight
        expected[n, y, x] = total / weights
    made = jax.jit(flatten, static_argnums=(1, 2))(IMAGES, within, reach)
    np.testing.assert_allclose(made, expected, atol=1e-6)
    assert np.abs(expected - IMAGES).max() > 0.05


def test_noise_in_flat_areas_goes_and_an_edge_stays():
    picture = np.where(np.arange(16)[:, None] < 8, 0.8, -0.2) * np.ones((1, 16, 16, 3))
    noise = np.random.default_rng(1).normal(0, 0.02, picture.shape)
    left = np.asarray(flatten(jnp.asarray(picture + noise, jnp.float32), 0.1)) - picture
    assert np.sqrt((left**2).mean()) < np.sqrt((noise**2).mean()) / 2
    assert np.abs(left).max() < 0.05
    np.testing.assert_allclose(flatten(jnp.asarray(picture, jnp.float32), 0.1), picture, atol=1e-6)


def test_pictures_do_not_depend_on_each_other():
    np.testing.assert_array_equal(flatten(jnp.asarray(IMAGES), 0.3)[1:], flatten(jnp.asarray(IMAGES[1:]), 0.3))
