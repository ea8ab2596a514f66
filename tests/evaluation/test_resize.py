"""Resizing against clean-fid's, whose outputs make_resize_golden.py wrote down."""

import numpy as np
import pytest
from make_resize_golden import CASES, GOLDEN, pictures

from t2i_jax.evaluation.resize import resize


@pytest.mark.parametrize("case", CASES)
def test_it_resizes_as_clean_fid(case):
    height, width, size = CASES[case]
    resized = resize(pictures(height, width), size)
    assert resized.shape == (2, size, size, 3) and resized.dtype == np.float32
    with np.load(GOLDEN) as golden:
        # Written down in half precision: up to 1/16 of a level.
        np.testing.assert_allclose((resized + 1) * 127.5, golden[case], atol=0.08)


def test_stripes_finer_than_the_new_pixels_are_averaged():
    stripes = np.zeros((1, 64, 64, 1), np.uint8)
    stripes[:, :, ::2] = 255
    assert np.abs(resize(stripes, 16)[:, :, 2:-2]).max() < 0.03  # without a filter: -1 or 1


def test_nothing_is_rounded_or_leaves_the_range():
    edge = np.zeros((1, 8, 8, 3), np.uint8)
    edge[:, :, 4:] = 255
    levels = (resize(edge, 21) + 1) * 127.5
    assert levels.min() == 0 and levels.max() == 255
    assert np.abs(levels - levels.round()).max() > 0.2


@pytest.mark.parametrize("channels", [1, 3])
def test_the_same_size_is_the_same_picture(channels):
    picture = pictures(9, 9)[..., :channels]
    np.testing.assert_allclose((resize(picture, 9) + 1) * 127.5, picture, atol=1e-4)
