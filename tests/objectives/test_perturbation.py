"""The fast gradient sign method against closed forms and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np

from t2i_jax.objectives.perturbation import fast_gradient_sign

RNG = np.random.default_rng(0)


def test_a_linear_critic_gains_epsilon_times_the_weights_absolute_sum():
    weights = jnp.asarray(RNG.normal(size=(4, 4, 3)), jnp.float32)
    x = jnp.asarray(RNG.uniform(-0.5, 0.5, (5, 4, 4, 3)), jnp.float32)
    critic = lambda u: jnp.einsum("bhwc,hwc->b", u, weights, precision="highest")
    moved = fast_gradient_sign(critic, x, 0.1)
    np.testing.assert_allclose(moved, x + 0.1 * np.sign(weights)[None], atol=1e-6)
    np.testing.assert_allclose(critic(moved) - critic(x), 0.1 * np.abs(weights).sum(), rtol=1e-4)


def test_pixels_stay_within_their_range_and_flat_ones_stay_put():
    x = jnp.asarray([[1.0, -1.0, 0.95, 0.3]], jnp.float32)
    moved = fast_gradient_sign(lambda u: 5 * u[:, 0] - u[:, 1] + u[:, 2], x, 0.1)
    np.testing.assert_allclose(moved, [[1.0, -1.0, 1.0, 0.3]])


def test_directions_are_those_of_finite_differences():
    first, second = (jnp.asarray(RNG.normal(size=shape), jnp.float32) for shape in ((6, 8), (8,)))
    critic = lambda u: jnp.tanh(u @ first) @ second
    x = RNG.uniform(-0.5, 0.5, (3, 6)).astype(np.float32)
    moved = np.asarray(fast_gradient_sign(critic, jnp.asarray(x), 0.25))
    numpy_critic = lambda u: np.tanh(u @ np.asarray(first, np.float64)) @ np.asarray(second, np.float64)
    for place in range(6):
        step = np.zeros(6)
        step[place] = 1e-5
        slope = (numpy_critic(x + step) - numpy_critic(x - step)) / 2e-5
        assert np.abs(slope).min() > 1e-3
        np.testing.assert_allclose(moved[:, place] - x[:, place], 0.25 * np.sign(slope), atol=1e-6)


def test_each_example_is_perturbed_by_itself_and_as_a_constant():
    x = jnp.asarray(RNG.uniform(-1, 1, (4, 6)), jnp.float32)
    critic = lambda scale: lambda u: scale * jnp.sum(u**3 - u, axis=-1)
    together, alone = fast_gradient_sign(critic(1.0), x, 0.1), fast_gradient_sign(critic(1.0), x[2:3], 0.1)
    np.testing.assert_array_equal(together[2:3], alone)
    through = jax.grad(lambda scale: jnp.sum(fast_gradient_sign(critic(scale), x, 0.1) ** 2))
    assert through(1.0) == 0
    through_x = jax.grad(lambda x: jnp.sum(fast_gradient_sign(critic(1.0), x, 0.1)))(x)
    assert not np.any(through_x)
