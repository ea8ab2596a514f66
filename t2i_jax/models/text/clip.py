"""The text tower of CLIP, as its published weights need it."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from t2i_jax.models.attention import EncoderBlock, layer_norm, quick_gelu


class CLIPText(nn.Module):
    """tokens [B, L] int32, mask [B, L] bool -> (token features [B, L, width], sentence [B, embedding]); L <= `positions`.

    Radford et al. 2021, section 2.4: no token sees those after it; the sentence is the feature of the first token that
    is `end`, through `embedding` linear units where that is not None, float32 and not of unit length. Padding changes
    nothing, and its features are 0.

    end: None stands for files whose configuration names a wrong token (2): there it is the largest one of the vocabulary.
    """

    vocabulary: int
    width: int
    depth: int
    heads: int
    hidden: int
    positions: int = 77
    activation: Callable[[Array], Array] = quick_gelu
    epsilon: float = 1e-5
    end: int | None = None
    embedding: int | None = None
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, tokens: Array, mask: Array) -> tuple[Array, Array]:
        length = tokens.shape[1]
        table = lambda count, name: nn.Embed(count, self.width, dtype=self.dtype, name=name)
        h = table(self.vocabulary, "words")(tokens) + table(self.positions, "places")(jnp.arange(length)[None])
        earlier = jnp.tril(jnp.ones((length, length), bool))[None, None]
        for number in range(self.depth):
            block = EncoderBlock(self.heads, self.hidden, self.activation, self.epsilon, dtype=self.dtype,
                                 name=f"block_{number}")
            h = block(h, earlier & mask[:, None, None, :])
        h = layer_norm(self.epsilon, "norm", self.dtype)(h)
        ends = jnp.where(mask, tokens, -1) if self.end is None else mask & (tokens == self.end)
        sentence = jnp.take_along_axis(h, jnp.argmax(ends, axis=1)[:, None, None], axis=1)[:, 0]
        if self.embedding is not None:
            sentence = nn.Dense(self.embedding, use_bias=False, dtype=self.dtype, name="projection")(sentence)
        return jnp.where(mask[..., None], h, 0), sentence.astype(jnp.float32)
