"""Blocks that several networks share."""

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange
from jax import Array

from t2i_jax.models.products import Dense


class ResidualMLP(nn.Module):
    """`h + W_2 silu(W_1 rmsnorm(h))`: [..., width] to the same (pre-norm residual block, RMSNorm: Zhang & Sennrich 2019)."""

    hidden: int
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, h: Array) -> Array:
        inner = nn.silu(Dense(self.hidden, dtype=self.dtype)(nn.RMSNorm(dtype=self.dtype)(h)))
        # Half the usual spread: a deep stack starts near the identity.
        small = nn.initializers.variance_scaling(0.25, "fan_in", "normal")
        return h + Dense(h.shape[-1], kernel_init=small, dtype=self.dtype)(inner)


class ResidualStack(nn.Module):
    """A dense layer to `width`, `blocks` ResidualMLPs, RMSNorm: [..., any] to [..., width].

    remat: recompute each block in the backward pass instead of keeping its activations.
    """

    width: int
    hidden: int
    blocks: int
    remat: bool = False
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        block = nn.remat(ResidualMLP) if self.remat else ResidualMLP
        h = Dense(self.width, dtype=self.dtype)(x)
        for number in range(self.blocks):
            h = block(self.hidden, dtype=self.dtype, name=f"block_{number}")(h)
        return nn.RMSNorm(dtype=self.dtype)(h)


class TransformerBlock(nn.Module):
    """Pre-norm self-attention, then a ResidualMLP: [B, L, width] to the same (Vaswani et al. 2017).

    mask [B, L] bool: True on tokens that may be attended to.
    """

    heads: int
    hidden: int
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, h: Array, mask: Array) -> Array:
        attention = nn.MultiHeadDotProductAttention(self.heads, dtype=self.dtype)
        h = h + attention(nn.RMSNorm(dtype=self.dtype)(h), mask=mask[:, None, None, :])
        return ResidualMLP(self.hidden, dtype=self.dtype)(h)


class WordAttention(nn.Module):
    """What vectors h [B, width] find among words [B, L, D], to be added to them: [B, width].

    Each of `heads` looks words up by itself, with `features` dimensions in all (Vaswani et al. 2017, section 3.2.2).
    mask [B, L]: as in `emphasis`.
    """

    heads: int
    features: int
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, h: Array, words: Array, mask: Array) -> Array:
        dense = lambda size, name: Dense(size, dtype=self.dtype, name=name)
        query = rearrange(dense(self.features, "query")(nn.RMSNorm(dtype=self.dtype)(h)), "b (n d) -> b 1 n d", n=self.heads)
        key, value = (rearrange(dense(self.features, name)(words), "b l (n d) -> b l n d", n=self.heads)
                      for name in ("key", "value"))
        found = nn.dot_product_attention(query, key, value, bias=emphasis(mask), dtype=self.dtype)
        return dense(h.shape[-1], "out")(rearrange(found, "b 1 n d -> b (n d)"))


def emphasis(mask: Array) -> Array:
    """What attention adds to its logits so that words count by `mask` [B, L]: [B, 1, 1, L] float32.

    mask: bool, True on words; or weights of at least 0, by which each word counts as if it stood there so many times.
    """
    weights = mask.astype(jnp.float32)
    return jnp.where(weights > 0, jnp.log(jnp.maximum(weights, 1e-30)), jnp.finfo(jnp.float32).min)[:, None, None]


def patchify(images: Array, patch: int) -> Array:
    """[B, h*patch, w*patch, C] to [B, h, w, patch*patch*C]."""
    return rearrange(images, "b (h p) (w q) c -> b h w (p q c)", p=patch, q=patch)
