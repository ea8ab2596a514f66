"""Figures that are watched: against closed forms, and blind to gradients."""

import jax
import jax.numpy as jnp
import numpy as np

from t2i_jax.objectives import diagnostics


def test_accuracies_judge_from_midway_between_the_means():
    real, fake = jnp.array([5.0, 3.0, 0.0, 4.0]), jnp.array([1.0, 4.0, -1.0, 0.0])  # means 3 and 1: border 2
    assert [float(x) for x in diagnostics.accuracies(real, fake)] == [0.75, 0.75]
    shifted = diagnostics.accuracies(real + 100, fake + 100)
    assert [float(x) for x in shifted] == [0.75, 0.75]


def test_a_constant_discriminator_tells_half():
    flat = jnp.full(6, 3.0)
    assert {float(x) for x in diagnostics.game(flat, flat).values()} == {0.5}


def test_pairs_told_counts_pairs_and_ties_by_half():
    real, fake = jnp.array([5.0, -3.0, 0.0, 1.0]), jnp.array([6.0, -4.0, 0.0, -9.0])
    assert float(diagnostics.pairs_told(real, fake)) == 2.5 / 4


def test_spread_is_the_root_of_the_total_variance():
    z = np.random.default_rng(0).normal(3, 2, (50, 7))
    np.testing.assert_allclose(diagnostics.spread(jnp.asarray(z)), np.sqrt(np.trace(np.cov(z.T, bias=True))), rtol=1e-5)


def test_mean_norm():
    assert float(diagnostics.mean_norm(jnp.array([[3.0, 4.0], [0.0, 1.0]]))) == 3.0


def test_draws_that_ignore_noise_or_captions_are_told_apart():
    rng = np.random.default_rng(1)
    captions, noise, other = (jnp.asarray(rng.normal(0, 1, (4096, 4)), jnp.float32) for _ in range(3))
    few = slice(None, None, 2)
    terms = lambda fake, again: diagnostics.draws(2 * captions, fake, again[few], few)
    deaf = terms(2 * captions, 2 * captions)
    assert float(deaf["diversity"]) == 0 and np.isclose(deaf["deviation"], 1)
    np.testing.assert_allclose(terms(2 * noise, 2 * other)["diversity"], 1, rtol=0.05)
    half = terms(captions + noise, captions + other)  # half of the variance is each one's
    np.testing.assert_allclose(half["diversity"], 0.5, rtol=0.05)
    np.testing.assert_allclose(half["deviation"], 0.5**0.5, rtol=0.05)
    collapsed = terms(0 * noise + 1, 0 * noise + 1)
    assert float(collapsed["deviation"]) < 1e-6 and np.isclose(collapsed["norm_fake"], 2)


def test_ratios_of_silence_are_finite():
    assert float(diagnostics.ratio(jnp.float32(0), jnp.float32(0))) == 0


def test_active_units_counts_dimensions_whose_mean_moves():
    means = np.zeros((100, 4))
    means[:, 0] = np.linspace(-1, 1, 100)  # variance 0.34
    means[:, 1] = np.linspace(-0.1, 0.1, 100)  # 0.0034
    means[:, 2] = 5
    assert float(diagnostics.active_units(jnp.asarray(means))) == 0.25


def test_codebook_usage_of_even_and_of_rare_codes():
    even = diagnostics.codebook_usage(jnp.arange(8).reshape(2, 4) % 4, 16)
    np.testing.assert_allclose([even["perplexity"], even["used"]], [4 / 16, 4 / 16], rtol=1e-6)
    share = np.array([0.75, 0.25])
    uneven = diagnostics.codebook_usage(jnp.array([3, 3, 3, 0]), 5)
    np.testing.assert_allclose(uneven["perplexity"], np.prod(share**-share) / 5, rtol=1e-6)
    np.testing.assert_allclose(uneven["used"], 2 / 5, rtol=1e-6)
    collapsed = diagnostics.codebook_usage(jnp.full((3, 3), 2), 4)
    np.testing.assert_allclose([collapsed["perplexity"], collapsed["used"]], [1 / 4, 1 / 4], rtol=1e-6)


def test_no_gradient_passes():
    z, again = jax.random.normal(jax.random.key(0), (2, 8, 3))
    watched = lambda z: sum(diagnostics.draws(z, 2 * z, again, slice(None)).values()) + sum(
        diagnostics.game(z[:, 0], z[:, 1]).values()) + diagnostics.active_units(z)
    assert not np.any(jax.grad(watched)(z))
