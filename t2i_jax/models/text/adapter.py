"""What stands between a language model and the networks that read it."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array


class LanguageAdapter(nn.Module):
    """(words [B, L, F], sentence [B, S]) of a language model -> the same in `width` dimensions, of mean square about 1.

    Language models differ in size and scale of their features; both are normalized (RMSNorm) before and after a dense layer.
    """

    width: int
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, words: Array, sentence: Array) -> tuple[Array, Array]:
        norm = lambda name: nn.RMSNorm(dtype=self.dtype, name=name)
        dense = lambda name: nn.Dense(self.width, dtype=self.dtype, name=name)
        return (norm("words_out")(dense("words")(norm("words_in")(words))),
                norm("sentence_out")(dense("sentence")(norm("sentence_in")(sentence))))
