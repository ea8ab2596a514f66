"""Resizing pictures for feature networks: filtered properly, in floating point, with Pillow.

Most resizing functions alias when they shrink, and rounding to 8 bits in between moves Fréchet distances too (Parmar
et al. 2022, "On Aliased Resizing and Surprising Subtleties in GAN Evaluation"). This one does as their clean-fid.
"""

import numpy as np
from PIL import Image

FILTER = "bicubic, antialiased, float32, clipped, not rounded (Pillow)"


def resize(images: np.ndarray, size: int) -> np.ndarray:
    """uint8 [N, H, W, C] -> float32 [N, size, size, C] in [-1, 1].

    Each channel by itself; sides of different length are stretched to the same.
    """
    resized = np.empty((len(images), size, size, images.shape[-1]), np.float32)
    for number, image in enumerate(images):
        for channel in range(image.shape[-1]):
            plane = Image.fromarray(image[..., channel].astype(np.float32))
            resized[number, ..., channel] = plane.resize((size, size), Image.Resampling.BICUBIC)
    return resized.clip(0, 255) / 127.5 - 1
