"""Random flips, rotations and scalings of pictures on the host; each off unless asked for.

A mirrored picture must not falsify its caption: pictures are not flipped of which any caption speaks of left or right, a
turning direction, digits or writing. Words in other languages than English and Chinese are not recognised.
"""

import re
from typing import NamedTuple

import numpy as np

from t2i_jax.data.randomness import bits, uniform

SIDED = re.compile(r"\b(left|right)(?:wards?)?\b|clockwise|\d|\b(?:letters?|writing|written|text)\b|左|右|顺时针|逆时针|字")


class Augment(NamedTuple):
    """`flip`: mirror half of the pictures; `rotate`: up to so many degrees either way; `scale`: 0.1 for 0.9 to 1.1."""

    flip: bool = False
    rotate: float = 0.0
    scale: float = 0.0


def may_flip(captions: tuple[str, ...]) -> bool:
    """Whether a picture with these captions shows the same thing in the mirror."""
    return not any(SIDED.search(caption.lower()) for caption in captions)


def apply(augment: Augment, images: np.ndarray, flippable: np.ndarray, seed: int, index: np.ndarray) -> np.ndarray:
    """Augments pictures uint8 [N, H, W, C], each by draws of its global example index [N]; `flippable` bool [N]."""
    if augment.flip:
        flipped = flippable & (uniform(bits(seed, "flip", index)) < 0.5)
        images = np.where(flipped[:, None, None, None], images[:, :, ::-1], images)
    if augment.rotate or augment.scale:
        angle = np.deg2rad(augment.rotate) * (2 * uniform(bits(seed, "rotate", index)) - 1)
        factor = 1 + augment.scale * (2 * uniform(bits(seed, "scale", index)) - 1)
        images = _turn(images, angle, factor)
    return images


def _turn(images: np.ndarray, angle: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Rotates by `angle` and enlarges by `factor` [N] about the centre, bilinear, edges continued outwards."""
    count, height, width, _ = images.shape
    rows, columns = np.meshgrid(np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij")
    cosine, sine = (wave(angle)[:, None, None] / factor[:, None, None] for wave in (np.cos, np.sin))
    y = np.clip(cosine * rows[None] + sine * columns[None] + (height - 1) / 2, 0, height - 1)
    x = np.clip(cosine * columns[None] - sine * rows[None] + (width - 1) / 2, 0, width - 1)
    top, left = np.minimum(y.astype(np.int64), height - 2), np.minimum(x.astype(np.int64), width - 2)
    down, right = (y - top).astype(np.float32)[..., None], (x - left).astype(np.float32)[..., None]
    which = np.arange(count)[:, None, None]
    above = images[which, top, left] * (1 - right) + images[which, top, left + 1] * right
    below = images[which, top + 1, left] * (1 - right) + images[which, top + 1, left + 1] * right
    return np.round(above * (1 - down) + below * down).astype(np.uint8)
