"""Adversarial losses: what each player minimises, given the discriminator's logits.

Notation: `l` logits, `D = σ(l)` the probability of "real", `sp(l) = log(1 + exp(l))`; so `-log D = sp(-l)` and
`-log(1 - D) = sp(l)`. Logits have any shape `[B, ...]` (a patch discriminator judges many places); means run over all
of it. A discriminator made of several sub-networks adds their logits before it comes here.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from t2i_jax.errors import UserError
from t2i_jax.objectives.precision import at_least_float32


class Adversarial(NamedTuple):
    """The two sides of one game; both return a float32 scalar.

    discriminator: `(real_logits, fake_logits) -> loss`
    generator: `(fake_logits, real_logits) -> loss`; only relativistic pairing looks at `real_logits`.
    """

    discriminator: Callable[[Array, Array], Array]
    generator: Callable[[Array, Array], Array]


def softplus_mean(logits: Array) -> Array:
    """`E sp(l)`: the cross-entropy of logits whose label is "fake"; of `-logits`, when it is "real"."""
    return jnp.mean(jax.nn.softplus(at_least_float32(logits)))


def cross_entropy_discriminator(real_logits: Array, fake_logits: Array) -> Array:
    """`L_D = -E log D(x) - E log(1 - D(x_g))` (Goodfellow et al. 2014, eq. 1, negated)."""
    return softplus_mean(-real_logits) + softplus_mean(fake_logits)


def minimax_generator(fake_logits: Array, real_logits: Array) -> Array:
    """`L_G = E log(1 - D(x_g))` (Goodfellow et al. 2014, eq. 1); its gradient vanishes while D wins."""
    return -softplus_mean(fake_logits)


def non_saturating_generator(fake_logits: Array, real_logits: Array) -> Array:
    """`L_G = -E log D(x_g)` (Goodfellow et al. 2014, section 3)."""
    return softplus_mean(-fake_logits)


def hinge_discriminator(real_logits: Array, fake_logits: Array) -> Array:
    """`L_D = E max(0, 1 - l(x)) + E max(0, 1 + l(x_g))` (Lim & Ye 2017; Miyato et al. 2018, eq. 16)."""
    real, fake = at_least_float32(real_logits), at_least_float32(fake_logits)
    return jnp.mean(jax.nn.relu(1 - real)) + jnp.mean(jax.nn.relu(1 + fake))


def wasserstein_discriminator(real_logits: Array, fake_logits: Array) -> Array:
    """`L_D = E l(x_g) - E l(x)` (Arjovsky et al. 2017, eq. 2, negated); wants a Lipschitz critic, see `penalty`."""
    return jnp.mean(at_least_float32(fake_logits)) - jnp.mean(at_least_float32(real_logits))


def linear_generator(fake_logits: Array, real_logits: Array) -> Array:
    """`L_G = -E l(x_g)`: the generator's side of both the hinge and the Wasserstein loss."""
    return -jnp.mean(at_least_float32(fake_logits))


def relativistic_discriminator(real_logits: Array, fake_logits: Array) -> Array:
    """`L_D = E sp(l(x_g) - l(x))` (relativistic pairing, Jolicoeur-Martineau 2019; R3GAN, Huang et al. 2024, eq. 2).

    A real and a generated image at the same position are a pair and share their caption.
    Raises ValueError for logits of unequal shapes, which would be paired crosswise.
    """
    if real_logits.shape != fake_logits.shape:
        raise ValueError(f"relativistic pairing needs equal shapes, got {real_logits.shape} and {fake_logits.shape}")
    return softplus_mean(at_least_float32(fake_logits) - at_least_float32(real_logits))


def relativistic_generator(fake_logits: Array, real_logits: Array) -> Array:
    """`L_G = E sp(l(x) - l(x_g))`: the discriminator's loss with the roles exchanged, in practice non-saturating."""
    return relativistic_discriminator(fake_logits, real_logits)


MINIMAX = Adversarial(cross_entropy_discriminator, minimax_generator)
NON_SATURATING = Adversarial(cross_entropy_discriminator, non_saturating_generator)
HINGE = Adversarial(hinge_discriminator, linear_generator)
WASSERSTEIN = Adversarial(wasserstein_discriminator, linear_generator)
RELATIVISTIC = Adversarial(relativistic_discriminator, relativistic_generator)


def by_name(name: str) -> Adversarial:
    """The game a config names. Raises UserError, listing the accepted names, for any other."""
    match name:
        case "minimax":
            return MINIMAX
        case "non_saturating":
            return NON_SATURATING
        case "hinge":
            return HINGE
        case "wasserstein":
            return WASSERSTEIN
        case "relativistic":
            return RELATIVISTIC
        case _:
            accepted = "minimax, non_saturating, hinge, wasserstein, relativistic"
            raise UserError(f"adversarial loss {name!r} is unknown; use one of: {accepted}")


def binary_cross_entropy(logits: Array, labels: Array) -> Array:
    """`-E[y log D + (1 - y) log(1 - D)]`: a float32 scalar, from logits and labels `y` in [0, 1] (1 = real)."""
    logits, labels = at_least_float32(logits), at_least_float32(labels)
    return jnp.mean(labels * jax.nn.softplus(-logits) + (1 - labels) * jax.nn.softplus(logits))


def matching_aware(
    discriminator: Callable[[Array, Array], Array], real: Array, fake: Array, *mismatched: Array, valid: Array
) -> Array:
    """A discriminator loss for which an image beside a wrong caption is a fake as well: a float32 scalar.

    The mean of `L_D(real, f)` over `f` in `(fake, *mismatched)`; with cross-entropy and one `mismatched` this is
    `-log D(x, t) - ½ [log(1 - D(x_g, t)) + log(1 - D(x, t_wrong))]` (GAN-CLS, Reed et al. 2016, algorithm 1).

    discriminator: a loss of (real_logits, fake_logits), as in `Adversarial`.
    real, fake: logits `[B, ...]` of real and generated images with their own captions.
    mismatched: logits `[B, ...]` of real, and if wanted of generated images (GigaGAN, Kang et al. 2023) with wrong
        captions; where `valid [B]` is false there was no wrong caption, and `fake` stands in.
    """
    valid = jnp.expand_dims(valid, range(1, fake.ndim))
    fakes = [fake, *(jnp.where(valid, logits, fake) for logits in mismatched)]
    return sum(discriminator(real, logits) for logits in fakes) / len(fakes)


def two_class_logits(logits: Array) -> Array:
    """Logits `[...]` with `D = softmax(l)_real = σ(l_real - l_fake)`, from two classes `[..., (fake, real)]`."""
    logits = at_least_float32(logits)
    return logits[..., 1] - logits[..., 0]


def accuracy(real_logits: Array, fake_logits: Array) -> Array:
    """The share of images the discriminator tells rightly, classes weighing the same: float32 in [0, 1].

    A logit of exactly 0 counts half, so that a discriminator that no longer tells anything scores ½.
    """
    right = lambda logits: jnp.mean((1 + jnp.sign(at_least_float32(logits))) / 2)
    return (right(real_logits) + right(-fake_logits)) / 2
