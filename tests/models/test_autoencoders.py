"""The autoencoder and its start: principal components as NumPy finds them, residuals that start at zero."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2i_jax.models.autoencoders import Autoencoder, start_as_pca
from t2i_jax.paths import flat

SMALL = {"encoder_hidden": 12, "width": 12, "hidden": 12, "blocks": 1}


def pictures(count, shape=(8, 8, 3), rank=None, rest=0.0, falling=0.8):
    """Pictures with a falling spectrum, as real ones have; after `rank` directions only `rest` of each remains."""
    rng = np.random.default_rng(0)
    size = int(np.prod(shape))
    directions = np.linalg.qr(rng.normal(size=(size, min(size, count))))[0].T
    order = np.arange(len(directions))
    strength = falling**order * np.where(order < (rank or size), 1, rest)
    flat_ = rng.normal(size=(count, len(directions))) * strength @ directions * 3 + 0.2
    return jnp.asarray(flat_.reshape(count, *shape), jnp.float32)


def pca(images, rank):
    """Reconstruction from the leading `rank` principal components, in NumPy."""
    pixels = np.asarray(images, np.float64).reshape(len(images), -1)
    mean = pixels.mean(0)
    u, s, v = np.linalg.svd(pixels - mean, full_matrices=False)
    return ((u[:, :rank] * s[:rank]) @ v[:rank] + mean).reshape(images.shape)


def started(images, latent):
    model = Autoencoder(images.shape[1:], latent, **SMALL)
    params = jax.jit(model.init)(jax.random.key(0), images)["params"]
    return model, params, jax.jit(start_as_pca)(params, images, jax.random.key(1))


@functools.partial(jax.jit, static_argnums=(0, 3))
def apply(model, params, x, method=None):
    return model.apply({"params": params}, x, method=method)


@pytest.fixture(scope="module")
def fitted():
    images = pictures(60, rank=10, rest=0.5)
    return images, *started(images, 10)


def test_the_start_reconstructs_as_principal_components_do(fitted):
    images, model, _, params = fitted
    made, expected = np.asarray(apply(model, params, images)), pca(images, 10)
    assert np.abs(expected - np.asarray(images)).max() > 0.02  # ten components are not all
    np.testing.assert_allclose(made, expected, atol=2e-3)


def test_where_the_spectrum_has_no_gap_the_start_is_nearly_as_good():
    images = pictures(200, falling=0.98)
    model, _, params = started(images, 20)
    error = lambda made: ((made - np.asarray(images)) ** 2).mean()
    assert 1 - 1e-5 < error(apply(model, params, images)) / error(pca(images, 20)) < 1.05


def test_latents_start_with_mean_0_and_mean_square_1(fitted):
    images, model, _, params = fitted
    mean, log_variance = apply(model, params, images, "encode")
    np.testing.assert_allclose(mean.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(jnp.mean(mean**2), 1, rtol=1e-4)
    np.testing.assert_array_equal(log_variance, np.full((60, 10), -5.0))  # nearly no noise at first


def test_only_the_linear_paths_are_set_and_residuals_start_at_zero(fitted):
    images, model, before, after = fitted
    changed = {path.split("/")[0] for path in flat(before) if not np.array_equal(flat(before)[path], flat(after)[path])}
    assert changed == {"linear_encoder", "linear_decoder"}
    assert not np.any(after["encoder_out"]["kernel"]) and not np.any(after["decoder_out"]["kernel"])
    after = jax.tree.map(np.asarray, after)
    pixels = np.asarray(images).reshape(60, -1)
    latents = pixels @ after["linear_encoder"]["kernel"] + after["linear_encoder"]["bias"]
    np.testing.assert_allclose(apply(model, after, images, "encode")[0], latents, atol=1e-5)
    made = latents @ after["linear_decoder"]["kernel"] + after["linear_decoder"]["bias"]
    np.testing.assert_allclose(apply(model, after, latents, "decode").reshape(60, -1), made, atol=1e-5)


def test_both_residuals_get_gradients_from_the_start(fitted):
    images, model, _, params = fitted
    grads = jax.jit(jax.grad(lambda p: jnp.mean((apply(model, p, images) - images[::-1]) ** 2)))(params)
    for last in ("encoder_out", "decoder_out"):
        assert jnp.abs(grads[last]["kernel"]).max() > 1e-6, last


def test_fewer_pictures_than_latent_dimensions_reconstruct_exactly():
    images = pictures(6)
    model, _, params = started(images, 20)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(params))
    np.testing.assert_allclose(apply(model, params, images), images, atol=1e-4)


def test_one_picture_repeated_is_finite_and_exact():
    images = jnp.tile(pictures(1), (5, 1, 1, 1))
    model, _, params = started(images, 20)
    made = apply(model, params, images)
    np.testing.assert_allclose(made, images, atol=1e-4)


@pytest.mark.parametrize("shape", [(8, 16, 1), (64, 64, 3)])
def test_oblong_grey_and_large_pictures(shape):
    images = pictures(12, shape)
    model, _, params = started(images, 16)
    mean, log_variance = apply(model, params, images, "encode")
    assert mean.shape == log_variance.shape == (12, 16)
    np.testing.assert_allclose(apply(model, params, mean, "decode"), images, atol=2e-3)


def test_bfloat16_and_recomputation(fitted):
    images, model, _, params = fitted
    params = jax.tree.map(lambda p: p + 0.01, params)  # residuals at work
    exact = apply(model, params, images)
    half = Autoencoder((8, 8, 3), 10, **SMALL, dtype=jnp.bfloat16)
    fresh = jax.eval_shape(half.init, jax.random.key(0), images)
    assert {p.dtype for p in jax.tree.leaves(fresh)} == {jnp.dtype("float32")}
    rough = apply(half, params, images)
    assert rough.dtype == jnp.bfloat16
    assert 1e-4 < jnp.abs(rough - exact).max() < 0.02 * jnp.abs(exact).max() + 0.02
    remat = Autoencoder((8, 8, 3), 10, **SMALL, remat=True)
    np.testing.assert_allclose(apply(remat, params, images), exact, atol=1e-6)
