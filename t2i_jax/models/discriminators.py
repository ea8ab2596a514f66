"""Discriminators; none keeps statistics of its batch, so that penalties per example mean what they say."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from t2i_jax.models.layers import ResidualMLP, ResidualStack, patchify


class LatentDiscriminator(nn.Module):
    """(latents [B, Z], sentence [B, D]) -> (logits [B], latent embedding [B, E], sentence embedding [B, E]).

    The logit is `w·h + <P h, Q t> / √E`: a judgement of the latent plus its projection on the caption (projection
    discriminator, Miyato & Koyama 2018, eq. 3). The embeddings are for a contrastive loss beside it.
    """

    width: int = 512
    hidden: int = 1024
    blocks: int = 4
    embedding: int = 256
    remat: bool = False
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, latents: Array, sentence: Array) -> tuple[Array, Array, Array]:
        dense = lambda features, name: nn.Dense(features, dtype=self.dtype, name=name)
        h = ResidualStack(self.width, self.hidden, self.blocks, self.remat, self.dtype)(latents)
        matches = jnp.sum(dense(self.embedding, "project")(h) * dense(self.embedding, "condition")(sentence), axis=-1)
        logits = dense(1, "logit")(h)[:, 0] + matches / self.embedding**0.5
        return logits, dense(self.embedding, "embed_latent")(h), dense(self.embedding, "embed_sentence")(sentence)


class PatchDiscriminator(nn.Module):
    """images [B, H, W, C] -> logits [B, H/8, W/8], one for each 8x8 patch (PatchGAN, Isola et al. 2017, section 3.2).

    Patches of 4 are embedded, then merged two by two: matrix products throughout, which CPUs like.
    """

    width: int = 64

    @nn.compact
    def __call__(self, images: Array) -> Array:
        h = ResidualMLP(2 * self.width)(nn.Dense(self.width)(patchify(images, 4)))
        h = ResidualMLP(4 * self.width)(nn.Dense(2 * self.width)(patchify(h, 2)))
        return nn.Dense(1)(nn.RMSNorm()(h))[..., 0]
