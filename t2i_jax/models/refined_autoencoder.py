"""A KL autoencoder of small pictures into one flat latent, linear both ways; convolutions refine what comes back.

A linear code cut short returns flat colours with speckle and outlines with echoes. Both are local and alike everywhere in every
picture, so a small convolutional network that is taught by few pictures takes them away in pictures of any kind: drawings of
things that the linear code was not made for gain most.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array

from t2i_jax.models.convolutions import Conv
from t2i_jax.models.layers import patchify


class RefinedAutoencoder(nn.Module):
    """images [B, *image_shape] in [-1, 1] <-> latents [B, latent] (VAE, Kingma & Welling 2014), started by `start_as_pca`.

    The posterior's spread is the same for all pictures, as that of principal components is (Tipping & Bishop 1999).
    channels, blocks, step: of the `Refinement`. log_variance: the spread's at the start, beside latents of mean square 1.
    """

    image_shape: tuple[int, int, int]  # H, W, C
    latent: int = 1280
    channels: int = 48
    blocks: int = 2
    step: int = 2
    log_variance: float = -7.0
    remat: bool = False
    dtype: jnp.dtype | None = None

    @property
    def factor(self) -> int:
        """Of which both sides of pictures must be multiples."""
        return self.step

    @property
    def latent_shape(self) -> tuple[int]:
        """One vector."""
        return (self.latent,)

    def setup(self):
        self.linear_encoder = nn.Dense(self.latent, dtype=self.dtype)
        self.spread = self.param("spread", nn.initializers.constant(self.log_variance), (self.latent,))
        self.linear_decoder = nn.Dense(math.prod(self.image_shape), dtype=self.dtype)
        refinement = nn.remat(Refinement) if self.remat else Refinement
        self.refinement = refinement(self.channels, self.blocks, self.step, self.dtype)

    def encode(self, images: Array) -> tuple[Array, Array]:
        """(mean, log variance) of the posterior over latents, [B, latent] each."""
        mean = self.linear_encoder(rearrange(images, "b h w c -> b (h w c)"))
        return mean, jnp.broadcast_to(self.spread, mean.shape).astype(mean.dtype)

    def decode(self, latents: Array) -> Array:
        """Images [B, H, W, C]; may leave [-1, 1] a little."""
        height, width, channels = self.image_shape
        pixels = self.linear_decoder(latents)
        return self.refinement(rearrange(pixels, "b (h w c) -> b h w c", h=height, w=width, c=channels))

    def __call__(self, images: Array) -> Array:
        """Reconstruction from the posterior's mean."""
        return self.decode(self.encode(images)[0])


class Refinement(nn.Module):
    """Images [B, H, W, C] to the same, plus what residual 3x3 convolutions say of them; at the start nothing.

    They work on blocks of step x step pixels, laid out as channels: sides must be multiples of `step`.
    """

    channels: int
    blocks: int
    step: int = 2
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, images: Array) -> Array:
        conv = lambda features, name, **options: Conv(features, dtype=self.dtype, name=name, **options)
        h = conv(self.channels, "first")(patchify(images, self.step))
        for number in range(self.blocks):
            h = h + conv(self.channels, f"block_{number}")(nn.silu(h))
        added = conv(self.step**2 * images.shape[-1], "last", kernel_init=nn.initializers.zeros)(nn.silu(h))
        return images + rearrange(added, "b h w (p q c) -> b (h p) (w q) c", p=self.step, q=self.step)
