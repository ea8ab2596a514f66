"""A transformer that predicts hidden tokens of a picture from visible ones, a caption, and noise."""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from t2i_jax.models.layers import ResidualMLP, emphasis

FREQUENCIES = 8  # cosines that a noise level is told by


class MaskedTokenTransformer(nn.Module):
    """Logits over the codebook at every place, [B, N, V], of a picture whose tokens are partly known.

    tokens [B, N, V]: one-hot, or straight-through draws, whose gradient passes; those of hidden places are not read
    known [B, N] bool: which places are visible
    noise [B, N, Z]: of each place; a hidden place is a learnt embedding plus a projection of `level` times its noise
    level [B] in [0, 1]: how noisy the input is, told to every block
    condition [B, D]: what holds for the whole picture, such as the sentence; scales and shifts every block's input
        (adaptive normalization, Perez et al. 2018; in transformers Peebles & Xie 2023)
    text [B, L, T], mask [B, L] as in `emphasis`, True on words: token features, read by cross-attention where `words` is true

    Attention is bidirectional, as in masked models (MaskGIT, Chang et al. 2022): what a block of tokens may depend on
    is decided by what is visible.
    """

    vocabulary: int  # V
    width: int = 128
    depth: int = 3
    heads: int = 4
    hidden: int = 256
    words: bool = True
    remat: bool = False
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(
        self, tokens: Array, known: Array, noise: Array, level: Array, condition: Array, text: Array, mask: Array
    ) -> Array:
        dense = lambda name, bias=True: nn.Dense(self.width, use_bias=bias, dtype=self.dtype, name=name)
        start = nn.initializers.normal(0.5)
        places = self.param("places", start, (tokens.shape[1], self.width)).astype(self.dtype)
        absent = self.param("absent", start, (self.width,)).astype(self.dtype)
        hidden = absent[None, None] + dense("noise", bias=False)(level[:, None, None] * noise)
        # One of V inputs is 1: as spread as the embeddings of places, whatever V.
        visible = nn.Dense(self.width, use_bias=False, dtype=self.dtype, kernel_init=start, name="tokens")(tokens)
        h = jnp.where(known[..., None], visible, hidden) + places[None]
        waves = jnp.cos(jnp.pi * level[:, None] * jnp.arange(FREQUENCIES, dtype=level.dtype)[None])
        condition = nn.silu(dense("condition")(condition) + dense("level")(waves))
        block = nn.remat(ConditionedBlock) if self.remat else ConditionedBlock
        for number in range(self.depth):
            h = block(self.heads, self.hidden, self.words, self.dtype, name=f"block_{number}")(h, condition, text, mask)
        h = nn.RMSNorm(dtype=self.dtype)(h)
        return nn.Dense(self.vocabulary, dtype=self.dtype, name="logits")(h)


class ConditionedBlock(nn.Module):
    """Self-attention scaled and shifted by a condition, cross-attention to words, a ResidualMLP: [B, N, W] to same."""

    heads: int
    hidden: int
    words: bool
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, h: Array, condition: Array, text: Array, mask: Array) -> Array:
        attention = partial(nn.MultiHeadDotProductAttention, self.heads, dtype=self.dtype)
        gain, shift = jnp.split(nn.Dense(2 * h.shape[-1], dtype=self.dtype, name="modulation")(condition), 2, axis=-1)
        h = h + attention(name="places")(nn.RMSNorm(dtype=self.dtype)(h) * (1 + gain[:, None]) + shift[:, None])
        if self.words:
            # One key that is always there: a picture without a caption has something to look at.
            nothing = self.param("nothing", nn.initializers.normal(0.5), (text.shape[-1],)).astype(text.dtype)
            text = jnp.concatenate([jnp.broadcast_to(nothing[None, None], (len(text), 1, len(nothing))), text], axis=1)
            look = partial(nn.dot_product_attention, bias=emphasis(jnp.pad(mask, ((0, 0), (1, 0)), constant_values=1)))
            h = h + attention(name="words", attention_fn=look)(nn.RMSNorm(dtype=self.dtype)(h), text)
        return ResidualMLP(self.hidden, dtype=self.dtype)(h)
