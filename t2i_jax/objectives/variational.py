"""Variational autoencoder objectives, and their sum with an adversarial one.

Likelihoods are per example and *summed* over pixels and channels, constants included, so that values are nats and
weights of 1 give the evidence lower bound. Divide by the number of values for figures that do not grow with the image.
"""

import math

import jax
import jax.numpy as jnp
from jax import Array

from t2i_jax.keys import normal
from t2i_jax.objectives.precision import at_least_float32


def _sum_per_example(x: Array) -> Array:
    return jnp.sum(x, axis=tuple(range(1, x.ndim)))


def gaussian_nll(x: Array, mean: Array, log_scale: Array | float = 0.0) -> Array:
    """`-log N(x; μ, s²) = Σ ½ ((x - μ)/s)² + log s + ½ log 2π`: `[B]` float32 from x, mean `[B, ...]`.

    log_scale: `log s`, one scalar or an array of x's rank.
    """
    deviation = (at_least_float32(x) - at_least_float32(mean)) * jnp.exp(-log_scale)
    return _sum_per_example(deviation**2 / 2 + log_scale + math.log(2 * math.pi) / 2)


def laplace_nll(x: Array, mean: Array, log_scale: Array | float = 0.0) -> Array:
    """`-log Laplace(x; μ, b) = Σ |x - μ|/b + log 2b`: `[B]` float32 from x, mean `[B, ...]`; log_scale is `log b`."""
    deviation = (at_least_float32(x) - at_least_float32(mean)) * jnp.exp(-log_scale)
    return _sum_per_example(jnp.abs(deviation) + log_scale + math.log(2))


def bernoulli_nll(x: Array, logits: Array) -> Array:
    """`-log Bernoulli(y; σ(l)) = Σ y sp(-l) + (1 - y) sp(l)`: `[B]` float32 from x, logits `[B, ...]`.

    x: images in [-1, 1], read as `y = (x + 1)/2`. Exact for black-and-white pixels; for grey ones it is the usual
    cross-entropy, without a normalising constant.
    """
    y, logits = (at_least_float32(x) + 1) / 2, at_least_float32(logits)
    return _sum_per_example(y * jax.nn.softplus(-logits) + (1 - y) * jax.nn.softplus(logits))


def kl_standard_normal(mean: Array, log_variance: Array) -> Array:
    """`KL(N(μ, diag σ²) ‖ N(0, I)) = ½ Σ (μ² + σ² - 1 - log σ²)`: `[B]` float32 (Kingma & Welling 2014, appendix B)."""
    mean, log_variance = at_least_float32(mean), at_least_float32(log_variance)
    return _sum_per_example(mean**2 + jnp.exp(log_variance) - 1 - log_variance) / 2


def sample(mean: Array, log_variance: Array, keys: Array) -> Array:
    """`z = μ + σ n`, `n ~ N(0, I)`, differentiable in μ and σ (Kingma & Welling 2014, section 2.4).

    mean, log_variance `[B, ...]`; keys `[B]`, one per example. Returns at least float32.
    """
    mean, log_variance = at_least_float32(mean), at_least_float32(log_variance)
    return mean + jnp.exp(log_variance / 2) * normal(keys, mean.shape[1:])


def vae(nll_at_mean: Array, nll_at_sample: Array, kl: Array, *, decoder_weight: float, kl_weight: float) -> Array:
    """`L_VAE = E_x[L_E + β_dec · E_q(z|x)[-log p(x|z)] + α · KL(q(z|x) ‖ N(0, I))]`: a float32 scalar.

    nll_at_mean: `L_E = -log p(x | z = μ(x))`, `[B]`.
    nll_at_sample: `-log p(x|z)` at one draw `z ~ q(z|x)`, `[B]`; decoder_weight is β_dec.
    kl: `[B]`; kl_weight is α.
    """
    return jnp.mean(nll_at_mean + decoder_weight * nll_at_sample + kl_weight * kl)


def vae_on_generated(nll_at_mean: Array, kl: Array, *, vae_weight: float, kl_weight: float) -> Array:
    """`β_vae · E[L_E(x_g) + α · KL(q(z|x_g) ‖ N(0, I))]`: a float32 scalar, from `[B]` values at generated images."""
    return vae_weight * jnp.mean(nll_at_mean + kl_weight * kl)


def joint(
    generator: Array, discriminator: Array, vae_loss: Array, *, discriminator_weight: float, vae_weight: float
) -> Array:
    """`L = L_GAN + β_vae · L_VAE` with `L_GAN = L_G + λ · L_D`: a float32 scalar, from scalars.

    For reporting, or for a player who may move only what one of its terms means to move: λ is discriminator_weight.
    """
    return generator + discriminator_weight * discriminator + vae_weight * vae_loss
