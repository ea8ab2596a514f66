"""Trainable text encoders for short captions."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from t2i_jax.distributed.activations import by_example
from t2i_jax.models.layers import TransformerBlock


class TextEncoder(nn.Module):
    """A small transformer over tokens, or with `depth` 0 a bag of words, with one vector for the whole sentence.

    tokens [B, L] int32 below `vocabulary`, mask [B, L] bool, True on tokens -> (token features [B, L, width], sentence
    [B, width]). The sentence is the mean over tokens, normalized by RMSNorm; padding changes neither.

    bound: places multiply words, so that even a bag of them tells "right arrow curving left" from "left arrow curving right"
    (binding as in holographic representations, Plate 1995).
    """

    vocabulary: int
    width: int = 128
    depth: int = 2
    heads: int = 4
    hidden: int = 256
    bound: bool = False
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, tokens: Array, mask: Array) -> tuple[Array, Array]:
        # Words start far apart and places near each other: what is said matters more than where.
        words = nn.Embed(self.vocabulary, self.width, embedding_init=nn.initializers.normal(0.5), dtype=self.dtype)
        places = self.param("places", nn.initializers.normal(0.1), (tokens.shape[1], self.width))
        h = words(tokens)
        if self.bound:
            # Near 1: what a word means is shared by all places until captions say that order matters.
            h *= 1 + self.param("gains", nn.initializers.normal(0.1), places.shape).astype(self.dtype)[None]
        h += places.astype(self.dtype)[None]
        for number in range(self.depth):
            h = TransformerBlock(self.heads, self.hidden, dtype=self.dtype, name=f"block_{number}")(by_example(h), mask)
        h = h * mask[..., None]
        mean = h.sum(axis=1) / jnp.maximum(mask.sum(axis=1, keepdims=True), 1)
        return h, nn.RMSNorm(dtype=self.dtype)(mean)
