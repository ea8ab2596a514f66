"""Adversarial perturbations: small changes of a picture that mislead a critic."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from t2i_jax.objectives.precision import at_least_float32


def fast_gradient_sign(critic: Callable[[Array], Array], x: Array, epsilon: Array | float) -> Array:
    """`clip(x + ε sign ∇_x critic(x), -1, 1)`: what raises the critic most among changes of at most ε in every pixel.

    Fast gradient sign method (Goodfellow et al. 2015, section 4), to first order. To fool a discriminator about real
    pictures pass its negated logits. The result is a constant: nothing is differentiated through it.

    critic: `[B, ...] -> [B]`, each example judged by itself; x: `[B, ...]` in [-1, 1]; epsilon 0 or more, in the units
    of x (2/255 is one grey level).
    """
    x = at_least_float32(x)
    slope = jax.grad(lambda u: jnp.sum(at_least_float32(critic(u))))(x)
    return jax.lax.stop_gradient(jnp.clip(x + epsilon * jnp.sign(slope), -1, 1))
