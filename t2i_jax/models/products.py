"""Products of features with kernels, laid out so that CPUs need no transposed copies for their gradients."""

import functools
from typing import Any

import flax.linen as nn
from jax import Array, lax


def features_by_kernel(h: Array, kernel: Array, dimension_numbers: Any = None, precision: Any = None) -> Array:
    """`h @ kernel`: [..., C] with [C, F] to [..., F]; what flax's `nn.Dense` takes as `dot_general`.

    On CPUs all axes but the last are one while multiplying. The gradient by the kernel sums over them, and XLA would
    first write features and cotangents transposed where several axes are summed over, which took a fifth of a
    transformer's training step; over one axis it multiplies them as they lie.
    """
    if h.ndim == 2:
        return lax.dot(h, kernel, precision=precision)
    flattened = lambda h, kernel: lax.dot(h.reshape(-1, h.shape[-1]), kernel, precision=precision)
    return lax.platform_dependent(
        h, kernel,
        cpu=lambda h, kernel: flattened(h, kernel).reshape(*h.shape[:-1], kernel.shape[1]),
        default=lambda h, kernel: lax.dot_general(h, kernel, (((h.ndim - 1,), (0,)), ((), ())), precision=precision),
    )


Dense = functools.partial(nn.Dense, dot_general=features_by_kernel)
