import io
import re
import sys
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from t2i_jax.data import digits
from t2i_jax.data.attributes import DIGITS, labels
from t2i_jax.data.prepare import prepare
from t2i_jax.data.prepared import Prepared
from t2i_jax.data.sources import open_source
from t2i_jax.errors import UserError


@pytest.fixture(scope="module")
def found():
    return digits.pictures()


def words(captions):
    return {word for caption in captions for word in re.findall(r"\w+", caption)}


def test_captions_go_from_the_digit_to_all_that_is_read_off_it():
    assert digits.captions("three", 2, 0, 0) == (
        "three", "a handwritten three", "a three in bold strokes", "a three in bold strokes, leaning left",
        "a narrow three in bold strokes, leaning left")
    assert digits.captions("eight", 0, 1, 1)[2:] == (
        "an eight in thin strokes", "an eight in thin strokes, upright",
        "an eight of average width in thin strokes, upright")


def test_measures_of_lines_are_their_width_slant_and_shape():
    upright, thick, right, left, flat = (np.zeros((16, 16)) for _ in range(5))
    upright[2:14, 7], thick[2:14, 6:9], flat[7, 2:14] = 1, 1, 1
    for row in range(12):
        right[2 + row, 13 - row] = left[2 + row, 2 + row] = 1
    measured = digits.measures(np.stack([upright, thick, right, left]))
    np.testing.assert_allclose(measured[0], [2 * 12 / 26, 0, 0])
    variances = 2 / 3, 143 / 12  # of 3 and of 12 numbers in a row
    np.testing.assert_allclose(measured[1], [2 * 36 / 30, 0, (variances[0] / variances[1]) ** 0.5])
    np.testing.assert_allclose(measured[2:, 1:], [[1, 1], [-1, 1]])
    lying = digits.measures((flat + thick)[None])[0]
    assert lying[2] > measured[1, 2] and measured[1, 0] > measured[0, 0]


def test_what_captions_say_is_true_of_the_pictures(found):
    for word in digits.DIGITS:
        own = [digit for digit in found if digit.word == word]
        measured = digits.measures(np.stack([digit.ink for digit in own]))
        for column, phrases in zip(measured.T, (digits.STROKES, digits.SLANTS, ("narrow", "average width", "wide"))):
            third = np.array([[phrase in digit.captions[-1] for phrase in phrases].index(True) for digit in own])
            low, middle, high = (column[third == number] for number in range(3))
            assert low.max() < middle.min() and middle.max() < high.min()
            assert min(Counter(third).values()) >= len(own) // 3 - 1


def test_there_are_enough_captions_for_99_wrong_ones(found):
    assert len(found) == 1797
    detailed = {digit.captions[-1] for digit in found}
    assert len(detailed) > 200 and len({text for digit in found for text in digit.captions}) > 350


def test_splits_are_fixed_and_ask_what_they_say(found):
    count = Counter(digit.split for digit in found)
    assert count == {"train": 1455, "heldout": 158, "heldout_compositions": 184}
    train = {text for digit in found if digit.split == "train" for text in digit.captions}
    held_out = {digit.captions[-1] for digit in found if digit.split == "heldout_compositions"}
    assert not held_out & train and words(held_out) <= words(train)


def test_attributes_are_read_from_captions(found):
    train = [digit.captions for digit in found if digit.split == "train"]
    for attribute in DIGITS:
        values = labels(attribute, train)
        assert None not in values and len(set(values)) == 3
    texts = digits.captions("three", 2, 0, 0)
    assert [labels(attribute, [texts])[0] for attribute in DIGITS] == ["bold", "left", "narrow"]


def test_the_source_is_one_like_the_others(tmp_path):
    with open_source("digits", limit=5) as source:
        examples = list(source.examples())
        assert source.count == len(examples) == 15 and "CC BY 4.0" in source.licence
        assert [example.split for example in examples] == [split for split in digits.SPLITS for _ in range(5)]
        picture = Image.open(io.BytesIO(examples[0].read()))
        assert picture.size == (8, 8) and picture.mode == "L"
        np.testing.assert_allclose(np.asarray(picture) / 255, digits.pictures()[0].ink, atol=1 / 500)
        assert examples[0].tags["family"] == examples[0].captions[0] in digits.DIGITS
        report = prepare(source, tmp_path / "mnist", resolution=28, channels=1)
        prepare(source, tmp_path / "pixels", resolution=8, channels=1)
    assert report.counts == {split: 5 for split in digits.SPLITS}
    data = Prepared(tmp_path / "mnist")
    assert data.images([0]).shape == (1, 28, 28, 1) and data.languages == ["en"]
    np.testing.assert_array_equal(Prepared(tmp_path / "pixels").images([0])[0, ..., 0], np.asarray(picture))


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UserError, match=r"digits needs the package scikit-learn: .* 't2i_jax\[evaluate\]'"):
        open_source("digits")
