"""Penalties on the size of parameters, added to the loss of the player who owns them."""

import jax
import jax.numpy as jnp
from jax import Array

from t2i_jax.objectives.precision import at_least_float32


def l1(params) -> Array:
    """`Σ |θ|` over a tree of arrays: a float32 scalar."""
    magnitude = lambda x: x * jnp.sign(x)  # unlike abs, its derivative at 0 is 0: zeros stay where they are
    return sum(jnp.sum(magnitude(at_least_float32(leaf))) for leaf in jax.tree.leaves(params))


def l2(params) -> Array:
    """`Σ θ²` over a tree of arrays: a float32 scalar."""
    return sum(jnp.sum(at_least_float32(leaf) ** 2) for leaf in jax.tree.leaves(params))
