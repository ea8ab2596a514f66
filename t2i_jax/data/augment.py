"""Random flips, rotations and scalings of pictures on the host; each off unless asked for.

A mirrored picture must not falsify its caption: pictures are not flipped of which any caption speaks of left or right,
a turning direction, digits or writing. Words in other languages than English and Chinese are not recognised.
"""

import re
from typing import NamedTuple

import numpy as np
from PIL import Image

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
        mirrored = np.flatnonzero(flippable & (uniform(bits(seed, "flip", index)) < 0.5))
        images = images.copy()
        images[mirrored] = images[mirrored][:, :, ::-1]
    if augment.rotate or augment.scale:
        angle = np.deg2rad(augment.rotate) * (2 * uniform(bits(seed, "rotate", index)) - 1)
        factor = 1 + augment.scale * (2 * uniform(bits(seed, "scale", index)) - 1)
        images = _turn(images, angle, factor)
    return images


def _turn(images: np.ndarray, angle: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Rotates by `angle` and enlarges by `factor` [N] about the centre, bilinear, edges continued outwards."""
    count, size, _, channels = images.shape
    border = size // 2
    padded = np.pad(images, ((0, 0), (border, border), (border, border), (0, 0)), mode="edge")
    cosine, sine, centre = np.cos(angle) / factor, np.sin(angle) / factor, size / 2
    out = np.empty_like(images)
    for row, source, c, s in zip(out, padded if channels == 3 else padded[..., 0], cosine, sine, strict=True):
        x, y = border + centre * (1 - c - s), border + centre * (1 + s - c)  # where the corner comes from
        turned = Image.fromarray(source).transform((size, size), Image.Transform.AFFINE, (c, s, x, -s, c, y),
                                                   Image.Resampling.BILINEAR)
        row[...] = np.asarray(turned).reshape(size, size, channels)
    return out
