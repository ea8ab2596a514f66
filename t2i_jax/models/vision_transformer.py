"""Vision transformers whose published weights serve as feature networks: CLIP's image tower and DINOv2."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jax import Array

from t2i_jax.models.attention import EncoderBlock, exact_gelu, layer_norm, quick_gelu


def _patches(images: Array, width: int, patch: int, use_bias: bool) -> Array:
    embed = nn.Conv(width, (patch, patch), (patch, patch), "VALID", use_bias=use_bias, name="patch_embedding")
    return rearrange(embed(images), "b h w d -> b (h w) d")


class CLIPVision(nn.Module):
    """images [B, S, S, 3], normalised as CLIP's -> embeddings [B, embedding], not of unit length.

    The image tower of CLIP (Radford et al. 2021, section 2.4): class token, LayerNorm before and after the blocks,
    quick GELU, projection. S = `patch` times the square root of the position embeddings less one.
    """

    width: int
    depth: int
    heads: int
    patch: int
    embedding: int

    @nn.compact
    def __call__(self, images: Array) -> Array:
        patches = _patches(images, self.width, self.patch, use_bias=False)
        start = nn.initializers.normal(self.width**-0.5)
        token = jnp.broadcast_to(self.param("class_embedding", start, (self.width,)), (len(images), 1, self.width))
        h = jnp.concatenate([token, patches], axis=1)
        h = h + self.param("position_embedding", start, h.shape[1:])[None]
        h = layer_norm(1e-5, "norm_before")(h)
        for number in range(self.depth):
            h = EncoderBlock(self.heads, 4 * self.width, quick_gelu, 1e-5, name=f"block_{number}")(h)
        return nn.Dense(self.embedding, use_bias=False, name="projection")(layer_norm(1e-5, "norm")(h[:, 0]))


class DINOv2(nn.Module):
    """images [B, h*patch, w*patch, 3], normalised as ImageNet's -> class token [B, width] after the last LayerNorm.

    Oquab et al. 2023; with `registers`, further tokens that nothing reads (Darcet et al. 2023). `grid`: patches a side
    that positions were trained for. For another number they are interpolated as in the implementation that the
    published files belong to: bicubic, with an antialiasing filter where there are registers and without one where not.
    """

    width: int
    depth: int
    heads: int
    patch: int = 14
    registers: int = 0
    grid: int = 37

    @nn.compact
    def __call__(self, images: Array) -> Array:
        count, height, width = len(images), images.shape[1] // self.patch, images.shape[2] // self.patch
        repeat = lambda tokens: jnp.broadcast_to(tokens, (count, *tokens.shape[1:]))
        start = nn.initializers.normal(0.02)
        token = repeat(self.param("class_token", start, (1, 1, self.width)))
        positions = self.param("position_embeddings", start, (1, 1 + self.grid**2, self.width))
        places = rearrange(positions[0, 1:], "(h w) d -> h w d", h=self.grid)
        places = rearrange(interpolate(places, height, width, antialias=self.registers > 0), "h w d -> 1 (h w) d")
        patches = _patches(images, self.width, self.patch, use_bias=True) + places
        tokens = [token + positions[:, :1], patches]
        if self.registers:
            tokens.insert(1, repeat(self.param("register_tokens", start, (1, self.registers, self.width))))
        h = jnp.concatenate(tokens, axis=1)
        for number in range(self.depth):
            h = EncoderBlock(self.heads, 4 * self.width, exact_gelu, 1e-6, layer_scale=True, name=f"block_{number}")(h)
        return layer_norm(1e-6, "norm")(h[:, 0])


def interpolate(places: Array, height: int, width: int, antialias: bool) -> Array:
    """Bicubic interpolation [h, w, D] -> [height, width, D] as PyTorch's: its kernel has a = -1/2 with antialiasing,
    -3/4 without."""
    if places.shape[:2] == (height, width):
        return places
    if antialias:
        return jax.image.resize(places, (height, width, places.shape[2]), "cubic")
    rows, columns = cubic_weights(places.shape[0], height), cubic_weights(places.shape[1], width)
    return jnp.einsum("Hh,Ww,hwd->HWd", rows, columns, places)


def cubic_weights(old: int, new: int) -> np.ndarray:
    """Cubic convolution along one axis as a matrix [new, old], edges repeated (Keys 1981, equation 4 with a = -3/4)."""
    centres = (np.arange(new) + 0.5) * old / new - 0.5
    matrix = np.zeros((new, old), np.float32)
    for tap in (-1, 0, 1, 2):
        index = np.floor(centres).astype(int) + tap
        s = np.abs(centres - index)
        weight = np.where(s <= 1, 1.25 * s**3 - 2.25 * s**2 + 1, -0.75 * s**3 + 3.75 * s**2 - 6 * s + 3)
        np.add.at(matrix, (np.arange(new), index.clip(0, old - 1)), weight)
    return matrix
