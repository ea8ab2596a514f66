"""Encoders of pictures: layers by hand, shapes, and each picture by itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2i_jax.models.convolutions import unfold
from t2i_jax.models.encoders import ConvEmbedder, ConvEncoder, DenseEncoder

IMAGES = jax.random.uniform(jax.random.key(1), (3, 6, 7, 2), minval=-1)
ENCODERS = {
    "dense": DenseEncoder(5, (8, 4)),
    "conv": ConvEncoder(5, (3, 4)),
    "embedder": ConvEmbedder(5, (3, 4)),
}


def run(module):
    """(parameters, outputs); parameters random, biases and what starts at zero too."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), IMAGES)["params"]
    params = jax.tree.map(lambda x: 0.5 * jax.random.normal(jax.random.key(2), x.shape), shapes)
    return params, jax.jit(module.apply)({"params": params}, IMAGES)


@pytest.mark.parametrize("kind", ENCODERS)
def test_by_hand(kind):
    params, found = run(ENCODERS[kind])
    params = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    leaky = lambda x: np.where(x > 0, x, 0.2 * x)
    dense = lambda h, name: h @ params[name]["kernel"] + params[name]["bias"]
    h = np.asarray(IMAGES, np.float64)
    if kind == "dense":
        h = h.reshape(3, -1)
        for layer in ("Dense_0", "Dense_1"):
            h = leaky(dense(h, layer))
    else:
        for layer in ("Conv_0", "Conv_1"):
            seen = np.asarray(unfold(jnp.asarray(h, jnp.float32), 3, 2), np.float64)
            kernel = params[layer]["kernel"]
            h = leaky(seen @ kernel.reshape(-1, kernel.shape[-1]) + params[layer]["bias"])
        assert h.shape == (3, 2, 2, 4)  # 6 x 7, then 3 x 4
        h = h.reshape(3, -1)
    expected = dense(h, "Dense_0") if kind == "embedder" else (dense(h, "mean"), dense(h, "log_variance"))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), found, expected)
    assert jax.tree.leaves(jax.tree.map(jnp.shape, found, is_leaf=lambda x: isinstance(x, jax.Array)))[:2] == [3, 5]


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_a_posterior_starts_narrow_and_the_same_for_every_picture(kind):
    def start(key, images):
        return ENCODERS[kind].init_with_output(key, images)[0]

    mean, log_variance = jax.jit(start)(jax.random.key(0), IMAGES)
    np.testing.assert_array_equal(log_variance, np.full((3, 5), -2.0))
    assert jnp.ptp(mean, axis=0).min() > 1e-3


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("side", [16, 28, 32, 64])
def test_pictures_of_any_side_and_half_precision(kind, side):
    images = jnp.zeros((2, side, side, 1))
    variables = jax.eval_shape(ENCODERS[kind].init, jax.random.key(0), images)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    half = jax.eval_shape(ENCODERS[kind].clone(dtype=jnp.bfloat16).apply, variables, images)
    assert {(x.shape, x.dtype) for x in jax.tree.leaves(half)} == {((2, 5), jnp.dtype("bfloat16"))}
