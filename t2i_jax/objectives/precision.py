"""The precision losses are computed in."""

import jax.numpy as jnp
from jax import Array


def at_least_float32(x: Array) -> Array:
    """Widens half precision to float32 and keeps float64, so that double-precision checks stay double. Any shape."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
