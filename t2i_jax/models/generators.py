"""Generators of latents."""

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
