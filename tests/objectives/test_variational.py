"""Likelihoods that integrate to one, the Gaussian KL, and the joint objective by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2i_jax.keys import per_example
from t2i_jax.objectives import variational


@pytest.mark.parametrize("nll", [variational.gaussian_nll, variational.laplace_nll])
@pytest.mark.parametrize("log_scale", [0.0, -0.7])
def test_densities_integrate_to_one(nll, log_scale):
    with jax.enable_x64(True):
        grid = jnp.linspace(-40, 40, 800_001)
        density = jnp.exp(-nll(grid[:, None], jnp.full((len(grid), 1), 0.3), log_scale))
        np.testing.assert_allclose(jnp.trapezoid(density, grid), 1, rtol=1e-6)


def test_likelihoods_by_hand_summed_over_everything_but_the_batch():
    rng = np.random.default_rng(0)
    x, mean = rng.uniform(-1, 1, (2, 3, 4, 1)), rng.normal(size=(2, 3, 4, 1))
    total = lambda values: values.sum((1, 2, 3))
    gaussian = total((x - mean) ** 2 / (2 * 0.25) + np.log(0.5) + np.log(2 * np.pi) / 2)
    laplace = total(np.abs(x - mean) / 0.5 + np.log(2 * 0.5))
    y, p = (x + 1) / 2, 1 / (1 + np.exp(-mean))
    bernoulli = total(-y * np.log(p) - (1 - y) * np.log(1 - p))
    with jax.enable_x64(True):
        x, mean = jnp.array(x), jnp.array(mean)
        np.testing.assert_allclose(variational.gaussian_nll(x, mean, jnp.log(0.5)), gaussian, rtol=1e-12)
        np.testing.assert_allclose(variational.laplace_nll(x, mean, jnp.log(0.5)), laplace, rtol=1e-12)
        np.testing.assert_allclose(variational.bernoulli_nll(x, mean), bernoulli, rtol=1e-12)
    assert variational.bernoulli_nll(x.astype(jnp.bfloat16), mean.astype(jnp.bfloat16)).dtype == jnp.float32


def test_black_and_white_probabilities_sum_to_one():
    nll = variational.bernoulli_nll(jnp.array([[-1.0], [1.0]]), jnp.full((2, 1), 0.8))
    np.testing.assert_allclose(jnp.exp(-nll).sum(), 1, rtol=1e-6)


def test_kl_against_the_integral():
    mean, log_variance = 0.7, -0.9
    with jax.enable_x64(True):
        z = jnp.linspace(-30, 30, 300_001)
        q = jnp.exp(-((z - mean) ** 2) / (2 * jnp.exp(log_variance))) / jnp.sqrt(2 * jnp.pi * jnp.exp(log_variance))
        log_q = -((z - mean) ** 2) / (2 * jnp.exp(log_variance)) - jnp.log(2 * jnp.pi) / 2 - log_variance / 2
        expected = jnp.trapezoid(q * (log_q + z**2 / 2 + jnp.log(2 * jnp.pi) / 2), z)
        kl = variational.kl_standard_normal(jnp.full((2, 3), mean), jnp.full((2, 3), log_variance))
        np.testing.assert_allclose(kl, [3 * expected] * 2, rtol=1e-9)
        np.testing.assert_allclose(variational.kl_standard_normal(jnp.zeros((2, 3)), jnp.zeros((2, 3))), 0)


def test_sample_has_the_moments_and_the_reparameterised_gradients():
    keys = per_example(jax.random.key(0), 20_000)
    mean, log_variance = jnp.full((20_000, 2), 0.5), jnp.full((20_000, 2), -1.0)
    z = variational.sample(mean, log_variance, keys)
    np.testing.assert_allclose(z.mean(0), 0.5, atol=0.02)
    np.testing.assert_allclose(z.std(0), np.exp(-0.5), atol=0.02)
    by_mean, by_log_variance = jax.grad(lambda m, v: variational.sample(m, v, keys).sum(), (0, 1))(mean, log_variance)
    np.testing.assert_allclose(by_mean, 1)
    np.testing.assert_allclose(by_log_variance, (z - mean) / 2, atol=1e-6)


def test_a_draw_depends_on_its_own_key_only():
    keys = per_example(jax.random.key(0), 4)
    z = variational.sample(jnp.zeros((4, 3)), jnp.zeros((4, 3)), keys)
    np.testing.assert_array_equal(variational.sample(jnp.zeros((1, 3)), jnp.zeros((1, 3)), keys[2:3]), z[2:3])


def test_joint_objective_by_hand():
    at_mean, at_sample, kl = jnp.array([1.0, 3.0]), jnp.array([2.0, 6.0]), jnp.array([0.5, 1.5])
    vae = variational.vae(at_mean, at_sample, kl, decoder_weight=0.5, kl_weight=0.1)
    np.testing.assert_allclose(vae, 2 + 0.5 * 4 + 0.1 * 1, rtol=1e-6)
    joint = variational.joint(jnp.float32(0.7), jnp.float32(1.3), vae, discriminator_weight=2.0, vae_weight=0.01)
    np.testing.assert_allclose(joint, 0.7 + 2 * 1.3 + 0.01 * 4.1, rtol=1e-6)
    generated = variational.vae_on_generated(at_mean, kl, vae_weight=0.01, kl_weight=0.1)
    np.testing.assert_allclose(generated, 0.01 * (2 + 0.1 * 1), rtol=1e-6)
