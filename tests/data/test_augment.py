import numpy as np
import pytest

from data.conftest import picture
from t2i_jax.data.augment import Augment, apply, may_flip

COUNT = 200
INDEX = np.arange(COUNT)


@pytest.fixture
def images():
    return np.stack([np.asarray(picture(seed, (16, 16))) for seed in range(COUNT)])


def test_nothing_asked_nothing_done(images):
    np.testing.assert_array_equal(apply(Augment(), images, np.ones(COUNT, bool), 0, INDEX), images)


def test_about_half_are_flipped_and_never_those_that_speak_of_a_side(images):
    flippable = INDEX % 4 != 0
    before = images.copy()
    flipped = apply(Augment(flip=True), images, flippable, 0, INDEX)
    np.testing.assert_array_equal(images, before)
    mirrored = (flipped == images[:, :, ::-1]).all((1, 2, 3))
    kept = (flipped == images).all((1, 2, 3))
    assert (mirrored ^ kept).all() and kept[~flippable].all()
    assert 0.35 < mirrored[flippable].mean() < 0.65


def test_draws_follow_the_index_not_the_place(images):
    options = (Augment(True, 20, 0.2), images, np.ones(COUNT, bool))
    whole = apply(*options, 5, INDEX)
    part = apply(options[0], images[60:90], np.ones(30, bool), 5, INDEX[60:90])
    np.testing.assert_array_equal(part, whole[60:90])
    assert (apply(*options, 6, INDEX) != whole).any((1, 2, 3)).mean() > 0.9


@pytest.mark.parametrize("captions, allowed", [
    (("red heart", "a bright rightful left-over"), False), (("person facing right",), False),
    (("leftwards hand",), False), (("Left arrow",), False), (("a bright light",), True), (("copyright",), True),
    (("向左的箭头",), False), (("面向右边",), False), (("红心",), True), (("digit 7",), False),
    (("clockwise vertical arrows",), False), (("heart", "a cat on the right"), False),
])
def test_captions_that_a_mirror_would_falsify(captions, allowed):
    assert may_flip(captions) is allowed


def test_rotation_and_scale_move_pixels_about_the_centre():
    images = np.full((COUNT, 32, 32, 3), 255, np.uint8)
    images[:, 4:8, 12:20] = 0  # a bar near the top
    turned = apply(Augment(rotate=90), images, np.zeros(COUNT, bool), 0, INDEX)
    rows, columns = np.meshgrid(np.arange(32) - 15.5, np.arange(32) - 15.5, indexing="ij")
    weight = (255.0 - turned[..., 0]) / (255.0 - turned[..., 0]).sum((1, 2), keepdims=True)
    angle = np.rad2deg(np.arctan2((weight * columns).sum((1, 2)), -(weight * rows).sum((1, 2))))
    assert angle.min() < -60 and angle.max() > 60 and np.abs(angle).max() < 92
    radius = np.hypot((weight * rows).sum((1, 2)), (weight * columns).sum((1, 2)))
    np.testing.assert_allclose(radius, 10, atol=0.3)
    scaled = apply(Augment(scale=0.25), images, np.zeros(COUNT, bool), 0, INDEX)
    area = (255.0 - scaled[..., 0]).sum((1, 2)) / (255 * 32)
    assert 0.5 < area.min() < 0.65 and 1.45 < area.max() < 1.6
    assert (scaled[:, -1] == 255).all()  # edges continue outwards


def test_grey_pictures_are_turned_too():
    grey = np.zeros((COUNT, 16, 16, 1), np.uint8)
    assert apply(Augment(rotate=10), grey, np.zeros(COUNT, bool), 0, INDEX).shape == grey.shape
