"""The encoder of T5, as its published weights need it."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jax import Array

from t2i_jax.models.attention import SelfAttention
from t2i_jax.models.text.pooling import pool, unit


class T5Block(nn.Module):
    """Pre-norm attention, then a perceptron, both without biases and under RMSNorm: [B, L, width] to the same.

    mask [B, 1, 1, L] bool, bias [1, heads, L, L]. gated: the hidden layer is multiplied by another, linear one
    (Shazeer 2020, equation 6).
    """

    heads: int
    head_width: int
    hidden: int
    activation: Callable[[Array], Array]
    gated: bool
    epsilon: float
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, h: Array, mask: Array, bias: Array) -> Array:
        norm = lambda number: nn.RMSNorm(epsilon=self.epsilon, dtype=self.dtype, name=f"norm_{number}")
        dense = lambda size, name: nn.Dense(size, use_bias=False, dtype=self.dtype, name=name)
        # T5 does not scale scores: the queries' spread was made small instead.
        attention = SelfAttention(self.heads, self.heads * self.head_width, scale=1.0, use_bias=False, dtype=self.dtype,
                                  name="attention")
        h = h + attention(norm(1)(h), mask, bias)
        x = norm(2)(h)
        inner = self.activation(dense(self.hidden, "inner")(x))
        if self.gated:
            inner = inner * dense(self.hidden, "gate")(x)
        return h + dense(h.shape[-1], "outer")(inner)


class T5Encoder(nn.Module):
    """tokens [B, L] int32, mask [B, L] bool -> (token features [B, L, width], sentence [B, width]); any L.

    Raffel et al. 2020; `activation` ReLU and not `gated` is version 1.0, tanh-GELU and `gated` version 1.1. Padding
    changes nothing, and its features are 0. The sentence is float32: `pooling` of the tokens (see `pool`), with
    `normalize` of length 1.
    """

    vocabulary: int
    width: int
    depth: int
    heads: int
    head_width: int
    hidden: int
    activation: Callable[[Array], Array] = nn.relu
    gated: bool = False
    buckets: int = 32
    farthest: int = 128
    epsilon: float = 1e-6
    pooling: str = "mean"
    normalize: bool = False
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, tokens: Array, mask: Array) -> tuple[Array, Array]:
        distances = distance_buckets(tokens.shape[1], self.buckets, self.farthest)
        bias = rearrange(nn.Embed(self.buckets, self.heads, name="distances")(distances), "q k n -> 1 n q k")
        h = nn.Embed(self.vocabulary, self.width, dtype=self.dtype, name="words")(tokens)
        for number in range(self.depth):
            block = T5Block(self.heads, self.head_width, self.hidden, self.activation, self.gated, self.epsilon,
                            self.dtype, name=f"block_{number}")
            h = block(h, mask[:, None, None, :], bias)
        h = nn.RMSNorm(epsilon=self.epsilon, dtype=self.dtype, name="norm")(h)
        sentence = pool(h, mask, self.pooling)
        return jnp.where(mask[..., None], h, 0), unit(sentence) if self.normalize else sentence


def distance_buckets(length: int, buckets: int, farthest: int) -> np.ndarray:
    """Which entry of the bias table a token [length] uses for another [length]: int32 [length, length] below `buckets`.

    The upper half is for tokens further right. Within a half, distances up to a quarter of `buckets` have an entry each;
    the rest grow logarithmically up to `farthest`, and all beyond share the last (Raffel et al. 2020, section 2.1).
    """
    offset = np.arange(length)[None] - np.arange(length)[:, None]
    half = buckets // 2
    exact = half // 2
    distance = np.abs(offset)
    # In float32, as the weights were trained: a distance on the edge of two entries falls where rounding puts it.
    ratio = np.log(np.maximum(distance, 1).astype(np.float32) / np.float32(exact)) / np.float32(math.log(farthest / exact))
    rough = np.minimum(exact + (ratio * np.float32(half - exact)).astype(np.int32), half - 1)
    return (np.where(distance < exact, distance, rough) + half * (offset > 0)).astype(np.int32)
