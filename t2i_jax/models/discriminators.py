"""Discriminators; none keeps statistics of its batch, so that penalties per example mean what they say.

Those that judge a picture beside its caption give (logits [B], embedding [B, E], sentence embedding [B, E]). The logit
is `w·h + <P h, Q t> / √E`: a judgement of the picture's features h plus their projection on the caption t (projection
discriminator, Miyato & Koyama 2018, eq. 3). The embeddings are for a contrastive loss beside it.
"""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from t2i_jax.models.convolutions import Conv
from t2i_jax.models.layers import ResidualMLP, ResidualStack, patchify

SLOPE = 0.2  # of leaky ReLU, as in DCGAN (Radford et al. 2016)


class Judgement(NamedTuple):
    """What a discriminator says of pictures beside their captions."""

    logits: Array  # [B], of two classes [B, (fake, real)]
    embedding: Array  # [B, E], of the picture
    sentence: Array  # [B, E], of the caption; of N captions beside each picture logits and this have a leading axis [N, ...]


def judgement(features: Array, sentence: Array, size: int, classes: int = 1, dtype: jnp.dtype | None = None,
              embed: str = "embed_latent") -> Judgement:
    """The heads on features [B, F] beside a sentence [B, D], or several [N, B, D], as layers of the calling module; size: E.

    classes: 2 for logits [B, (fake, real)], where the projection belongs to "real".
    """
    dense = lambda features, name: nn.Dense(features, dtype=dtype, name=name)
    beside = lambda x: jnp.broadcast_to(x, (*sentence.shape[:-1], x.shape[-1]))  # each caption
    matches = jnp.sum(beside(dense(size, "project")(features)) * dense(size, "condition")(sentence), axis=-1) / size**0.5
    logits = beside(dense(classes, "logit")(features))
    logits = logits[..., 0] + matches if classes == 1 else logits.at[..., -1].add(matches)
    return Judgement(logits, dense(size, embed)(features), dense(size, "embed_sentence")(sentence))


class LatentDiscriminator(nn.Module):
    """(latents [B, Z], sentence [B, D]) -> judgement."""

    width: int = 512
    hidden: int = 1024
    blocks: int = 4
    embedding: int = 256
    remat: bool = False
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, latents: Array, sentence: Array) -> Judgement:
        h = ResidualStack(self.width, self.hidden, self.blocks, self.remat, self.dtype)(latents)
        return judgement(h, sentence, self.embedding, dtype=self.dtype)


class DenseDiscriminator(nn.Module):
    """(images [B, H, W, C], sentence [B, D]) -> judgement, by dense layers of leaky ReLUs over all pixels."""

    widths: tuple[int, ...] = (512, 256, 128)
    embedding: int = 128
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, images: Array, sentence: Array) -> Judgement:
        h = images.reshape(len(images), -1)
        for width in self.widths:
            h = nn.leaky_relu(nn.Dense(width, dtype=self.dtype)(h), SLOPE)
        return judgement(h, sentence, self.embedding, dtype=self.dtype, embed="embed_image")


class ConvDiscriminator(nn.Module):
    """(images [B, H, W, C], sentence [B, D]) -> judgement, by 3x3 convolutions of stride 2 and leaky ReLUs.

    hidden: width of a dense layer before the heads, 0 for none; classes: 2 for logits [B, (fake, real)].
    """

    channels: tuple[int, ...] = (32, 64, 128, 256)
    hidden: int = 0
    embedding: int = 128
    classes: int = 1
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, images: Array, sentence: Array) -> Judgement:
        h = images
        for channels in self.channels:
            h = nn.leaky_relu(Conv(channels, 3, 2, dtype=self.dtype)(h), SLOPE)
        h = h.reshape(len(h), -1)
        if self.hidden:
            h = nn.leaky_relu(nn.Dense(self.hidden, dtype=self.dtype)(h), SLOPE)
        return judgement(h, sentence, self.embedding, self.classes, self.dtype, "embed_image")


class SummedDiscriminator(nn.Module):
    """`D = σ(Σ_i d_i)`: sub-networks, each on the picture at half the size of the one before, whose judgements add.

    (images [B, H, W, C], sentence [B, D]) -> judgement.
    """

    scales: int = 2
    channels: tuple[int, ...] = (32, 64, 128, 256)
    hidden: int = 0
    embedding: int = 128
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, images: Array, sentence: Array) -> Judgement:
        judgements = []
        for scale in range(self.scales):
            part = ConvDiscriminator(self.channels, self.hidden, self.embedding, dtype=self.dtype, name=f"scale_{scale}")
            judgements.append(part(images, sentence))
            images = nn.avg_pool(images, (2, 2), (2, 2))
        return Judgement(*map(sum, zip(*judgements, strict=True)))


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
