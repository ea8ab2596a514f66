"""A KL autoencoder of small pictures into one flat latent, both ways linear plus a learnt residual.

Principal components are a strong code for a small data set (a 160-dimensional one beats a patch-mixer VAE of 256), so
both linear paths start as PCA and the residuals, whose last layers start at zero, learn what it cannot do.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array

from t2i_jax.models.layers import ResidualStack


class Autoencoder(nn.Module):
    """images [B, *image_shape] in [-1, 1] <-> latents [B, latent] (VAE, Kingma & Welling 2014)."""

    image_shape: tuple[int, int, int]  # H, W, C
    latent: int = 512
    encoder_hidden: int = 512
    width: int = 512
    hidden: int = 1024
    blocks: int = 2
    remat: bool = False
    dtype: jnp.dtype | None = None

    factor = 1  # any sides will do

    @property
    def latent_shape(self) -> tuple[int]:
        """One vector."""
        return (self.latent,)

    def setup(self):
        zeros = nn.initializers.zeros
        self.linear_encoder = nn.Dense(self.latent, dtype=self.dtype)
        self.encoder_in = nn.Dense(self.encoder_hidden, dtype=self.dtype)
        self.encoder_out = nn.Dense(self.latent, kernel_init=zeros, dtype=self.dtype)
        self.spread = nn.Dense(
            self.latent, kernel_init=zeros, bias_init=nn.initializers.constant(-5.0), dtype=self.dtype
        )
        self.linear_decoder = nn.Dense(math.prod(self.image_shape), dtype=self.dtype)
        self.decoder_stack = ResidualStack(self.width, self.hidden, self.blocks, self.remat, self.dtype)
        self.decoder_out = nn.Dense(math.prod(self.image_shape), kernel_init=zeros, dtype=self.dtype)

    def encode(self, images: Array) -> tuple[Array, Array]:
        """(mean, log variance) of the posterior over latents, [B, latent] each."""
        pixels = rearrange(images, "b h w c -> b (h w c)")
        hidden = nn.silu(self.encoder_in(pixels))
        return self.linear_encoder(pixels) + self.encoder_out(hidden), self.spread(hidden)

    def decode(self, latents: Array) -> Array:
        """Images [B, H, W, C]; may leave [-1, 1] a little."""
        pixels = self.linear_decoder(latents) + self.decoder_out(self.decoder_stack(latents))
        height, width, channels = self.image_shape
        return rearrange(pixels, "b (h w c) -> b h w c", h=height, w=width, c=channels)

    def __call__(self, images: Array) -> Array:
        """Reconstruction from the posterior's mean."""
        return self.decode(self.encode(images)[0])


def start_as_pca(params: dict, images: Array, key: Array) -> dict:
    """The parameters of an autoencoder with its linear paths set to the principal components of `images` [N, H, W, C].

    Latents then have mean square 1 over their dimensions together; directions that fewer than `latent` pictures leave
    open stay zero. Randomized subspace iteration (Halko et al. 2011, section 4.5): only matrices N x latent and
    pixels x latent are decomposed, so 64x64 colour pictures take seconds.
    """
    pixels = rearrange(images, "n h w c -> n (h w c)")
    mean = pixels.mean(axis=0)
    centred = pixels - mean[None]
    latent = params["linear_encoder"]["bias"].shape[0]
    rank = min(latent, *centred.shape)
    spare = min(rank + 10, *centred.shape)  # the last directions of an iterated subspace are the least exact
    start = jax.random.normal(key, (centred.shape[1], spare), centred.dtype)
    basis = jnp.linalg.qr(start)[0]
    for _ in range(4):  # made orthogonal once a round: single precision bears the square of what pictures' variances span
        basis = jnp.linalg.qr(centred.T @ (centred @ basis))[0]
    _, deviations, rotation = jnp.linalg.svd(centred @ basis, full_matrices=False)
    components = jnp.pad((basis @ rotation.T)[:, :rank], ((0, 0), (0, latent - rank)))
    scale = jnp.maximum(jnp.linalg.norm(deviations[:rank]) / math.sqrt(len(pixels) * latent), 1e-6)
    encoder = {"kernel": components / scale, "bias": -mean @ components / scale}
    decoder = {"kernel": components.T * scale, "bias": mean}
    cast = lambda new, old: jax.tree.map(lambda x, y: x.astype(y.dtype), new, old)
    return params | {
        "linear_encoder": cast(encoder, params["linear_encoder"]),
        "linear_decoder": cast(decoder, params["linear_decoder"]),
    }
