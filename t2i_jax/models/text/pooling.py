"""One vector for a sentence from the vectors of its tokens."""

import jax.numpy as jnp
from jax import Array

POOLINGS = ("cls", "mean", "mean_sqrt_len", "max")


def pool(words: Array, mask: Array, pooling: str) -> Array:
    """words [B, L, D], mask [B, L] bool -> [B, D], as sentence-transformers' pooling of that name (Reimers & Gurevych
    2019, section 3): the first token, the mean over tokens, their sum over the root of their number, or the largest."""
    words, count = words.astype(jnp.float32), jnp.maximum(mask.sum(axis=1, keepdims=True), 1)
    match pooling:
        case "cls":
            return words[:, 0]
        case "mean":
            return jnp.where(mask[..., None], words, 0).sum(axis=1) / count
        case "mean_sqrt_len":
            return jnp.where(mask[..., None], words, 0).sum(axis=1) / jnp.sqrt(count)
        case "max":
            return jnp.where(mask[..., None], words, -jnp.inf).max(axis=1)
    raise ValueError(f"pooling {pooling!r} is none of {', '.join(POOLINGS)}")


def unit(vectors: Array) -> Array:
    """Vectors [..., D] at length 1; zero stays zero."""
    return vectors / jnp.maximum(jnp.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
