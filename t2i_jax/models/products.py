"""Products of features with kernels, laid out so that CPUs need no transposed copies for their gradients."""

import functools
from typing import Any

import flax.linen as nn
from jax import Array, lax


def flattened(h: Array, kernel: Array, precision: Any = None) -> Array:
    """`h @ kernel`: [..., C] with [C, F] to [..., F], all axes but the last as one while multiplying."""
    return lax.dot(h.reshape(-1, h.shape[-1]), kernel, precision=precision).reshape(*h.shape[:-1], kernel.shape[1])


def features_by_kernel(h: Array, kernel: Array, dimension_numbers: Any = None, precision: Any = None) -> Array:
    """`h @ kernel`: [..., C] with [C, F] to [..., F]; what flax's `nn.Dense` takes as `dot_general`.

    On CPUs `flattened`: the gradient by the kernel sums over all axes but the last, and where they are several XLA first writes
    features and cotangents transposed, which took a fifth of a transformer's training step; over one axis it multiplies them
    as they lie.
    """
    if h.ndim == 2:
        return lax.dot(h, kernel, precision=precision)
    return lax.platform_dependent(
        h, kernel,
        cpu=lambda h, kernel: flattened(h, kernel, precision),
        default=lambda h, kernel: lax.dot_general(h, kernel, (((h.ndim - 1,), (0,)), ((), ())), precision=precision),
    )


Dense = functools.partial(nn.Dense, dot_general=features_by_kernel)
