"""Transformer layers against formulas: attention, rotary places, gains in kernels, stacks of blocks."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2i_jax.models import transformer_layers as layers

RNG = np.random.default_rng(0)
draw = lambda *shape: jnp.asarray(RNG.normal(size=shape), jnp.float32)


def moved(params):
    return jax.tree.map(lambda x: x + 0.3 * draw(*x.shape), params)


def test_attention_is_the_formula():
    h, source, mask = draw(2, 3, 8), draw(2, 5, 6), jnp.arange(5)[None] < jnp.array([[5], [2]])
    layer = layers.Attention(heads=2, gain=0.1)
    params = moved(layer.init(jax.random.key(0), h, source, mask)["params"])
    found = layer.apply({"params": params}, h, source, mask)
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    split = lambda x, name: (np.asarray(x, np.float64) @ p[name]["kernel"]).reshape(*x.shape[:2], 2, 4)
    normal = lambda x, name: x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * p[f"{name}_norm"]["scale"]
    query, key, value = normal(split(h, "query"), "query"), normal(split(source, "key"), "key"), split(source, "value")
    expected = np.zeros((2, 3, 2, 4))
    for b, q, n in np.ndindex(2, 3, 2):
        seen = np.flatnonzero(mask[b])
        weight = np.exp([query[b, q, n] @ key[b, k, n] / 2 for k in seen])
        expected[b, q, n] = sum(w * value[b, k, n] for w, k in zip(weight / weight.sum(), seen, strict=True))
    expected = expected.reshape(2, 3, 8) @ p["out"]["kernel"] * p["out"]["gain"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_rotated_products_depend_on_the_distance_of_places_alone():
    turn = layers.angles(4, 5, 8)
    query, key = (jnp.broadcast_to(draw(8), (1, 20, 1, 8)) for _ in range(2))
    products = np.einsum("bqnd,bknd->qk", layers.rotate(query, turn), layers.rotate(key, turn)).reshape(4, 5, 4, 5)
    np.testing.assert_allclose(products[1:, 1:, 1:, 1:], products[:-1, :-1, :-1, :-1], atol=1e-5)
    assert np.ptp(products[0, 0, :, 0]) > 0.1 and np.ptp(products[0, 0, 0]) > 0.1  # rows and columns both turn
    np.testing.assert_allclose(np.linalg.norm(layers.rotate(query, turn), axis=-1), np.linalg.norm(query, axis=-1), rtol=1e-5)


def test_a_gain_in_the_kernel_is_a_gain_of_results_derivatives_included():
    h, layer = draw(4, 6), layers.Out(3, gain=0.1)
    params = moved(layer.init(jax.random.key(0), h)["params"])
    outside = lambda params: jnp.sum(jnp.sin(h @ params["kernel"] * params["gain"][None]))
    inside = lambda params: jnp.sum(jnp.sin(layer.apply({"params": params}, h)))
    for a, b in zip(*map(jax.tree.leaves, (jax.grad(inside)(params), jax.grad(outside)(params))), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(layer.init(jax.random.key(0), h)["params"]["gain"], np.float32(0.1))


class Block(nn.Module):
    @nn.compact
    def __call__(self, h, shared):
        return h + layers.GatedPerceptron(12, name="perceptron")(h * shared), None


@pytest.mark.parametrize("remat, keep", [(False, False), (True, False), (True, True)])
def test_a_stack_is_its_blocks_one_after_another(remat, keep):
    h, shared = draw(2, 6), draw(6)[None]
    network = layers.stack(Block, 3, remat, keep)(name="blocks")
    params = network.init(jax.random.key(0), h, shared)["params"]
    assert params["perceptron"]["gate"]["kernel"].shape == (3, 6, 12)
    assert np.ptp(params["perceptron"]["gate"]["kernel"], axis=0).min() > 0  # each block has its own start

    def by_hand(params):
        x = h
        for number in range(3):
            gate, up, down = (params["perceptron"][name]["kernel"][number] for name in ("gate", "up", "down"))
            y = x * shared
            x = x + (nn.silu(y @ gate) * (y @ up)) @ down
        return jnp.sum(x**2)

    looped = lambda params: jnp.sum(network.apply({"params": params}, h, shared)[0] ** 2)
    (value, slopes), (expected, expected_slopes) = (jax.jit(jax.value_and_grad(f))(params) for f in (looped, by_hand))
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), slopes, expected_slopes)
    products = str(jax.make_jaxpr(jax.grad(looped))(params)).count("dot_general")
    assert products == {(False, False): 9, (True, False): 11, (True, True): 9}[remat, keep]  # 3 forward, 6 back, 2 or 0 again
