"""Generators, and the posterior that reads their noise from a real example."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from t2i_jax.models.layers import ResidualStack


class LatentGenerator(nn.Module):
    """(noise [B, N], sentence [B, D]) -> latents [B, latent], a residual MLP over both together."""

    latent: int
    width: int = 512
    hidden: int = 1024
    blocks: int = 4
    remat: bool = False
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, noise: Array, sentence: Array) -> Array:
        stack = ResidualStack(self.width, self.hidden, self.blocks, self.remat, self.dtype)
        return nn.Dense(self.latent, dtype=self.dtype)(stack(jnp.concatenate([noise, sentence], axis=-1)))


class NoisePosterior(nn.Module):
    """(latents [B, Z], sentence [B, D]) -> (mean, log variance) [B, noise] of the noise that would draw these latents.

    The recognition network of a conditional VAE (Sohn et al. 2015), which ties noise to what captions leave open.
    """

    noise: int
    width: int = 512
    hidden: int = 1024
    blocks: int = 1
    remat: bool = False
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, latents: Array, sentence: Array) -> tuple[Array, Array]:
        stack = ResidualStack(self.width, self.hidden, self.blocks, self.remat, self.dtype)
        h = stack(jnp.concatenate([latents, sentence], axis=-1))
        return nn.Dense(self.noise, dtype=self.dtype)(h), nn.Dense(self.noise, dtype=self.dtype)(h) / 2 - 0.5
