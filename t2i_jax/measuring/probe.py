"""The rate of matrix products that a device reaches: what training is held against."""

import functools
import math

import jax
import jax.numpy as jnp
from jax import Array

from t2i_jax.measuring.figure import Figure, Figures, seconds

SIDES = (512, 1024, 2048, 4096, 8192)  # of square matrices: larger ones are faster, until memory ends it
LONGEST = 0.1  # seconds of one product, past which no larger side is tried
LASTS = 1.0  # seconds of a repeat


def achievable(dtype: jnp.dtype, repeats: int) -> Figures:
    """FLOP/s of one device in products of square matrices: the best of SIDES, about a second of them each repeat."""
    best, best_rate = SIDES[0], 0.0
    for side in SIDES:
        once = min(timed(side, 1, dtype, 3))
        if flops(side, 1) / once > best_rate:
            best, best_rate = side, flops(side, 1) / once
        if once > LONGEST:
            break
    count = math.ceil(LASTS * best_rate / flops(best, 1))
    rates = [flops(best, count) / once / 1e9 for once in timed(best, count, dtype, repeats)]
    what = f"achievable on a device: {count} products of {best} x {best}, {jnp.dtype(dtype).name}"
    return {"flops": Figure(what, "GFLOP/s", rates)}


def timed(side: int, count: int, dtype: jnp.dtype, repeats: int) -> list[float]:
    """Seconds of `count` products in a row, repeatedly."""
    left, right = (jax.random.normal(key, (side, side), dtype) for key in jax.random.split(jax.random.key(0)))
    right = right / math.sqrt(side)  # so that no product grows
    return seconds(lambda: products(left, right, count).block_until_ready(), repeats)


@functools.partial(jax.jit, static_argnums=2)
def products(left: Array, right: Array, count: int) -> Array:
    """`left` multiplied `count` times by `right`, both [N, N]; each product waits for the one before."""
    return jax.lax.fori_loop(0, count, lambda i, product: product @ right, left)


def flops(side: int, count: int) -> float:
    """Of `products`: a multiply-add is 2."""
    return 2.0 * count * side**3
