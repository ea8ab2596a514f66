"""How far a reconstruction is from its image, beside the mean square."""

import jax.numpy as jnp
from jax import Array

GREY_LEVEL = 1 / 127.5  # one step of an 8-bit pixel in [-1, 1]


def smooth_absolute(error: Array, scale: float = GREY_LEVEL) -> Array:
    """`E[√(e² + s²) - s]`, the absolute error smoothed within `scale` (Charbonnier et al. 1994): a scalar, any shape.

    The plain absolute error has the sign of e as its slope. In saturated pixels, most of a picture on white, e is
    rounding, the same everywhere, and its sign would push the whole picture: training diverges.
    """
    return jnp.mean(jnp.sqrt(error**2 + scale**2) - scale)
