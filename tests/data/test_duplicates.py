import io

import numpy as np
from PIL import Image

from data.conftest import COLOURS, encoded, picture
from t2i_jax.data.duplicates import NEAR, near_duplicates, perceptual_hash


def hashes(*images, size=32):
    return perceptual_hash(np.stack([np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))
                                     for image in images]))


def test_copies_are_near_and_other_pictures_are_not():
    pictures = [picture(seed, (64, 64)) for seed in range(30)]
    compressed = [Image.open(io.BytesIO(encoded(image, "JPEG", quality=60))) for image in pictures]
    smaller = [image.resize((40, 40), Image.Resampling.BICUBIC) for image in pictures]
    found = near_duplicates(hashes(*pictures, *compressed, *smaller), NEAR[3])
    pairs = {(first, second) for first, second, _ in found.nearest}
    expected = {(i + 30 * a, i + 30 * b) for i in range(30) for a in range(3) for b in range(a + 1, 3)}
    assert pairs <= expected and len(pairs) >= 0.9 * len(expected)
    assert not found.later[:30].any()


def test_colour_counts():
    hearts = [Image.new("RGB", (32, 32), "white") for _ in COLOURS]
    for heart, colour in zip(hearts, COLOURS.values(), strict=True):
        heart.paste(colour, (8, 8, 24, 24))
    assert near_duplicates(hashes(*hearts), NEAR[3]).count == 0


def test_the_window_finds_what_comparing_all_pairs_finds():
    random = np.random.default_rng(0)
    values = random.integers(0, 2**64, (40, 1), dtype=np.uint64) & np.uint64(0xFF)  # 8 bits: many near pairs
    distance = np.bitwise_count(values ^ values[:, 0])
    expected = sorted((int(distance[i, j]), i, j) for i in range(40) for j in range(i + 1, 40) if distance[i, j] <= 2)
    found = near_duplicates(values, near=2, listed=10)
    assert found.count == len(expected)
    assert [(bits, first, second) for first, second, bits in found.nearest] == expected[:10]
    assert set(np.flatnonzero(found.later)) == {j for _, _, j in expected}


def test_grey_pictures_and_odd_sizes_have_hashes():
    assert perceptual_hash(np.zeros((2, 28, 30, 1), np.uint8)).shape == (2, 5)
