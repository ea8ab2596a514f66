"""Convolutions that run as matrix products on CPUs, where XLA's own weight gradient is several times slower.

Parameters are those of flax's layers; elsewhere XLA's convolutions are used. Both forms have derivatives of any order.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array, lax

from t2i_jax.models.products import flattened

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


def overlap(images: Array, kernel: Array, stride: int) -> Array:
    """`convolve_transposed` as one matrix product: each place draws `stride`-sided blocks, few of which meet at a place.

    Blocks are added up before they are laid out as pictures, in (K/stride)^2 sums of whole arrays instead of K^2.
    """
    (batch, height, width, channels), (size, _, features, _) = images.shape, kernel.shape
    steps = -(-size // stride)  # blocks that a kernel spans, down and to the right; one cut short is filled with zeros
    rest = steps * stride - size
    blocks = rearrange(jnp.pad(kernel, ((0, rest), (0, rest), (0, 0), (0, 0))), "(a p) (b q) o c -> c (a b p q o)", a=steps, b=steps)
    drawn = (images.reshape(-1, channels) @ blocks).reshape(batch, height, width, steps, steps, stride, stride, features)
    shifted = lambda down, right: jnp.pad(
        drawn[:, :, :, down, right], ((0, 0), (down, steps - 1 - down), (right, steps - 1 - right), (0, 0), (0, 0), (0, 0)))
    total = sum(shifted(down, right) for down in range(steps) for right in range(steps))
    picture = rearrange(total, "b h w p q o -> b (h p) (w q) o")
    above = (size - stride) // 2  # what "same" adds before, and its transpose takes away
    return picture[:, above : above + height * stride, above : above + width * stride]


def by_rows(images: Array, kernel: Array) -> Array:
    """`convolve` of stride 1 as one matrix product, with a K-th of what `unfold` writes.

    What each place sees of one row is unfolded and multiplied by all rows of the kernel; results are shifted and added up.
    """
    (_, height, width, _), (size, _, _, features) = images.shape, kernel.shape
    padding = lax.padtype_to_pads((height, width), (size, size), (1, 1), "SAME")
    padded = jnp.pad(images, ((0, 0), *padding, (0, 0)))
    seen = jnp.concatenate([padded[:, :, right : right + width] for right in range(size)], axis=-1)
    drawn = flattened(seen, rearrange(kernel, "p q c o -> (q c) (p o)"))
    return sum(drawn[:, down : down + height, :, down * features : (down + 1) * features] for down in range(size))


def convolve(images: Array, kernel: Array, stride: int = 1) -> Array:
    """"Same" cross-correlation: [B, H, W, C] with kernel [K, K, C, O] to [B, H/stride, W/stride, O]."""
    size, _, _, features = kernel.shape
    unfolded = lambda x, k: flattened(unfold(x, size, stride), k.reshape(-1, features))
    return lax.platform_dependent(
        images, kernel,
        cpu=by_rows if stride == 1 else unfolded,
        default=lambda x, k: lax.conv_general_dilated(x, k, (stride, stride), "SAME", dimension_numbers=LAYOUT),
    )


def convolve_transposed(images: Array, kernel: Array, stride: int = 1) -> Array:
    """The transpose of `convolve`, its gradient for pictures: [B, H, W, C], [K, K, O, C] to [B, H*stride, W*stride, O]."""
    batch, height, width, _ = images.shape
    larger = jax.ShapeDtypeStruct((batch, height * stride, width * stride, kernel.shape[2]), images.dtype)

    def transposed(images: Array, kernel: Array) -> Array:
        convolution = lambda x: lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=LAYOUT)
        return jax.linear_transpose(convolution, larger)(images)[0]

    return lax.platform_dependent(images, kernel, cpu=lambda x, k: overlap(x, k, stride), default=transposed)


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
