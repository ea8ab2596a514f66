"""The convolutional autoencoder: shapes, how it starts, how far it sees, rematerialisation."""

import jax
import jax.numpy as jnp
import numpy as np

from t2i_jax.models.conv_autoencoder import ConvAutoencoder

MODEL = ConvAutoencoder((16, 32, 3), latent=2, patch=2, channels=(4, 6), blocks=1)
IMAGES = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (2, 16, 32, 3)), jnp.float32)
PARAMS = jax.jit(MODEL.init)(jax.random.key(0), IMAGES)["params"]
encode = jax.jit(lambda images: MODEL.apply({"params": PARAMS}, images, method="encode"))
decode = jax.jit(lambda z: MODEL.apply({"params": PARAMS}, z, method="decode"))


def test_latents_are_maps_and_come_back_as_pictures():
    mean, log_variance = encode(IMAGES)
    assert MODEL.factor == 4 and MODEL.latent_shape == (4, 8, 2) and mean.shape == (2, 4, 8, 2)
    np.testing.assert_array_equal(log_variance, np.float32(-5))
    assert decode(mean).shape == IMAGES.shape and np.ptp(decode(mean)) > 0.1
    np.testing.assert_allclose(MODEL.apply({"params": PARAMS}, IMAGES), decode(mean), atol=1e-5)


def test_a_place_sees_its_surroundings_and_a_picture_only_itself():
    changed = encode(IMAGES.at[1, :4, :4].add(0.5))[0] - encode(IMAGES)[0]
    moved = np.abs(changed).max(-1) > 1e-6
    assert moved[1, 0, 0] and not moved[0].any() and not moved[1, :, -1].any()
    drawn = decode(jnp.zeros((1, 4, 8, 2)).at[0, 0, 0].set(3.0)) - decode(jnp.zeros((1, 4, 8, 2)))
    assert np.abs(drawn[0, :4, :4]).max() > 1e-3 and not np.abs(drawn[0, :, -4:]).any()


def test_rematerialisation_changes_no_derivative():
    def slope(model):
        return jax.jit(jax.grad(lambda params: jnp.mean((model.apply({"params": params}, IMAGES) - IMAGES) ** 2)))(PARAMS)

    again = slope(MODEL.clone(remat=True))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), slope(MODEL), again)
    assert all(np.abs(x).max() > 0 for path, x in jax.tree_util.tree_leaves_with_path(again) if "spread" not in str(path))
