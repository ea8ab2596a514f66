"""Patches: pixels there and back, the order of places, what an encoder's patch sees, gradients, shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from einops import rearrange

from t2i_jax.models.autoencoders import start_as_pca
from t2i_jax.models.patches import PatchAutoencoder

IMAGES = jnp.array(np.random.default_rng(0).uniform(-1, 1, (2, 8, 12, 3)), jnp.float32)
LEARNT = PatchAutoencoder((8, 12, 3), patch=2, latent=5, width=16, hidden=16, blocks=2)


@pytest.fixture(scope="module")
def params():
    """Parameters none of which is zero any more."""
    fresh, rng = jax.jit(LEARNT.init)(jax.random.key(0), IMAGES), np.random.default_rng(1)
    return jax.tree.map(lambda x: x + jnp.asarray(rng.normal(0, 0.1, x.shape), x.dtype), fresh)


def test_patches_without_a_network_are_pixels_row_by_row():
    network = PatchAutoencoder((8, 12, 3), patch=4, latent=48, learnt=False)
    assert network.grid == (2, 3) and network.values == 48 and not network.init(jax.random.key(0), IMAGES)
    latents = network.apply({}, IMAGES, method="encode")
    for place in range(6):
        row, column = divmod(place, 3)
        patch = IMAGES[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        np.testing.assert_array_equal(latents[:, place], patch.reshape(2, -1))
    np.testing.assert_array_equal(network.apply({}, latents, method="decode"), IMAGES)


def test_patches_of_one_grey_pixel_are_the_picture():
    grey = IMAGES[..., :1]
    network = PatchAutoencoder((8, 12, 1), patch=1, latent=1, learnt=False)
    np.testing.assert_array_equal(network.apply({}, grey, method="encode"), grey.reshape(2, 96, 1))


def test_shapes_of_the_learnt_one(params):
    latents = LEARNT.apply(params, IMAGES, method="encode")
    assert latents.shape == (2, 24, 5) and LEARNT.grid == (4, 6)
    assert LEARNT.apply(params, latents, method="decode").shape == IMAGES.shape


def test_a_latent_sees_its_patch_and_the_eight_around_it(params):
    row, column = 1, 4
    latent = lambda images: LEARNT.apply(params, images, method="encode")[0, row * 6 + column].sum()
    seen = np.abs(jax.grad(latent)(IMAGES)[0]).sum(-1) > 0
    patches = seen.reshape(4, 2, 6, 2).any((1, 3))
    expected = np.zeros((4, 6), bool)
    expected[row - 1 : row + 2, column - 1 : column + 2] = True
    np.testing.assert_array_equal(patches, expected)


def test_every_pixel_hears_every_latent(params):
    latents = LEARNT.apply(params, IMAGES, method="encode")
    corner = lambda z: LEARNT.apply(params, z, method="decode")[0, 0, 0].sum()
    assert (np.abs(jax.grad(corner)(latents)[0]).sum(-1) > 0).all()


def test_started_as_pca_patches_of_few_dimensions_come_back():
    rng, network = np.random.default_rng(2), PatchAutoencoder((8, 8, 1), patch=4, latent=3, width=8, hidden=8, blocks=1)
    patches = rng.normal(size=(40 * 4, 3)) @ rng.normal(size=(3, 16)) + rng.normal(size=16)
    images = rearrange(jnp.asarray(patches, jnp.float32), "(b h w) (p q) -> b (h p) (w q) 1", h=2, w=2, p=4)
    params = jax.jit(network.init)(jax.random.key(0), images)["params"]
    started = start_as_pca(params, patches.reshape(-1, 4, 4, 1).astype(np.float32), jax.random.key(0))
    np.testing.assert_allclose(network.apply({"params": started}, images), images, atol=1e-3)
    assert np.abs(network.apply({"params": params}, images) - images).max() > 0.1


def test_a_few_steps_make_reconstructions_better(params):
    error = lambda params: jnp.mean((LEARNT.apply(params, IMAGES) - IMAGES) ** 2)
    step = jax.jit(lambda params: jax.tree.map(lambda p, g: p - 0.02 * g, params, jax.grad(error)(params)))
    before = error(params)
    for _ in range(30):
        params = step(params)
    assert error(params) < 0.8 * before
