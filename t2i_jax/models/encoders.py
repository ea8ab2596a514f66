"""Encoders of pictures into one vector: a Gaussian over it for autoencoders, an embedding for comparing with captions."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from t2i_jax.models.convolutions import Conv
from t2i_jax.models.discriminators import SLOPE


class DenseEncoder(nn.Module):
    """images [B, H, W, C] -> (mean, log variance) of a diagonal Gaussian, [B, latent] each, by dense layers."""

    latent: int
    widths: tuple[int, ...] = (512, 256, 128)
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, images: Array) -> tuple[Array, Array]:
        h = images.reshape(len(images), -1)
        for width in self.widths:
            h = nn.leaky_relu(nn.Dense(width, dtype=self.dtype)(h), SLOPE)
        return _gaussian(h, self.latent, self.dtype)


class ConvEncoder(nn.Module):
    """images [B, H, W, C] -> (mean, log variance) of a diagonal Gaussian, [B, latent] each, by convolutions of stride 2."""

    latent: int
    channels: tuple[int, ...] = (32, 64, 128)
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, images: Array) -> tuple[Array, Array]:
        return _gaussian(_convolved(images, self.channels, self.dtype), self.latent, self.dtype)


class ConvEmbedder(nn.Module):
    """images [B, H, W, C] -> embedding [B, embedding], by convolutions of stride 2."""

    embedding: int
    channels: tuple[int, ...] = (32, 64, 128)
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, images: Array) -> Array:
        return nn.Dense(self.embedding, dtype=self.dtype)(_convolved(images, self.channels, self.dtype))


def _convolved(images: Array, widths: tuple[int, ...], dtype: jnp.dtype | None) -> Array:
    """Features [B, F], by layers of the calling module."""
    h = images
    for channels in widths:
        h = nn.leaky_relu(Conv(channels, 3, 2, dtype=dtype)(h), SLOPE)
    return h.reshape(len(h), -1)


def _gaussian(features: Array, latent: int, dtype: jnp.dtype | None) -> tuple[Array, Array]:
    """The last layers of the calling module; the spread starts small, so that a decoder soon listens."""
    spread = nn.Dense(latent, kernel_init=nn.initializers.zeros, bias_init=nn.initializers.constant(-2.0), dtype=dtype,
                      name="log_variance")
    return nn.Dense(latent, dtype=dtype, name="mean")(features), spread(features)
