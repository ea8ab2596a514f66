"""Figures that are watched and never minimised: who is winning, whether draws differ, whether codes carry anything.

All are float32 scalars of whole batches, and none passes a gradient on.
"""

import jax
import jax.numpy as jnp
from jax import Array

from t2i_jax.objectives.precision import at_least_float32

TINY = 1e-12  # keeps ratios of silent batches finite


def accuracies(real_logits: Array, fake_logits: Array) -> tuple[Array, Array]:
    """The shares in [0, 1] of real and of generated images that a discriminator tells rightly; a tie counts half.

    The border lies midway between the two mean logits, since a relativistic game leaves the logits' offset open.
    """
    real, fake = _constant(real_logits), _constant(fake_logits)
    border = (jnp.mean(real) + jnp.mean(fake)) / 2
    return _above(real - border), _above(border - fake)


def pairs_told(real_logits: Array, fake_logits: Array) -> Array:
    """The share in [0, 1] of (real, generated) pairs, `[B]` each by position, whose real image has the larger logit.

    ½: the discriminator no longer tells them apart; a tie counts half. It is the accuracy of the relativistic game.
    """
    return _above(_constant(real_logits) - _constant(fake_logits))


def game(real_logits: Array, fake_logits: Array) -> dict[str, Array]:
    """Who is winning, from logits `[B]` of real and generated images in pairs: terms for a discriminator's turn."""
    real, fake = accuracies(real_logits, fake_logits)
    return {"accuracy_real": real, "accuracy_fake": fake, "pairs_told": pairs_told(real_logits, fake_logits)}


def mean_norm(z: Array) -> Array:
    """`E ‖z‖` of latents `[B, Z]`."""
    return jnp.mean(jnp.linalg.norm(_constant(z), axis=-1))


def spread(z: Array) -> Array:
    """`√(Σ_d Var z_d)` of latents `[B, Z]`: the root mean square distance from their mean."""
    return jnp.sqrt(jnp.sum(jnp.var(_constant(z), axis=0)))


def pair_diversity(first: Array, second: Array) -> Array:
    """`√(E ‖a - b‖² / 2)` of draws a, b `[B, Z]` for the same captions from independent noise.

    The spread of draws within one caption: 0 where noise is ignored, `spread` of all draws where the caption is.
    """
    squares = jnp.sum((_constant(first) - _constant(second)) ** 2, axis=-1)
    return jnp.sqrt(jnp.mean(squares) / 2)


def ratio(value: Array, reference: Array) -> Array:
    """`value / reference` of non-negative figures, finite where the reference is 0."""
    return value / (reference + TINY)


def draws(real: Array, fake: Array, again: Array, few: slice) -> dict[str, Array]:
    """Whether draws are spread like real examples: terms for a generator's turn.

    real, fake: latents `[B, Z]`, of the same captions; again: a second draw `[B', Z]` for the captions `few`.
    deviation and diversity are shares of the spread of real latents.
    """
    around = spread(real)
    return {
        "norm_real": mean_norm(real),
        "norm_fake": mean_norm(fake),
        "deviation": ratio(spread(fake), around),
        "diversity": ratio(pair_diversity(fake[few], again), around),
    }


def active_units(mean: Array, threshold: float = 0.01) -> Array:
    """The share in [0, 1] of a posterior's dimensions in use, those with `Var_x μ_d(x) > threshold`.

    Burda et al. 2016, section 5.3. mean: posterior means `[B, Z]`; a collapsed posterior has none in use.
    """
    return jnp.mean(jnp.var(_constant(mean), axis=0) > threshold)


def codebook_usage(tokens: Array, size: int) -> dict[str, Array]:
    """Terms that say how much of a codebook of `size` codes a batch of tokens, integers of any shape, speaks with.

    perplexity: `exp(H) / size` in (0, 1], H the entropy of how often each code occurs; 1: all equally often
    used: the share in (0, 1] of codes that occur at all
    """
    counts = jnp.bincount(tokens.ravel(), length=size)
    share = counts / tokens.size
    entropy = -jnp.sum(jax.scipy.special.xlogy(share, share))
    return {"perplexity": jnp.exp(entropy) / size, "used": jnp.mean(counts > 0)}


def _constant(x: Array) -> Array:
    return jax.lax.stop_gradient(at_least_float32(x))


def _above(x: Array) -> Array:
    return jnp.mean((1 + jnp.sign(x)) / 2)
