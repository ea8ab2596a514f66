"""Attention blocks of published transformers, with the details their weights were trained with."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array

from t2i_jax.models.products import Dense


def quick_gelu(x: Array) -> Array:
    """`x σ(1.702 x)`, the approximation CLIP was trained with (Hendrycks & Gimpel 2016, section 2)."""
    return x * nn.sigmoid(1.702 * x)


def exact_gelu(x: Array) -> Array:
    """`x Φ(x)` (Hendrycks & Gimpel 2016, equation 1)."""
    return nn.gelu(x, approximate=False)


def layer_norm(epsilon: float, name: str, dtype: jnp.dtype | None = None) -> nn.LayerNorm:
    """LayerNorm whose variance is taken around the mean: these networks have channels far from zero."""
    return nn.LayerNorm(epsilon=epsilon, use_fast_variance=False, dtype=dtype, name=name)


class SelfAttention(nn.Module):
    """Multi-head self-attention: [B, L, width] to the same (Vaswani et al. 2017).

    mask [B or 1, 1, L or 1, L] bool: True where a token (third axis) may attend to another (last axis).
    bias [1, heads, L, L]: added to the scores. They and their softmax are float32 in any dtype.
    inner: width of all heads together, None: that of the input. scale: of the scores, None: (inner / heads)^-1/2.
    """

    heads: int
    inner: int | None = None
    scale: float | None = None
    use_bias: bool = True
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, h: Array, mask: Array | None = None, bias: Array | None = None) -> Array:
        dense = lambda size, name: Dense(size, use_bias=self.use_bias, dtype=self.dtype, name=name)
        inner = self.inner or h.shape[-1]
        project = lambda name: rearrange(dense(inner, name)(h), "b l (n d) -> b l n d", n=self.heads)
        seen = jax.nn.dot_product_attention(
            project("query"), project("key"), project("value"), bias, mask, scale=self.scale)
        return dense(h.shape[-1], "out")(rearrange(seen, "b l n d -> b l (n d)"))


class EncoderBlock(nn.Module):
    """Pre-norm attention, then a two-layer perceptron: [B, L, width] to the same.

    layer_scale: each branch is multiplied by a learned gain per channel (Touvron et al. 2021, equation 7).
    """

    heads: int
    hidden: int
    activation: Callable[[Array], Array]
    epsilon: float
    layer_scale: bool = False
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, h: Array, mask: Array | None = None) -> Array:
        def gained(branch: Array, name: str) -> Array:
            if not self.layer_scale:
                return branch
            return self.param(name, nn.initializers.ones, branch.shape[-1:]).astype(branch.dtype)[None, None] * branch

        norm = lambda number: layer_norm(self.epsilon, f"norm_{number}", self.dtype)
        dense = lambda size, name: Dense(size, dtype=self.dtype, name=name)
        h = h + gained(SelfAttention(self.heads, dtype=self.dtype, name="attention")(norm(1)(h), mask), "scale_1")
        inner = self.activation(dense(self.hidden, "inner")(norm(2)(h)))
        return h + gained(dense(h.shape[-1], "outer")(inner), "scale_2")
