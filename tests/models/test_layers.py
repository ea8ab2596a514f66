"""Blocks: shapes, precision, recomputation, patches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2i_jax.models.layers import ResidualMLP, ResidualStack, TransformerBlock, patchify
from t2i_jax.paths import flat

X = jax.random.normal(jax.random.key(1), (5, 12))
STACK = ResidualStack(width=16, hidden=24, blocks=2)


@pytest.fixture(scope="module")
def params():
    return jax.jit(STACK.init)(jax.random.key(0), X)["params"]


def test_a_residual_block_is_its_formula():
    block = ResidualMLP(hidden=7)
    params = jax.tree.map(lambda p: np.asarray(p) + 0.1, jax.jit(block.init)(jax.random.key(0), X)["params"])
    inner, outer, norm = params["Dense_0"], params["Dense_1"], params["RMSNorm_0"]
    h = np.asarray(X, np.float64)
    a = h / np.sqrt((h**2).mean(-1, keepdims=True) + 1e-6) * norm["scale"] @ inner["kernel"] + inner["bias"]
    expected = h + a / (1 + np.exp(-a)) @ outer["kernel"] + outer["bias"]
    np.testing.assert_allclose(jax.jit(block.apply)({"params": params}, X), expected, rtol=1e-5, atol=1e-5)


def test_stack_has_its_width_and_rows_are_their_own_affair(params):
    apply = jax.jit(STACK.apply)
    out = apply({"params": params}, X)
    assert out.shape == (5, 16)
    np.testing.assert_allclose(apply({"params": params}, X[3:4]), out[3:4], atol=1e-6)
    np.testing.assert_allclose(jnp.mean(out**2, axis=-1), 1, rtol=1e-4)  # its last layer is RMSNorm, gains start at 1


def test_recomputing_changes_neither_value_nor_gradient_nor_parameter_names(params):
    loss = lambda stack: lambda params, x: jnp.sum(jnp.sin(stack.apply({"params": params}, x)))
    remat = ResidualStack(16, 24, 2, remat=True)
    assert flat(jax.eval_shape(remat.init, jax.random.key(0), X)["params"]).keys() == flat(params).keys()
    both = (jax.jit(jax.value_and_grad(loss(stack), (0, 1)))(params, X) for stack in (STACK, remat))
    (value, grads), (value_r, grads_r) = both
    np.testing.assert_allclose(value_r, value, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), grads_r, grads)
    recomputed = [str(jax.make_jaxpr(jax.grad(loss(s)))(params, X)) for s in (STACK, remat)]
    assert ["remat" in jaxpr or "checkpoint" in jaxpr for jaxpr in recomputed] == [False, True]


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_parameters(params):
    half = ResidualStack(16, 24, 2, dtype=jnp.bfloat16)
    fresh = jax.eval_shape(half.init, jax.random.key(0), X)
    assert {p.dtype for p in jax.tree.leaves(fresh)} == {jnp.dtype("float32")}
    out, exact = jax.jit(half.apply)({"params": params}, X), jax.jit(STACK.apply)({"params": params}, X)
    assert out.dtype == jnp.bfloat16 and exact.dtype == jnp.float32
    assert 1e-4 < jnp.abs(out - exact).max() < 0.06


def test_attention_looks_where_the_mask_allows():
    block = TransformerBlock(heads=2, hidden=8)
    h = jax.random.normal(jax.random.key(2), (2, 4, 12))
    mask = jnp.array([[True, True, False, True]] * 2)
    params = jax.jit(block.init)(jax.random.key(0), h, mask)["params"]
    apply = jax.jit(lambda h: block.apply({"params": params}, h, mask))
    moved = jnp.abs(apply(h) - apply(h.at[0, 2].add(1.0))).max(axis=-1)
    assert moved[0, 2] > 0 and jnp.all(moved.at[0, 2].set(0) == 0)
    moved = jnp.abs(apply(h) - apply(h.at[0, 1].set(-h[0, 1]))).max(axis=-1)
    assert jnp.all(moved[0] > 0) and jnp.all(moved[1] == 0)


def test_patchify_against_a_hand_made_array():
    image = jnp.arange(2 * 4 * 6).reshape(1, 4, 6, 2)  # value = 12 * row + 2 * column + channel
    patches = patchify(image, 2)
    assert patches.shape == (1, 2, 3, 8)
    np.testing.assert_array_equal(patches[0, 0, 0], [0, 1, 2, 3, 12, 13, 14, 15])
    np.testing.assert_array_equal(patches[0, 1, 2], [32, 33, 34, 35, 44, 45, 46, 47])
