"""An image encoder and a caption encoder into one space, where what belongs together lies close."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange, reduce
from jax import Array

from t2i_jax.models.layers import ResidualMLP, patchify
from t2i_jax.models.text import TextEncoder


class ImageEncoder(nn.Module):
    """Images [B, H, W, C] in [-1, 1] -> unit vectors [B, embedding].

    A grid of at most 2 `grid` x 2 `grid` patches becomes `colours` features each, and 2 x 2 of these `features`, by
    layers that all places share. A residual MLP then sees what stands where, and beside it the mean over places of
    both: a skin tone is a colour wherever it is, which an MLP over pixels hardly learns. H = W is even.
    """

    embedding: int
    grid: int = 8
    colours: int = 32
    features: int = 64
    width: int = 512
    hidden: int = 512
    blocks: int = 2

    @nn.compact
    def __call__(self, images: Array) -> Array:
        mean = lambda h: reduce(h, "b h w c -> b c", "mean")
        side = images.shape[1]
        grid = max(count for count in range(1, self.grid + 1) if side % (2 * count) == 0)
        h = nn.Dense(self.colours)(patchify(images, side // (2 * grid)))
        colours = nn.silu(nn.RMSNorm()(h))
        h = nn.Dense(self.features)(patchify(colours, 2))
        h = ResidualMLP(2 * self.features)(h)
        parts = nn.silu(nn.RMSNorm()(h))
        everywhere = nn.RMSNorm()(jnp.concatenate([mean(colours), mean(parts)], axis=-1))
        places = rearrange(parts, "b h w c -> b (h w c)")
        h = nn.Dense(self.width)(places) + nn.Dense(self.width)(everywhere)
        for number in range(self.blocks):
            h = ResidualMLP(self.hidden, name=f"block_{number}")(h)
        return unit(nn.Dense(self.embedding)(nn.RMSNorm()(h)))


class CaptionEncoder(nn.Module):
    """Captions -> unit vectors [B, embedding]: a TextEncoder's sentence, projected. Inputs are the same."""

    embedding: int
    vocabulary: int
    width: int = 64
    depth: int = 1
    heads: int = 4
    hidden: int = 128

    @nn.compact
    def __call__(self, tokens: Array, mask: Array) -> Array:
        reader = TextEncoder(self.vocabulary, self.width, self.depth, self.heads, self.hidden)
        return unit(nn.Dense(self.embedding)(reader(tokens, mask)[1]))


def unit(x: Array) -> Array:
    """x [..., D] at length 1; zero stays zero."""
    return x * jax.lax.rsqrt(jnp.sum(x**2, axis=-1, keepdims=True) + 1e-12)
