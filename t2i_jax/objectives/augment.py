"""Differentiable augmentation: the discriminator sees every image, real or generated, through a random transformation.

After Zhao et al. 2020 (Differentiable Augmentation for Data-Efficient GAN Training), with their amplitudes; a
transformation is applied with a probability, as in Karras et al. 2020 (adaptive discriminator augmentation).
"""

import jax
import jax.numpy as jnp
from jax import Array

from t2i_jax.errors import UserError
from t2i_jax.keys import named
from t2i_jax.objectives.precision import at_least_float32

POLICY = ("brightness", "saturation", "contrast", "translation", "cutout")


def augment(images: Array, keys: Array, policy: tuple[str, ...] = POLICY, strength: Array | float = 1.0) -> Array:
    """Images `[B, H, W, C]` in, transformed images of the same shape and type out; gradients flow through.

    The transformation of an example is a function of its key alone: terms that must see the same one (both sides of a
    relativistic pair, an image and its noisy copy) are given the same keys. Uncovered places turn 0, mid-grey.

    keys: `[B]`, one per example.
    policy: which of POLICY, applied in the order given.
    strength: the probability, in [0, 1], that each transformation is applied to an image; 0 changes nothing.

    Raises UserError, listing the accepted names, for an unknown one.
    """
    transformations = [(name, _by_name(name)) for name in policy]

    def one(image: Array, key: Array) -> Array:
        for name, transform in transformations:
            applied = jax.random.uniform(named(key, f"{name} applied")) < strength
            image = jnp.where(applied, transform(image, named(key, name)), image)
        return image

    return jax.vmap(one)(at_least_float32(images), keys).astype(images.dtype)


def _by_name(name: str):
    match name:
        case "brightness":
            return _brightness
        case "saturation":
            return _saturation
        case "contrast":
            return _contrast
        case "translation":
            return _translation
        case "cutout":
            return _cutout
        case _:
            raise UserError(f"augmentation {name!r} is unknown; use any of: {', '.join(POLICY)}")


def _brightness(image: Array, key: Array) -> Array:
    return image + jax.random.uniform(key, minval=-0.5, maxval=0.5)


def _saturation(image: Array, key: Array) -> Array:
    grey = jnp.mean(image, axis=-1, keepdims=True)
    return grey + (image - grey) * jax.random.uniform(key, maxval=2.0)


def _contrast(image: Array, key: Array) -> Array:
    mean = jnp.mean(image)
    return mean + (image - mean) * jax.random.uniform(key, minval=0.5, maxval=1.5)


def _translation(image: Array, key: Array) -> Array:
    """Shifts by up to an eighth of each side. As matrices: their derivatives of any order are matrix products too."""
    height, width, _ = image.shape
    limit = jnp.array([height, width]) // 8
    down, right = jax.random.randint(key, (2,), -limit, limit + 1)
    shift = lambda size, by: (jnp.arange(size)[:, None] == jnp.arange(size)[None, :] + by).astype(image.dtype)
    return jnp.einsum("ij,jwc,vw->ivc", shift(height, down), image, shift(width, right), precision="highest")


def _cutout(image: Array, key: Array) -> Array:
    """Blanks a rectangle of half of each side, centred anywhere, so that it may hang over the edge."""
    height, width, _ = image.shape
    row, column = jax.random.uniform(key, (2,)) * jnp.array([height, width])
    near = lambda size, centre: jnp.abs(jnp.arange(size) + 0.5 - centre) < size / 4
    hole = near(height, row)[:, None] & near(width, column)[None, :]
    return jnp.where(hole[:, :, None], 0, image)


def mirror(images: Array, keys: Array) -> Array:
    """Half of the images `[B, H, W, C]` left-right reversed, by keys `[B]`. Captions may not survive it."""
    reversed_ = jax.vmap(jax.random.bernoulli)(keys)
    return jnp.where(reversed_[:, None, None, None], images[:, :, ::-1], images)


def cut_mix(images: Array, keys: Array, share: Array | float) -> Array:
    """Images `[B, H, W, C]` of which `share` get a rectangle of the image before them in the batch (Yun et al. 2019).

    Sides are a quarter to three quarters of the picture's, the rectangle may hang over the edge; by keys `[B]`. For
    networks that should learn parts rather than whole pictures; captions do not survive it.
    """
    height, width = images.shape[1:3]

    def hole(key: Array) -> Array:
        corner, size, applied = (jax.random.uniform(named(key, use), (2,)) for use in ("corner", "size", "applied"))
        start, length = corner - 0.25, 0.25 + size / 2
        within = lambda count, axis: jnp.abs((jnp.arange(count) + 0.5) / count - start[axis] - length[axis] / 2) < length[axis] / 2
        return within(height, 0)[:, None] & within(width, 1)[None, :] & (applied[0] < share)

    return jnp.where(jax.vmap(hole)(keys)[..., None], jnp.roll(images, 1, axis=0), images)
