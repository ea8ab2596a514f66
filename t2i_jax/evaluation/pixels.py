"""How close pictures are to their originals, value by value: uint8 [N, H, W, C] each, one figure per picture."""

import numpy as np

from t2i_jax.errors import UserError

WINDOW = 11  # pixels of a side of the Gaussian window of SSIM


def psnr(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio `10 log10(255² / mean squared difference)` in decibels: [N], infinite where equal."""
    _same(a, b)
    squared = np.array([np.mean((x.astype(np.float64) - y) ** 2) for x, y in zip(a, b)])
    with np.errstate(divide="ignore"):
        return 10 * np.log10(255**2 / squared)


def ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Structural similarity, mean over the channels: [N], at most 1, which is reached where equal.

    Window as in Wang et al. 2004: Gaussian of 11 x 11 pixels, standard deviation 1.5. Raises UserError where pictures
    are smaller than the window or scikit-image is missing.
    """
    _same(a, b)
    try:
        from skimage.metrics import structural_similarity
    except ImportError as error:
        raise UserError("SSIM needs the package scikit-image: run pip install 't2i_jax[evaluate]'") from error
    if min(a.shape[1:3]) < WINDOW:
        raise UserError(f"SSIM needs pictures of at least {WINDOW} x {WINDOW} pixels, not {a.shape[1]} x {a.shape[2]}")
    options = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=-1)
    return np.array([structural_similarity(*pair, **options) for pair in zip(a, b)])


def _same(a: np.ndarray, b: np.ndarray) -> None:
    if a.shape != b.shape or a.ndim != 4 or a.dtype != np.uint8 or b.dtype != np.uint8:
        raise ValueError(f"pictures {a.dtype} {a.shape} and {b.dtype} {b.shape}, expected uint8 [N, H, W, C] twice")
