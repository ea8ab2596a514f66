"""The refined autoencoder: principal components at the start, a refinement that is local, alike everywhere, and learns."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2i_jax.models.autoencoders import start_as_pca
from t2i_jax.models.refined_autoencoder import RefinedAutoencoder, Refinement

SHAPE, LATENT = (8, 12, 3), 6
MODEL = RefinedAutoencoder(SHAPE, LATENT, channels=5, blocks=2, step=2, log_variance=-5.0)
REFINEMENT = Refinement(channels=5, blocks=2, step=2)
IMAGES = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (9, *SHAPE)), jnp.float32)


def at_random(shapes):
    return jax.tree.map(lambda x: 0.2 * jax.random.normal(jax.random.key(7), x.shape), shapes)


FRESH = jax.jit(MODEL.init)(jax.random.key(0), IMAGES)["params"]
WEIGHTS = at_random(FRESH["refinement"])


@functools.partial(jax.jit, static_argnums=(0, 3))
def apply(model, params, x, method=None):
    return model.apply({"params": params}, x, method=method)


@functools.partial(jax.jit, static_argnums=0)
def refine(refinement, images):
    return refinement.apply({"params": WEIGHTS}, images)


def test_the_start_returns_pictures_as_principal_components_do():
    params = jax.jit(start_as_pca)(FRESH, IMAGES, jax.random.key(1))
    pixels = np.asarray(IMAGES, np.float64).reshape(9, -1)
    u, s, v = np.linalg.svd(pixels - pixels.mean(0), full_matrices=False)
    expected = (u[:, :LATENT] * s[:LATENT]) @ v[:LATENT] + pixels.mean(0)
    assert np.abs(expected - pixels).max() > 0.1  # six components are not all
    np.testing.assert_allclose(apply(MODEL, params, IMAGES).reshape(9, -1), expected, atol=2e-3)
    mean, log_variance = apply(MODEL, params, IMAGES, "encode")
    np.testing.assert_allclose(jnp.mean(mean**2), 1, rtol=1e-4)
    np.testing.assert_array_equal(log_variance, np.full((9, LATENT), -5.0))


def test_all_pictures_have_the_same_spread_and_it_is_learnt():
    params = FRESH | {"spread": jnp.arange(LATENT, dtype=jnp.float32)}
    np.testing.assert_array_equal(apply(MODEL, params, IMAGES, "encode")[1], np.tile(np.arange(LATENT), (9, 1)))


def test_the_refinement_by_hand():
    """Flax's own convolutions over blocks of 2 x 2 pixels that NumPy lays out."""
    def conv(name, h):
        return nn.Conv(WEIGHTS[name]["bias"].size, (3, 3)).apply({"params": WEIGHTS[name]}, h)

    blocks = np.asarray(IMAGES).reshape(9, 4, 2, 6, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(9, 4, 6, 12)
    h = conv("first", blocks)
    for name in ("block_0", "block_1"):
        h = h + conv(name, h * jax.nn.sigmoid(h))
    added = np.asarray(conv("last", h * jax.nn.sigmoid(h))).reshape(9, 4, 6, 2, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(9, *SHAPE)
    assert np.abs(added).max() > 0.1
    np.testing.assert_allclose(refine(REFINEMENT, IMAGES), IMAGES + added, atol=1e-5)


def test_the_decoder_refines_what_its_linear_layer_draws():
    params = FRESH | {"refinement": WEIGHTS}
    z = jax.random.normal(jax.random.key(3), (9, LATENT))
    pixels = z @ params["linear_decoder"]["kernel"] + params["linear_decoder"]["bias"][None]
    np.testing.assert_allclose(apply(MODEL, params, z, "decode"), refine(REFINEMENT, pixels.reshape(9, *SHAPE)), atol=1e-5)


def test_a_refinement_is_the_same_everywhere_and_sees_only_near():
    blank = jnp.zeros((1, 48, 48, 3))
    spot, other = blank.at[0, 18:20, 24:26].set(1.0), blank.at[0, 24:26, 20:22].set(1.0)
    found, moved, empty = (np.asarray(refine(REFINEMENT, x))[0] for x in (spot, other, blank))
    np.testing.assert_allclose(found[10:28, 16:34], moved[16:34, 12:30], atol=1e-6)
    rows, columns = np.nonzero(np.abs(found - empty).max(-1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 27, 16, 33)  # four convolutions over blocks of two


def test_everything_learns_from_the_start():
    params = jax.jit(start_as_pca)(FRESH, IMAGES, jax.random.key(1))
    slope = jax.jit(jax.grad(lambda p: jnp.mean((apply(MODEL, p, IMAGES) - IMAGES[::-1]) ** 2)))(params)
    for part in (slope["linear_encoder"], slope["linear_decoder"], slope["refinement"]["last"]):
        assert jnp.abs(part["kernel"]).max() > 1e-6


@pytest.mark.parametrize("changes", [{"remat": True}, {"dtype": jnp.bfloat16}])
def test_recomputation_and_bfloat16(changes):
    params = FRESH | {"refinement": WEIGHTS}
    other, exact = MODEL.clone(**changes), apply(MODEL, params, IMAGES)
    found = apply(other, params, IMAGES)
    if "dtype" in changes:
        assert {x.dtype for x in jax.tree.leaves(jax.eval_shape(other.init, jax.random.key(0), IMAGES))} == {jnp.dtype("float32")}
        assert found.dtype == jnp.bfloat16 and 1e-4 < jnp.abs(found - exact).max() < 0.05 * jnp.abs(exact).max()
    else:
        np.testing.assert_allclose(found, exact, atol=1e-6)
