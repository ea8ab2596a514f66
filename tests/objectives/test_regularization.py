"""Sizes of parameter trees by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from t2i_jax.objectives import regularization

PARAMS = {"dense": {"kernel": jnp.array([[1.0, -2.0], [0.5, 0.0]]), "bias": jnp.array([3.0, -1.0], jnp.bfloat16)}}


def test_sums_over_all_leaves_in_float32():
    l1, l2 = regularization.l1(PARAMS), regularization.l2(PARAMS)
    assert l1.dtype == l2.dtype == jnp.float32
    assert (l1, l2) == (7.5, 15.25)


def test_gradients_are_sign_and_twice_the_parameter():
    kernel = PARAMS["dense"]["kernel"]
    np.testing.assert_array_equal(jax.grad(regularization.l1)(PARAMS)["dense"]["kernel"], jnp.sign(kernel))
    np.testing.assert_array_equal(jax.grad(regularization.l2)(PARAMS)["dense"]["kernel"], 2 * kernel)
