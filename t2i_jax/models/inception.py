"""The Inception network of the Fréchet Inception distance.

InceptionV3 (Szegedy et al. 2016, "Rethinking the Inception Architecture") in the variant whose weights Heusel et al.
2017 used, as pytorch-fid ports it. It differs from the usual InceptionV3: averages of the pooling branches leave the
padding out, and the last block takes the maximum instead. Modules bear the names of the published weights.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array


class ConvNorm(nn.Module):
    """relu(norm(convolution)): [B, H, W, any] to [B, H', W', features]; statistics are those of training."""

    features: int
    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: str = "SAME"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = nn.Conv(self.features, self.kernel, self.strides, self.padding, use_bias=False, name="conv")(x)
        return nn.relu(nn.BatchNorm(use_running_average=True, epsilon=1e-3, name="bn")(x))


def _same(name: str, features: int, *kernel: int) -> ConvNorm:
    return ConvNorm(features, kernel or (1, 1), name=name)


def _halve(name: str, features: int) -> ConvNorm:
    return ConvNorm(features, (3, 3), (2, 2), "VALID", name=name)


def _average(x: Array) -> Array:
    return nn.avg_pool(x, (3, 3), (1, 1), "SAME", count_include_pad=False)


def _maximum(x: Array) -> Array:
    return nn.max_pool(x, (3, 3), (2, 2), "VALID")


class Mixed5(nn.Module):
    """Branches of 1x1, 5x5, two 3x3 and an average: [B, H, W, any] to [B, H, W, 224 + pooled]."""

    pooled: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        five = _same("branch5x5_2", 64, 5, 5)(_same("branch5x5_1", 48)(x))
        three = _same("branch3x3dbl_2", 96, 3, 3)(_same("branch3x3dbl_1", 64)(x))
        three = _same("branch3x3dbl_3", 96, 3, 3)(three)
        pool = _same("branch_pool", self.pooled)(_average(x))
        return jnp.concatenate([_same("branch1x1", 64)(x), five, three, pool], axis=-1)


class Mixed6Entry(nn.Module):
    """Halves the picture: [B, H, W, any] to [B, (H-1)/2, (W-1)/2, any + 480]."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        double = _same("branch3x3dbl_2", 96, 3, 3)(_same("branch3x3dbl_1", 64)(x))
        double = _halve("branch3x3dbl_3", 96)(double)
        return jnp.concatenate([_halve("branch3x3", 384)(x), double, _maximum(x)], axis=-1)


class Mixed6(nn.Module):
    """Branches of 1x1, 7x7 and twice 7x7 in rows and columns, and an average: [B, H, W, any] to [B, H, W, 768]."""

    inner: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        seven = _same("branch7x7_2", self.inner, 1, 7)(_same("branch7x7_1", self.inner)(x))
        seven = _same("branch7x7_3", 192, 7, 1)(seven)
        double = _same("branch7x7dbl_2", self.inner, 7, 1)(_same("branch7x7dbl_1", self.inner)(x))
        double = _same("branch7x7dbl_4", self.inner, 7, 1)(_same("branch7x7dbl_3", self.inner, 1, 7)(double))
        double = _same("branch7x7dbl_5", 192, 1, 7)(double)
        pool = _same("branch_pool", 192)(_average(x))
        return jnp.concatenate([_same("branch1x1", 192)(x), seven, double, pool], axis=-1)


class Mixed7Entry(nn.Module):
    """Halves the picture: [B, H, W, any] to [B, (H-1)/2, (W-1)/2, any + 512]."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        three = _halve("branch3x3_2", 320)(_same("branch3x3_1", 192)(x))
        seven = _same("branch7x7x3_2", 192, 1, 7)(_same("branch7x7x3_1", 192)(x))
        seven = _halve("branch7x7x3_4", 192)(_same("branch7x7x3_3", 192, 7, 1)(seven))
        return jnp.concatenate([three, seven, _maximum(x)], axis=-1)


class Mixed7(nn.Module):
    """Branches of 1x1, 3x3 and twice 3x3 split into rows and columns, and a pool: [B, H, W, any] to [B, H, W, 2048].

    maximum: the pooling branch takes the maximum rather than the average.
    """

    maximum: bool

    @nn.compact
    def __call__(self, x: Array) -> Array:
        three = _same("branch3x3_1", 384)(x)
        double = _same("branch3x3dbl_2", 384, 3, 3)(_same("branch3x3dbl_1", 448)(x))
        pool = nn.max_pool(x, (3, 3), (1, 1), "SAME") if self.maximum else _average(x)
        return jnp.concatenate([
            _same("branch1x1", 320)(x),
            _same("branch3x3_2a", 384, 1, 3)(three), _same("branch3x3_2b", 384, 3, 1)(three),
            _same("branch3x3dbl_3a", 384, 1, 3)(double), _same("branch3x3dbl_3b", 384, 3, 1)(double),
            _same("branch_pool", 192)(pool),
        ], axis=-1)


class Inception(nn.Module):
    """images [B, H, W, 3] in [-1, 1], sides of 75 or more (299 for the distance) -> pool3 features [B, 2048]."""

    @nn.compact
    def __call__(self, images: Array) -> Array:
        x = _halve("Conv2d_1a_3x3", 32)(images)
        x = ConvNorm(32, (3, 3), padding="VALID", name="Conv2d_2a_3x3")(x)
        x = _maximum(_same("Conv2d_2b_3x3", 64, 3, 3)(x))
        x = _same("Conv2d_3b_1x1", 80)(x)
        x = _maximum(ConvNorm(192, (3, 3), padding="VALID", name="Conv2d_4a_3x3")(x))
        for letter, pooled in zip("bcd", (32, 64, 64), strict=True):
            x = Mixed5(pooled, name=f"Mixed_5{letter}")(x)
        x = Mixed6Entry(name="Mixed_6a")(x)
        for letter, inner in zip("bcde", (128, 160, 160, 192), strict=True):
            x = Mixed6(inner, name=f"Mixed_6{letter}")(x)
        x = Mixed7Entry(name="Mixed_7a")(x)
        x = Mixed7(maximum=False, name="Mixed_7b")(x)
        x = Mixed7(maximum=True, name="Mixed_7c")(x)
        return x.mean(axis=(1, 2))
