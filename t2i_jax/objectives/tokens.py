"""Objectives of images made of discrete tokens: the likelihood of a sequence, and the codebook's own loss."""

import jax
import jax.numpy as jnp
import optax
from jax import Array

from t2i_jax.objectives.precision import at_least_float32


def token_nll(logits: Array, tokens: Array, counted: Array | bool = True) -> Array:
    """`-Σ_i log p(x_i | x_<i, t)`: `[B]` float32 from logits `[B, N, V]` and tokens `[B, N]`, integers below V.

    counted `[B, N]` bool: the places that the sum runs over.
    """
    nll = optax.softmax_cross_entropy_with_integer_labels(at_least_float32(logits), tokens)
    return jnp.sum(nll, axis=1, where=counted)


def codebook_loss(encoded: Array, quantised: Array, *, commitment_weight: float) -> Array:
    """`E[(sg(e) - q)² + β (e - sg(q))²]`: a float32 scalar (VQ-VAE, van den Oord et al. 2017, eq. 3), usually β = 0.25.

    encoded `e`, quantised `q`: `[B, ..., D]`, what the encoder said and the codebook vectors nearest to it.
    """
    return commitment_loss(quantised, encoded) + commitment_weight * commitment_loss(encoded, quantised)


def commitment_loss(encoded: Array, quantised: Array) -> Array:
    """`E (e - sg(q))²`: a float32 scalar that moves the encoder alone, for codebooks that are averages of what chose them.

    encoded `e`, quantised `q`: `[B, ..., D]` (van den Oord et al. 2017, eq. 3, third term).
    """
    return jnp.mean((at_least_float32(encoded) - jax.lax.stop_gradient(at_least_float32(quantised))) ** 2)
