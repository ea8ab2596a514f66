"""Operations counted from a jaxpr: against counts by hand, and against XLA's of the same network without loops."""

import jax
import jax.numpy as jnp
import pytest

from t2i_jax.models.latent_transformers import TransformerDiscriminator
from t2i_jax.planning.model_flops import matrix_flops

array = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.float32)


def test_products_are_two_operations_for_each_multiply_add():
    assert matrix_flops(lambda a, b: jnp.einsum("bij,bjk->bik", a, b), array(5, 2, 3), array(5, 3, 4)) == 2 * 5 * 2 * 3 * 4
    convolve = lambda x, k: jax.lax.conv_general_dilated(x, k, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    assert matrix_flops(convolve, array(2, 8, 8, 3), array(3, 3, 3, 5)) == 2 * (2 * 4 * 4 * 5) * (3 * 3 * 3)


def test_turns_of_loops_branches_and_what_is_computed_again_count():
    product = lambda x, w: jnp.sin(x @ w)
    loop = lambda x, w: jax.lax.scan(lambda x, _: (product(x, w), None), x, None, length=7)[0]
    assert matrix_flops(loop, array(4, 4), array(4, 4)) == 7 * 128
    branches = lambda x, w: jax.lax.cond(x[0, 0] > 0, lambda: product(x, w), lambda: product(product(x, w), w))
    assert matrix_flops(branches, array(4, 4), array(4, 4)) == 2 * 128
    deep = lambda x, w: jnp.sum(jax.checkpoint(lambda x: product(product(x, w), w))(x))
    assert matrix_flops(jax.grad(deep, argnums=1), array(4, 4), array(4, 4)) == (2 + 2 + 3) * 128  # forward, again, back
    with pytest.raises(ValueError, match="turns"):
        matrix_flops(lambda x: jax.lax.while_loop(lambda x: x[0, 0] < 1, lambda x: x @ x, x), array(4, 4))


def test_a_transformer_in_a_loop_counts_as_by_hand_and_as_xla_counts_it_unrolled():
    batch, tokens, width, hidden, depth, size = 4, 64, 32, 80, 3, 8
    network = TransformerDiscriminator(width=width, depth=depth, heads=2, hidden=hidden, embedding=size)
    inputs = array(batch, 16, 16, 4), array(batch, 24)
    params = jax.eval_shape(network.init, jax.random.key(0), *inputs)
    counted = matrix_flops(network.apply, params, *inputs)
    block = 2 * batch * tokens * (4 * width**2 + 3 * width * hidden + 2 * tokens * width)
    read = 2 * batch * (tokens * 2 * width**2 + 2 * width**2 + 3 * width * hidden + 2 * tokens * width)
    heads = 2 * batch * (16 * tokens * width + 2 * size * width + 2 * size * 24 + width)
    assert counted == pytest.approx(depth * block + read + heads, rel=1e-6)
    one = lambda depth: jax.jit(network.clone(depth=depth).apply).lower(
        jax.eval_shape(network.clone(depth=depth).init, jax.random.key(0), *inputs), *inputs).compile().cost_analysis()["flops"]
    # A loop of one turn is none: XLA's count of the rest, and of what each block adds, elementwise work included.
    assert counted < one(1) + (depth - 1) * block * 1.1
    assert one(1) == pytest.approx(block + read + heads, rel=0.25)
