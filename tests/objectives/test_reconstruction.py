"""The smoothed absolute error."""

import jax
import jax.numpy as jnp
import numpy as np

from t2i_jax.objectives.reconstruction import GREY_LEVEL, smooth_absolute


def test_it_is_the_absolute_error_far_away_and_quadratic_near():
    assert abs(smooth_absolute(jnp.zeros((2, 3)))) < 1e-8
    np.testing.assert_allclose(smooth_absolute(jnp.array([0.5, -1.5])), 1 - GREY_LEVEL, rtol=1e-3)
    np.testing.assert_allclose(smooth_absolute(jnp.float32(3e-3), scale=1.0), 3e-3**2 / 2, rtol=0.05)


def test_rounding_has_no_slope():
    slope = jax.grad(smooth_absolute)
    assert abs(slope(jnp.float32(6e-8))) < 1e-5
    np.testing.assert_allclose(slope(jnp.float32(0.5)), 1, rtol=1e-3)
    np.testing.assert_allclose(slope(jnp.float32(GREY_LEVEL)), 0.5**0.5, rtol=1e-5)
