"""Drawings have flat areas between outlines: what differs little there is noise."""

import itertools

import jax.numpy as jnp
from jax import Array


def flatten(images: Array, within: float, reach: int = 2) -> Array:
    """Images [B, H, W, C], each pixel the mean of the (2 reach + 1)² around it, weighted by nearness in place and colour.

    A bilateral filter (Tomasi & Manduchi 1998): weights exp(-|x - y|² / 2 reach² - |colour difference|² / 2 within²), of places
    inside the picture. Flat areas lose noise that is small beside `within`; edges that are large beside it stay.
    For pictures that are shown, not for losses: its gradient near the border is not a number.
    """
    height, width = images.shape[1:3]
    # Places outside are infinitely unlike any colour, so that their weight is 0.
    around = jnp.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), constant_values=jnp.inf)
    total, weights = jnp.zeros_like(images), jnp.zeros_like(images[..., :1])
    for y, x in itertools.product(range(-reach, reach + 1), repeat=2):
        other = around[:, reach + y : reach + y + height, reach + x : reach + x + width]
        apart = jnp.sum((other - images) ** 2, axis=-1, keepdims=True) / within**2 + (y**2 + x**2) / reach**2
        weight = jnp.exp(-apart / 2)
        total += weight * jnp.where(weight > 0, other, 0)
        weights += weight
    return total / weights
