"""Layers of today's transformers: attention with normalized queries and keys, rotary places, gated perceptrons, stacks."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jax import Array
from jax.ad_checkpoint import checkpoint_name

from t2i_jax.models.products import Dense, features_by_kernel

KEPT = "kept"  # by name, what `keep` of a stack keeps


def angles(rows: int, columns: int, size: int, base: float = 100.0) -> np.ndarray:
    """Rotary angles [rows*columns, size/2] of the places of a grid, row by row (RoPE, Su et al. 2021, equation 15).

    The first half of the angles turns with the row, the second with the column, at frequencies from 1 to almost 1/base.
    size: of a head, a multiple of 4.
    """
    frequencies = base ** -(np.arange(size // 4) / (size // 4))
    row, column = np.divmod(np.arange(rows * columns), columns)
    return np.concatenate([row[:, None] * frequencies, column[:, None] * frequencies], axis=1).astype(np.float32)


def rotate(x: Array, turn: np.ndarray) -> Array:
    """Pairs of features turned by the angles of their place: x [B, N, heads, size], turn [N, size/2]."""
    cosine, sine = np.cos(turn)[None, :, None], np.sin(turn)[None, :, None]
    first, second = jnp.split(x, 2, axis=-1)
    turned = jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)
    return turned.astype(x.dtype)


class Out(nn.Module):
    """The last product of a branch, without bias: [..., any] to [..., features].

    gain: how a learnt gain a channel starts (LayerScale, Touvron et al. 2021), None for none. It multiplies the kernel, which
    gives the same, so that its derivative needs no result of the branch and none has to be kept or computed again.
    """

    features: int
    gain: float | None = None
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, h: Array) -> Array:
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (h.shape[-1], self.features))
        if self.gain is not None:
            kernel = kernel * self.param("gain", nn.initializers.constant(self.gain), (self.features,))[None]
        h, kernel = nn.dtypes.promote_dtype(h, kernel, dtype=self.dtype)
        return features_by_kernel(h, kernel)


class Attention(nn.Module):
    """What h [B, N, W] finds in source [B, L, any]: [B, N, W] (Vaswani et al. 2017; QK-norm: Henry et al. 2020).

    mask [B, L] bool: True on places that may be looked at, None for all. turn [N, W/heads/2]: rotary angles of the places
    of both, None for none. gain: see Out.
    """

    heads: int
    gain: float | None = None
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, h: Array, source: Array, mask: Array | None = None, turn: np.ndarray | None = None) -> Array:
        dense = lambda name: Dense(h.shape[-1], use_bias=False, dtype=self.dtype, name=name)
        project = lambda x, name: rearrange(dense(name)(x), "b l (n d) -> b l n d", n=self.heads)
        normal = lambda x, name: nn.RMSNorm(dtype=self.dtype, name=f"{name}_norm")(project(x, name))
        query, key = normal(h, "query"), normal(source, "key")
        if turn is not None:
            query, key = rotate(query, turn), rotate(key, turn)
        # Normalized queries and keys keep logits small, so that they may be stored in half precision; XLA adds in full.
        logits = jnp.einsum("bqnd,bknd->bnqk", query, key * query.shape[-1] ** -0.5)
        if mask is not None:
            logits = jnp.where(mask[:, None, None], logits, jnp.finfo(logits.dtype).min / 2)
        weights = nn.softmax(logits.astype(jnp.promote_types(logits.dtype, jnp.float32))).astype(logits.dtype)
        found = jnp.einsum("bnqk,bknd->bqnd", weights, project(source, "value"))
        return Out(h.shape[-1], self.gain, self.dtype, name="out")(rearrange(found, "b l n d -> b l (n d)"))


class GatedPerceptron(nn.Module):
    """`W_3 (silu(W_1 h) · W_2 h)`: [..., W] to the same (SwiGLU, Shazeer 2020, equation 6). gain: see Out."""

    hidden: int
    gain: float | None = None
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, h: Array) -> Array:
        dense = lambda name: Dense(self.hidden, use_bias=False, dtype=self.dtype, name=name)
        gate, up = (checkpoint_name(dense(name)(h), KEPT) for name in ("gate", "up"))
        return Out(h.shape[-1], self.gain, self.dtype, name="down")(nn.silu(gate) * up)


def stack(block: type[nn.Module], depth: int, remat: bool, keep: bool = False) -> type[nn.Module]:
    """`depth` blocks one after another as one module, whose parameters have a leading axis for the block.

    A loop, so that a deep network compiles as fast as one block. block: a module `(h, *shared) -> (h, None)`.
    remat: the backward pass recomputes each block from its input instead of keeping what is inside; with `keep` all but
    the hidden layers of gated perceptrons, almost half of the products, and what blocks name KEPT themselves.
    """
    if remat:
        policy = jax.checkpoint_policies.save_only_these_names(KEPT) if keep else None
        # Inside a loop nothing can be shared between the passes by accident, so no barrier is needed against it.
        block = nn.remat(block, prevent_cse=False, policy=policy)
    return nn.scan(block, variable_axes={"params": 0}, split_rngs={"params": True}, in_axes=nn.broadcast, length=depth)
