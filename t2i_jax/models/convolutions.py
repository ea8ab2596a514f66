"""Convolutions that run as matrix products on CPUs, where XLA's own weight gradient is several times slower.

Parameters are those of flax's layers; elsewhere XLA's convolutions are used. Both forms have derivatives of any order.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax

LAYOUT = ("NHWC", "HWIO", "NHWC")


def unfold(images: Array, size: int, stride: int) -> Array:
    """[B, H, W, C] to [B, H/stride, W/stride, size*size*C]: what each place of a "same" convolution sees."""
    padding = lax.padtype_to_pads(images.shape[1:3], (size, size), (stride, stride), "SAME")
    padded = jnp.pad(images, ((0, 0), *padding, (0, 0)))
    rows, columns = (-(-side // stride) for side in images.shape[1:3])
    seen = lambda start, count: slice(start, start + stride * (count - 1) + 1, stride)
    return jnp.concatenate([
        padded[:, seen(down, rows), seen(right, columns)] for down in range(size) for right in range(size)
    ], axis=-1)


def convolve(images: Array, kernel: Array, stride: int = 1) -> Array:
    """"Same" cross-correlation: [B, H, W, C] with kernel [K, K, C, O] to [B, H/stride, W/stride, O]."""
    size, _, _, features = kernel.shape
    return lax.platform_dependent(
        images, kernel,
        cpu=lambda x, k: unfold(x, size, stride) @ k.reshape(-1, features),
        default=lambda x, k: lax.conv_general_dilated(x, k, (stride, stride), "SAME", dimension_numbers=LAYOUT),
    )


def convolve_transposed(images: Array, kernel: Array, stride: int = 1) -> Array:
    """The transpose of `convolve`, its gradient for pictures: [B, H, W, C], [K, K, O, C] to [B, H*stride, W*stride, O]."""
    batch, height, width, _ = images.shape
    larger = jax.ShapeDtypeStruct((batch, height * stride, width * stride, kernel.shape[2]), images.dtype)
    (transposed,) = jax.linear_transpose(lambda x: convolve(x, kernel, stride), larger)(images)
    return transposed


class Conv(nn.Module):
    """A "same" convolution of size x size with bias: [B, H, W, C] to [B, H/stride, W/stride, features]."""

    features: int
    size: int = 3
    stride: int = 1
    kernel_init: Callable = nn.initializers.lecun_normal()
    bias_init: Callable = nn.initializers.zeros
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, images: Array) -> Array:
        shape = (self.size, self.size, images.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        bias = self.param("bias", self.bias_init, (self.features,))
        images, kernel, bias = nn.dtypes.promote_dtype(images, kernel, bias, dtype=self.dtype)
        return convolve(images, kernel, self.stride) + bias[None, None, None]


class ConvTranspose(nn.Module):
    """A transposed convolution with bias: [B, H, W, C] to [B, H*stride, W*stride, features].

    Kernel [size, size, features, C], as flax's nn.ConvTranspose(transpose_kernel=True) and, axes aside, PyTorch's.
    """

    features: int
    size: int = 4
    stride: int = 2
    kernel_init: Callable = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal", in_axis=-1, out_axis=-2)
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, images: Array) -> Array:
        shape = (self.size, self.size, self.features, images.shape[-1])
        kernel = self.param("kernel", self.kernel_init, shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        images, kernel, bias = nn.dtypes.promote_dtype(images, kernel, bias, dtype=self.dtype)
        return convolve_transposed(images, kernel, self.stride) + bias[None, None, None]
