import numpy as np
import pytest

from t2i_jax.data.attributes import Attribute, labels
from t2i_jax.errors import UserError
from t2i_jax.evaluation import measures
from t2i_jax.evaluation.attributes import Reader, blurred, colours, common, legible, noisy, readers, sight
from t2i_jax.evaluation.baselines import Captioned
from t2i_jax.evaluation.groups import Group

SIZE = ("small", "large")
HUES = {"red": (200, 40, 40), "blue": (40, 40, 200)}
ATTRIBUTES = (
    Attribute("colour", {hue: (hue,) for hue in HUES}),
    Attribute("size", {"small": (), "large": ("large",)}),
    Attribute("weather", {"rain": ("rain",), "dry": ()}),
)


def squares(seed: int, count: int):
    """Squares of two colours and two sizes somewhere on white: uint8 [count, 16, 16, 3], captions."""
    draw = np.random.default_rng(seed)
    images, captions = np.full((count, 16, 16, 3), 255, np.uint8), []
    for image in images:
        hue, size = draw.choice(list(HUES)), draw.choice(SIZE)
        side = 4 if size == "small" else 9
        top, left = draw.integers(0, 16 - side, 2)
        image[top:top + side, left:left + side] = np.clip(HUES[hue] + draw.normal(0, 12, 3), 0, 255)
        captions.append(("square", f"{hue} square") + ((f"large {hue} square",) if size == "large" else ()))
    return images, captions


@pytest.fixture(scope="module")
def found():
    images, captions = squares(0, 200)
    return readers(ATTRIBUTES, images, captions)


def test_attributes_of_pictures_never_seen_are_read(found):
    images, captions = squares(1, 100)
    assert set(found) == {"colour", "size"}  # no caption speaks of the weather
    hue = ["red" if "red square" in texts else "blue" for texts in captions]
    size = ["large" if len(texts) == 3 else "small" for texts in captions]
    assert found["colour"].values == ("blue", "red")
    assert found["colour"].accuracy(images, hue) == (1.0, 100)
    assert found["size"].accuracy(images, size)[0] > 0.95
    assert found["colour"].accuracy(noisy(blurred(images)), hue)[0] > 0.95


def test_accuracy_counts_known_values_only(found):
    images, captions = squares(2, 4)
    right = found["colour"].read(images)
    wrong = ["red" if value == "blue" else "blue" for value in right]
    assert found["colour"].accuracy(images, [right[0], wrong[1], None, right[3]]) == (2 / 3, 3)
    share, count = found["colour"].accuracy(images, [None] * 4)
    assert np.isnan(share) and count == 0 and found["colour"].read(images[:0]) == []


def test_only_captions_that_say_a_value_are_counted_in_a_card(found):
    images, captions = squares(4, 50)
    group = Group("train", "train", images, captions, captions, [""] * 50, [""] * 50)
    noted = {}
    note = lambda row, figure, value, **about: noted.update({figure: (value, about["pictures"])})
    drawn = np.where(np.array([len(texts) == 3 for texts in captions])[:, None, None, None], images, 255).astype(np.uint8)
    measures.accuracy(note, measures.Space({}, None), {"model": drawn}, group, Captioned(images, captions), ATTRIBUTES, found)
    large = sum(len(texts) == 3 for texts in captions)
    assert 0 < large < 50  # nothing is drawn of the others, whose captions leave the size open
    assert noted["accuracy/size"][1] == large and noted["accuracy/size"][0] > 0.9
    assert noted["accuracy/colour"][1] == 50 and noted["accuracy/colour"][0] < 0.9


def test_the_same_pictures_give_the_same_readings(found):
    images, captions = squares(0, 200)
    again = readers(ATTRIBUTES, images, captions)
    other, _ = squares(3, 50)
    assert all(again[name].read(other) == found[name].read(other) for name in found)


def test_values_that_are_not_read_off_the_picture_are_left_out(found):
    images, captions = squares(0, 200)
    told = labels(ATTRIBUTES[0], captions)
    lying = [("square", "red square" if value == "blue" else "blue square") if index < 3 else texts
             for index, (texts, value) in enumerate(zip(captions, told))]
    values = legible(ATTRIBUTES, found, images, lying)
    assert set(values) == {"colour", "size"}
    assert values["colour"] == [None] * 3 + told[3:]


class Unsure:
    """Reads "blue" off the second picture once it is given a copy of the pictures."""

    def __init__(self, original):
        self.original = original

    def read(self, images):
        return ["red", "red" if (images == self.original).all() else "blue", "red"]


def test_values_must_be_read_off_copies_as_well():
    images = squares(0, 3)[0]
    values = legible(ATTRIBUTES[:1], {"colour": Unsure(images)}, images, [("red",), ("red",), ("blue",)])
    assert values == {"colour": ["red", None, None]}


def test_a_reader_needs_two_values():
    with pytest.raises(UserError, match="1 value"):
        Reader.fit(colours, squares(0, 4)[0], ["red", "red", None, None])


def test_a_reader_learns_from_noisy_and_blurred_copies_of_pictures_whose_value_is_known():
    images, seen = squares(0, 6)[0], []
    Reader.fit(lambda part: seen.append(part) or part.reshape(len(part), -1), images, ["a", "b", None, "a", "b", "b"])
    known = images[[0, 1, 3, 4, 5]]
    for part, expected in zip(seen, (known, noisy(known), blurred(known)), strict=True):
        np.testing.assert_array_equal(part, expected)
    assert 0 < np.abs(noisy(known).astype(int) - known).mean() < 8 and (blurred(known) != known).any()


def test_colours_are_counted():
    levels = np.array([0, 51, 102, 153, 204, 255], np.uint8)
    image = np.zeros((1, 2, 2, 3), np.uint8)
    image[0, 0, 0] = levels[[5, 0, 2]]
    image[0, 0, 1] = (0, 0, 51 // 3)  # a third of the way to the next level of blue
    share = colours(image)[0] ** 2
    assert share.shape == (216,) and share.sum() == pytest.approx(1)
    assert share[5 + 2 * 36] == pytest.approx(1 / 4)
    assert share[1 * 36] == pytest.approx(1 / 12) and share[0] == pytest.approx(2 / 4 + 2 / 12)
    assert colours(image[..., :1]).shape == (1, 6)
    np.testing.assert_array_equal(colours(np.repeat(image, 300, 0)), np.repeat(colours(image), 300, 0))


def test_what_a_reader_sees_does_not_depend_on_the_pictures_beside():
    images, _ = squares(0, 30)
    see = sight(images)
    other, _ = squares(4, 5)
    np.testing.assert_allclose(see(other)[2:3], see(other[2:3]), atol=1e-4)


def test_rare_values_are_left_out():
    assert common(["a", "a", "b", ""], least=2) == ["a", "a", None, None]
    assert common(["b", "a", None], least=2, known=["a", "a", "b"]) == [None, "a", None]
