"""Penalties on how fast a critic changes with its input.

A critic is any function `[B, ...] -> [B]` that judges each example by itself (no batch statistics); the caller binds
parameters, caption and augmentation: `lambda u: D(params, augment(u, keys, policy), text)`. Penalties are
differentiable with respect to whatever the critic closes over. Patch logits are summed to one per image first.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from t2i_jax.keys import normal
from t2i_jax.objectives.precision import at_least_float32

Critic = Callable[[Array], Array]


def squared_gradient_norm(critic: Critic, x: Array) -> Array:
    """`‖∇_x critic(x)‖²` for each example: `[B]` float32, from x `[B, ...]`."""
    total = lambda u: jnp.sum(at_least_float32(critic(u)))
    gradient = jax.grad(total)(at_least_float32(x))
    return jnp.sum(gradient**2, axis=tuple(range(1, x.ndim)))


def gradient_penalty(critic: Critic, x: Array) -> Array:
    """`E ‖∇_x critic(x)‖²`, the zero-centred gradient penalty, exactly: a float32 scalar.

    R1 when x `[B, ...]` are real images, R2 when they are generated and detached (Mescheder et al. 2018, eq. 9; both
    at once: R3GAN, Huang et al. 2024). The usual weight is γ/2.
    """
    return jnp.mean(squared_gradient_norm(critic, x))


def nudged(x: Array, keys: Array, sigma: float) -> Array:
    """`x + σn` with `n ~ N(0, I)`: `[B, ...]` in at least float32, from x `[B, ...]` and keys `[B]`, one per example.

    Real and generated images nudged by the same keys share noise.
    """
    x = at_least_float32(x)
    return x + sigma * normal(keys, x.shape[1:]).astype(x.dtype)


def finite_difference_penalty(logits: Array, nudged_logits: Array, sigma: float) -> Array:
    """`E ((critic(x) - critic(x + σn)) / σ)²`: a float32 scalar (approximated R1, Lin et al. 2025).

    As σ → 0 its expectation over the noise is `gradient_penalty`, at the price of one more forward pass instead of a
    second derivative; usually σ = 0.01. Rounding is divided by σ too, so the critic should give its logits in float32.

    logits, nudged_logits: `[B]`, of x and of `nudged(x, keys, sigma)` by the same critic, which judges each by itself.
    """
    return jnp.mean(((at_least_float32(logits) - at_least_float32(nudged_logits)) / sigma) ** 2)


def wasserstein_gradient_penalty(critic: Critic, real: Array, fake: Array, keys: Array) -> Array:
    """`E (‖∇ critic(x̂)‖ - 1)²` at `x̂ = ε x + (1 - ε) x_g`, `ε ~ U[0, 1]`: a float32 scalar.

    WGAN-GP, Gulrajani et al. 2017, eq. 3.
    real, fake: `[B, ...]`, paired by position; keys `[B]`, one draw of ε each. The usual weight is 10.
    """
    epsilon = jnp.expand_dims(jax.vmap(jax.random.uniform)(keys), range(1, real.ndim))
    between = epsilon * at_least_float32(real) + (1 - epsilon) * at_least_float32(fake)
    tiny = 1e-12  # the root of 0 has no derivative
    norm = jnp.sqrt(squared_gradient_norm(critic, between) + tiny)
    return jnp.mean((norm - 1) ** 2)
