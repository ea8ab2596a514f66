"""Gradient penalties of critics whose gradients are known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np

from t2i_jax.keys import per_example
from t2i_jax.objectives import penalty

X = np.random.default_rng(0).normal(size=(5, 2, 3))
A = np.random.default_rng(1).normal(size=(6, 6))
b = np.random.default_rng(2).normal(size=6)


def quadratic(parameters, x):
    """`½ uᵀAu + bᵀu` of each flattened example u; its gradient is `½ (A + Aᵀ) u + b`."""
    flat = x.reshape(len(x), -1)
    matrix, vector = parameters
    return jnp.einsum("bi,ij,bj->b", flat, matrix, flat) / 2 + flat @ vector


def quadratic_gradient(x):
    return x.reshape(len(x), -1) @ (A + A.T) / 2 + b


def test_gradient_penalty_of_a_quadratic():
    expected = (quadratic_gradient(X) ** 2).sum(1)
    with jax.enable_x64(True):
        critic = lambda x: quadratic((jnp.array(A), jnp.array(b)), x)
        np.testing.assert_allclose(penalty.squared_gradient_norm(critic, jnp.array(X)), expected, rtol=1e-12)
        np.testing.assert_allclose(penalty.gradient_penalty(critic, jnp.array(X)), expected.mean(), rtol=1e-12)


def test_gradient_penalty_differentiated_by_the_critics_parameters():
    """d/db E‖g‖² = 2 E g, and for A symmetric parts: 2 E ½ (g uᵀ + u gᵀ)."""
    gradient, flat = quadratic_gradient(X), X.reshape(5, 6)
    outer = np.einsum("bi,bj->ij", gradient, flat) / 5
    with jax.enable_x64(True):
        loss = lambda parameters: penalty.gradient_penalty(lambda x: quadratic(parameters, x), jnp.array(X))
        by_matrix, by_vector = jax.grad(loss)((jnp.array(A), jnp.array(b)))
        np.testing.assert_allclose(by_vector, 2 * gradient.mean(0), rtol=1e-12)
        np.testing.assert_allclose(by_matrix, outer + outer.T, rtol=1e-12)


def test_half_precision_images_are_penalised_in_float32():
    critic = lambda x: jnp.sum(x**2, axis=(1, 2)).astype(jnp.bfloat16)
    value = penalty.gradient_penalty(critic, jnp.array(X, jnp.bfloat16))
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, 4 * (X**2).sum((1, 2)).mean(), rtol=1e-2)


def finite_differences(critic, x, keys, sigma=0.01):
    return penalty.finite_difference_penalty(critic(x), critic(penalty.nudged(x, keys, sigma)), sigma)


def test_finite_differences_of_a_linear_critic_are_exact_and_share_noise_by_key():
    with jax.enable_x64(True):
        critic = lambda x: x.reshape(len(x), -1) @ jnp.array(b)
        keys = per_example(jax.random.key(3), 5)
        noise = jax.vmap(lambda key: jax.random.normal(key, (2, 3), jnp.float32))(keys)
        expected = np.mean((np.asarray(noise, np.float64).reshape(5, 6) @ b) ** 2)
        for x in (X, X + 1):
            np.testing.assert_allclose(finite_differences(critic, jnp.array(x), keys), expected, rtol=1e-9)


def test_finite_differences_approach_the_gradient_penalty_of_a_quadratic():
    many = jnp.tile(jnp.array(X, jnp.float32), (4000, 1, 1))
    critic = lambda x: quadratic((jnp.array(A, jnp.float32), jnp.array(b, jnp.float32)), x)
    estimate = finite_differences(critic, many, per_example(jax.random.key(0), len(many)))
    np.testing.assert_allclose(estimate, penalty.gradient_penalty(critic, many), rtol=0.03)


def test_finite_differences_differentiated_by_the_critics_parameters():
    with jax.enable_x64(True):
        keys = per_example(jax.random.key(3), 5)
        noise = np.asarray(jax.vmap(lambda key: jax.random.normal(key, (6,), jnp.float32))(keys), np.float64)
        loss = lambda vector: finite_differences(lambda x: x.reshape(len(x), -1) @ vector, jnp.array(X), keys)
        expected = 2 * np.mean((noise @ b)[:, None] * noise, axis=0)
        np.testing.assert_allclose(jax.grad(loss)(jnp.array(b)), expected, rtol=1e-9)


def test_wasserstein_penalty_of_linear_and_flat_critics():
    keys = per_example(jax.random.key(1), 5)
    with jax.enable_x64(True):
        loss = lambda vector: penalty.wasserstein_gradient_penalty(
            lambda x: x.reshape(len(x), -1) @ vector, jnp.array(X), jnp.array(X - 1), keys
        )
        np.testing.assert_allclose(loss(jnp.array(b)), (np.linalg.norm(b) - 1) ** 2, rtol=1e-9)
        expected = 2 * (1 - 1 / np.linalg.norm(b)) * b
        np.testing.assert_allclose(jax.grad(loss)(jnp.array(b)), expected, rtol=1e-9)
        np.testing.assert_allclose(loss(jnp.zeros(6)), 1, atol=1e-5)
        assert jnp.all(jnp.isfinite(jax.grad(loss)(jnp.zeros(6))))


def test_wasserstein_penalty_is_taken_between_the_two_images_at_a_point_given_by_the_key():
    """The critic ½‖x‖² has gradient x̂, so between x and 0 its norm is ε‖x‖."""
    keys = per_example(jax.random.key(1), 5)
    critic = lambda x: jnp.sum(x**2, axis=(1, 2)) / 2
    epsilon = np.asarray(jax.vmap(jax.random.uniform)(keys))
    expected = np.mean((epsilon * np.linalg.norm(X.reshape(5, 6), axis=1) - 1) ** 2)
    value = penalty.wasserstein_gradient_penalty(critic, jnp.array(X), jnp.zeros(X.shape), keys)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert len(set(epsilon.tolist())) == 5
