"""Pictures as short sequences of latents, one for each patch, and back."""

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange
from jax import Array

from t2i_jax.models.convolutions import unfold
from t2i_jax.models.layers import ResidualMLP, patchify


class MixerBlock(nn.Module):
    """A residual MLP over places, then one over channels: [B, N, width] to the same (MLP-Mixer, Tolstikhin et al. 2021)."""

    tokens_hidden: int
    hidden: int
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, h: Array) -> Array:
        small = nn.initializers.variance_scaling(0.25, "fan_in", "normal")
        across = rearrange(nn.RMSNorm(dtype=self.dtype)(h), "b n d -> b d n")
        across = nn.silu(nn.Dense(self.tokens_hidden, dtype=self.dtype)(across))
        across = nn.Dense(h.shape[1], kernel_init=small, dtype=self.dtype)(across)
        return ResidualMLP(self.hidden, dtype=self.dtype)(h + rearrange(across, "b d n -> b n d"))


class PatchAutoencoder(nn.Module):
    """Images [B, H, W, C] in [-1, 1] <-> latents [B, N, latent], one for each patch, N = (H/patch)(W/patch), row by row.

    learnt: both ways a linear map of the patch, to be started as PCA (autoencoders.start_as_pca of patches), plus a residual
    that starts at zero: an encoder in which a patch sees its neighbours, a decoder in which all places speak with each other.
    Otherwise latents are the pixels of their patch, latent = patch² C, and there are no parameters: with patch 1, pixels
    themselves. Matrix products throughout.
    """

    image_shape: tuple[int, int, int]  # H, W, C
    patch: int = 4
    latent: int = 16
    width: int = 128
    hidden: int = 256
    blocks: int = 2  # of the encoder and of the decoder
    learnt: bool = True
    dtype: jnp.dtype | None = None

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.image_shape[0] // self.patch, self.image_shape[1] // self.patch

    @property
    def values(self) -> int:
        """Numbers in a patch: patch² C."""
        return self.patch**2 * self.image_shape[2]

    def setup(self):
        if not self.learnt:
            return
        zeros, (rows, columns) = nn.initializers.zeros, self.grid
        dense = lambda size, **options: nn.Dense(size, dtype=self.dtype, **options)
        norm = lambda: nn.RMSNorm(dtype=self.dtype)
        self.linear_encoder, self.linear_decoder = dense(self.latent), dense(self.values)
        self.embed, self.surround, self.expand = dense(self.width // 2), dense(self.width), dense(self.width)
        self.encoder = [ResidualMLP(self.hidden, dtype=self.dtype) for _ in range(self.blocks)]
        self.decoder = [MixerBlock(2 * rows * columns, self.hidden, self.dtype) for _ in range(self.blocks)]
        self.encoder_norm, self.decoder_norm = norm(), norm()
        self.encoder_out, self.decoder_out = dense(self.latent, kernel_init=zeros), dense(self.values, kernel_init=zeros)
        self.places = self.param("places", nn.initializers.normal(0.02), (rows * columns, self.width))

    def encode(self, images: Array) -> Array:
        """Latents [B, N, latent]."""
        grid = patchify(images, self.patch)
        patches = rearrange(grid, "b h w d -> b (h w) d")
        if not self.learnt:
            return patches
        h = nn.silu(self.embed(grid))
        h = self.surround(rearrange(unfold(h, 3, 1), "b h w d -> b (h w) d"))
        for block in self.encoder:
            h = block(h)
        return self.linear_encoder(patches) + self.encoder_out(self.encoder_norm(h))

    def decode(self, latents: Array) -> Array:
        """Images [B, H, W, C]; may leave [-1, 1] a little."""
        rows, _ = self.grid
        patches = latents
        if self.learnt:
            h = self.expand(latents)
            h += self.places.astype(h.dtype)[None]
            for block in self.decoder:
                h = block(h)
            patches = self.linear_decoder(latents) + self.decoder_out(self.decoder_norm(h))
        return rearrange(patches, "b (h w) (p q c) -> b (h p) (w q) c", h=rows, p=self.patch, q=self.patch)

    def __call__(self, images: Array) -> Array:
        """Reconstruction by way of unquantised latents."""
        return self.decode(self.encode(images))
