"""PSNR and SSIM against scikit-image and against the formula written out."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from t2i_jax.errors import UserError
from t2i_jax.evaluation import pixels


def pictures(channels, size=24):
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.uniform(0, 255, (4, size, size, channels)), sigma=(0, 1.5, 1.5, 0)) * 2 - 128
    noisy = smooth + rng.normal(size=smooth.shape) * np.array([2.0, 8, 20, 60])[:, None, None, None]
    return tuple(np.clip(x, 0, 255).astype(np.uint8) for x in (smooth, noisy))


def written_out_ssim(x, y):
    """Wang et al. 2004, eq. 13, on one channel: averaged where the whole 11 x 11 window is inside."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    blur = lambda image: gaussian_filter(image, sigma=1.5, radius=5)
    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y, cov = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2, blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    value = (2 * mean_x * mean_y + c1) * (2 * cov + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return value[5:-5, 5:-5].mean()


@pytest.mark.parametrize("channels", [1, 3])
def test_psnr_against_scikit_image(channels):
    from skimage.metrics import peak_signal_noise_ratio

    a, b = pictures(channels)
    expected = [peak_signal_noise_ratio(x, y, data_range=255) for x, y in zip(a, b)]
    np.testing.assert_allclose(pixels.psnr(a, b), expected, rtol=1e-9)
    assert np.all(np.diff(pixels.psnr(a, b)) < 0)


def test_psnr_of_known_pictures():
    a = np.zeros((3, 4, 4, 1), np.uint8)
    b = a + np.array([255, 1, 0], np.uint8)[:, None, None, None]
    np.testing.assert_allclose(pixels.psnr(a, b), [0, 20 * np.log10(255), np.inf])
    np.testing.assert_array_equal(pixels.psnr(b, a), pixels.psnr(a, b))


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_against_the_formula(channels):
    a, b = pictures(channels)
    expected = [np.mean([written_out_ssim(x[..., c], y[..., c]) for c in range(channels)]) for x, y in zip(a, b)]
    found = pixels.ssim(a, b)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert np.all(np.diff(found) < 0)
    np.testing.assert_allclose(pixels.ssim(a, a), 1)


def test_what_cannot_be_compared_is_refused():
    a, b = pictures(3)
    with pytest.raises(UserError, match="at least 11 x 11 pixels, not 10 x 24"):
        pixels.ssim(a[:, :10], b[:, :10])
    for figure in (pixels.psnr, pixels.ssim):
        with pytest.raises(ValueError, match="uint8"):
            figure(a, b[:3])
        with pytest.raises(ValueError, match="uint8"):
            figure(a / 255, b / 255)
