"""The two encoders: unit vectors that depend on what is seen and said, and on nothing beside it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2i_jax.models.contrastive import CaptionEncoder, ImageEncoder, unit

IMAGE = ImageEncoder(embedding=12, grid=2, colours=8, features=8, width=16, hidden=16, blocks=1)
CAPTION = CaptionEncoder(embedding=12, vocabulary=20, width=16, depth=1, heads=2, hidden=16)
TOKENS = jnp.array([[3, 7, 5, 0, 0], [7, 3, 5, 0, 0], [4, 0, 0, 0, 0]], jnp.int32)
PICTURES = jax.random.uniform(jax.random.key(1), (3, 8, 8, 3), minval=-1, maxval=1)


@pytest.fixture(scope="module")
def encoders():
    """{side: (inputs -> vectors, inputs)}; one compilation each."""

    def encoder(net, *inputs):
        params = jax.jit(net.init)(jax.random.key(0), *inputs)
        apply = jax.jit(net.apply)
        return lambda *x: apply(params, *x), inputs

    return {"image": encoder(IMAGE, PICTURES), "caption": encoder(CAPTION, TOKENS, TOKENS != 0)}


@pytest.mark.parametrize("side", ["image", "caption"])
def test_unit_vectors_that_differ(encoders, side):
    encode, inputs = encoders[side]
    found = encode(*inputs)
    assert found.shape == (3, 12) and found.dtype == jnp.float32
    np.testing.assert_allclose(jnp.linalg.norm(found, axis=1), 1, rtol=1e-5)
    assert (found @ found.T)[np.triu_indices(3, 1)].max() < 0.999


@pytest.mark.parametrize("side", ["image", "caption"])
def test_rows_do_not_see_each_other(encoders, side):
    encode, inputs = encoders[side]
    among = encode(*inputs)
    beside_itself = encode(*(x[jnp.array([1, 1, 1])] for x in inputs))
    np.testing.assert_allclose(beside_itself, np.repeat(among[1:2], 3, axis=0), atol=1e-6)


def test_padding_tokens_do_not_matter(encoders):
    encode, (tokens, mask) = encoders["caption"]
    np.testing.assert_array_equal(encode(jnp.where(mask, tokens, 11), mask), encode(tokens, mask))


def test_every_pixel_is_seen(encoders):
    encode, (pictures,) = encoders["image"]
    plain = encode(pictures)
    for row, column in np.ndindex(2, 2):  # each quarter of the first picture turned dark
        changed = encode(pictures.at[0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].set(-1))
        assert jnp.abs(changed - plain)[0].max() > 1e-3 and jnp.abs(changed - plain)[1:].max() < 1e-6


@pytest.mark.parametrize("side, patches", [(32, 16), (64, 16), (24, 12), (28, 14), (40, 10), (8, 8), (10, 10)])
def test_pictures_of_any_even_size_are_cut_into_at_most_16_x_16_patches(side, patches):
    image = jnp.zeros((1, side, side, 3))
    shapes = jax.eval_shape(ImageEncoder(embedding=12, colours=8, features=8).init, jax.random.key(0), image)["params"]
    assert shapes["Dense_0"]["kernel"].shape == ((side // patches) ** 2 * 3, 8)
    assert shapes["Dense_2"]["kernel"].shape[0] == (patches // 2) ** 2 * 8


def test_unit_keeps_direction_and_bears_zero():
    np.testing.assert_allclose(unit(jnp.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0, 0]], atol=1e-6)
