"""A convolutional KL autoencoder: pictures as maps of a few channels, eight times smaller by default."""

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange
from jax import Array

from t2i_jax.distributed.activations import by_example
from t2i_jax.models.convolutions import Conv
from t2i_jax.models.layers import patchify


class ResidualConv(nn.Module):
    """`h + conv silu(norm(conv silu(norm(h))))`: [B, H, W, C] to the same (pre-activation, He et al. 2016).

    Norms are RMSNorms over channels: a place is scaled by what it holds itself, whatever stands beside it.
    """

    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, h: Array) -> Array:
        small = nn.initializers.variance_scaling(0.1, "fan_in", "normal")
        inner = Conv(h.shape[-1], dtype=self.dtype)(nn.silu(nn.RMSNorm(dtype=self.dtype)(h)))
        inner = Conv(h.shape[-1], kernel_init=small, dtype=self.dtype)(nn.silu(nn.RMSNorm(dtype=self.dtype)(inner)))
        return by_example(h + inner)


class ConvAutoencoder(nn.Module):
    """images [B, *image_shape] in [-1, 1] <-> latents [B, H/f, W/f, latent], f = patch * 2^(len(channels) - 1)
    (VAE, Kingma & Welling 2014; maps as in latent diffusion, Rombach et al. 2022, appendix G).

    Pictures are read in patches, so that no layer works on single pixels; then `blocks` residual blocks at each resolution,
    halved between them.
    """

    image_shape: tuple[int, int, int]  # H, W, C
    latent: int = 4  # channels
    patch: int = 2
    channels: tuple[int, ...] = (128, 256, 512)
    blocks: int = 2
    remat: bool = False
    dtype: jnp.dtype | None = None

    @property
    def factor(self) -> int:
        """Pixels of a side that one place of a latent stands for."""
        return self.patch * 2 ** (len(self.channels) - 1)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """[H/f, W/f, latent]."""
        return self.image_shape[0] // self.factor, self.image_shape[1] // self.factor, self.latent

    def setup(self):
        block = nn.remat(ResidualConv) if self.remat else ResidualConv
        conv = lambda size, **options: Conv(size, dtype=self.dtype, **options)
        level = lambda: [block(dtype=self.dtype) for _ in range(self.blocks)]
        self.encoder_in, self.decoder_in = conv(self.channels[0]), conv(self.channels[-1])
        self.encoder, self.decoder = [level() for _ in self.channels], [level() for _ in self.channels]
        self.down = [conv(size, stride=2) for size in self.channels[1:]]
        self.up = [conv(size) for size in self.channels[-2::-1]]
        self.encoder_norm, self.decoder_norm = nn.RMSNorm(dtype=self.dtype), nn.RMSNorm(dtype=self.dtype)
        self.mean = conv(self.latent)
        self.spread = conv(self.latent, kernel_init=nn.initializers.zeros, bias_init=nn.initializers.constant(-5.0))
        self.decoder_out = conv(self.patch**2 * self.image_shape[2])

    def encode(self, images: Array) -> tuple[Array, Array]:
        """(mean, log variance) of the posterior over latents, [B, H/f, W/f, latent] each."""
        h = self.encoder_in(patchify(images, self.patch))
        for number, level in enumerate(self.encoder):
            h = by_example(self.down[number - 1](h) if number else h)
            for block in level:
                h = block(h)
        h = nn.silu(self.encoder_norm(h))
        return self.mean(h), self.spread(h)

    def decode(self, latents: Array) -> Array:
        """Images [B, H, W, C]; may leave [-1, 1] a little."""
        h = self.decoder_in(latents)
        for number, level in enumerate(self.decoder):
            h = by_example(self.up[number - 1](_twice(h)) if number else h)
            for block in level:
                h = block(h)
        patches = self.decoder_out(nn.silu(self.decoder_norm(h)))
        return rearrange(patches, "b h w (p q c) -> b (h p) (w q) c", p=self.patch, q=self.patch)

    def __call__(self, images: Array) -> Array:
        """Reconstruction from the posterior's mean."""
        return self.decode(self.encode(images)[0])


def _twice(h: Array) -> Array:
    """Every place as two by two of it: [B, H, W, C] to [B, 2H, 2W, C]."""
    return jnp.repeat(jnp.repeat(h, 2, axis=1), 2, axis=2)
