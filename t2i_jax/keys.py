"""Random keys: every draw is a function of named things, never of what was drawn before it."""

import zlib

import jax
import jax.numpy as jnp
from jax import Array


def named(keys: Array, use: str) -> Array:
    """Keys for one use: `named(keys, "noise")` and `named(keys, "dropout")` never meet. Any shape of keys."""
    label = zlib.crc32(use.encode())
    fold = lambda key: jax.random.fold_in(key, label)
    for _ in range(keys.ndim):
        fold = jax.vmap(fold)
    return fold(keys)


def per_example(key: Array, count: int) -> Array:
    """One key per position of a global batch: keys [count]; the same whatever devices hold the batch."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(count, dtype=jnp.uint32))


def normal(keys: Array, shape: tuple[int, ...]) -> Array:
    """Standard normal noise, one independent draw of `shape` per key: [B, *shape] float32 from keys [B]."""
    return jax.vmap(lambda key: jax.random.normal(key, shape, jnp.float32))(keys)
