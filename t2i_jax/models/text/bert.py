"""BERT and the MiniLM family of sentence encoders, as their published weights need them."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from t2i_jax.models.attention import SelfAttention, exact_gelu, layer_norm
from t2i_jax.models.text.pooling import pool, unit


class BertBlock(nn.Module):
    """Attention, then a two-layer perceptron, LayerNorm after each sum: [B, L, width] to the same; mask [B, 1, 1, L]."""

    heads: int
    hidden: int
    activation: Callable[[Array], Array]
    epsilon: float
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, h: Array, mask: Array) -> Array:
        dense = lambda size, name: nn.Dense(size, dtype=self.dtype, name=name)
        norm = lambda number: layer_norm(self.epsilon, f"norm_{number}", self.dtype)
        h = norm(1)(h + SelfAttention(self.heads, dtype=self.dtype, name="attention")(h, mask))
        return norm(2)(h + dense(h.shape[-1], "outer")(self.activation(dense(self.hidden, "inner")(h))))


class Bert(nn.Module):
    """tokens [B, L] int32, mask [B, L] bool -> (token features [B, L, width], sentence [B, width]); L <= `positions`.

    The encoder of Devlin et al. 2019. Padding changes nothing, and its features are 0. The sentence is float32:
    `pooling` of the tokens (see `pool`), or "pooler": the first token through BERT's own dense layer and tanh; with
    `normalize` of length 1.
    """

    vocabulary: int
    width: int
    depth: int
    heads: int
    hidden: int
    positions: int = 512
    types: int = 2  # kinds of segments; a caption is of kind 0
    activation: Callable[[Array], Array] = exact_gelu
    epsilon: float = 1e-12
    pooling: str = "mean"
    normalize: bool = False
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, tokens: Array, mask: Array) -> tuple[Array, Array]:
        table = lambda count, name: nn.Embed(count, self.width, dtype=self.dtype, name=name)
        places, kinds = jnp.arange(tokens.shape[1])[None], jnp.zeros((1, 1), jnp.int32)
        h = table(self.vocabulary, "words")(tokens)
        h = h + table(self.types, "kinds")(kinds) + table(self.positions, "places")(places)
        h = layer_norm(self.epsilon, "norm", self.dtype)(h)
        for number in range(self.depth):
            block = BertBlock(self.heads, self.hidden, self.activation, self.epsilon, self.dtype, name=f"block_{number}")
            h = block(h, mask[:, None, None, :])
        if self.pooling == "pooler":
            sentence = nn.tanh(nn.Dense(self.width, dtype=self.dtype, name="pooler")(h[:, 0])).astype(jnp.float32)
        else:
            sentence = pool(h, mask, self.pooling)
        return jnp.where(mask[..., None], h, 0), unit(sentence) if self.normalize else sentence
