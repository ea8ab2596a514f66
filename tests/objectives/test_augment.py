"""Differentiable augmentation: a function of each example's key, differentiable, harmless at strength 0."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from t2i_jax.errors import UserError
from t2i_jax.keys import per_example
from t2i_jax.objectives import augment as augmentation
from t2i_jax.objectives.augment import POLICY

augment = jax.jit(augmentation.augment, static_argnames="policy")
KEYS = per_example(jax.random.key(0), 64)
IMAGES = jax.random.uniform(jax.random.key(1), (64, 16, 24, 3), minval=-1, maxval=1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_shape_and_type_are_kept(channels, dtype):
    images = IMAGES[..., :channels].astype(dtype)
    augmented = augment(images, KEYS)
    assert augmented.shape == images.shape and augmented.dtype == dtype
    assert jnp.all(jnp.isfinite(augmented))


def test_strength_is_the_share_of_images_touched():
    np.testing.assert_array_equal(augment(IMAGES, KEYS, strength=0.0), IMAGES)
    changed = lambda strength: augment(IMAGES, KEYS, ("contrast",), strength) != IMAGES
    touched = lambda strength: jnp.mean(jnp.any(changed(strength), axis=(1, 2, 3)))
    assert 0.25 < touched(0.5) < 0.75
    assert jax.jit(touched)(1.0) == 1


def test_each_transformation_depends_on_its_key_alone():
    together = augment(IMAGES, KEYS)
    np.testing.assert_allclose(augment(IMAGES[5:6], KEYS[5:6]), together[5:6], atol=1e-6)
    same_image = augment(jnp.broadcast_to(IMAGES[:1], IMAGES.shape), KEYS)
    assert len({picture.tobytes() for picture in np.asarray(same_image)}) == 64


def test_pairs_with_the_same_key_see_the_same_transformation():
    """Brightness, translation and cutout are affine: the difference of a pair transforms without the constant."""
    policy = ("brightness", "translation")
    pair = augment(IMAGES, KEYS, policy) - augment(IMAGES - 0.5, KEYS, policy)
    covered = jnp.abs(pair) > 1e-6
    np.testing.assert_allclose(jnp.where(covered, pair, 0.5), 0.5, atol=1e-5)


def test_brightness_adds_one_number_and_contrast_and_saturation_keep_their_mean():
    shift = augment(IMAGES, KEYS, ("brightness",)) - IMAGES
    np.testing.assert_allclose(jnp.ptp(shift, axis=(1, 2, 3)), 0, atol=1e-6)
    assert jnp.abs(shift).max() <= 0.5 and jnp.std(shift[:, 0, 0, 0]) > 0.2
    contrast = augment(IMAGES, KEYS, ("contrast",))
    np.testing.assert_allclose(contrast.mean((1, 2, 3)), IMAGES.mean((1, 2, 3)), atol=1e-5)
    ratio = contrast.std((1, 2, 3)) / IMAGES.std((1, 2, 3))
    assert 0.5 <= ratio.min() < 0.6 and 1.4 < ratio.max() <= 1.5
    saturation = augment(IMAGES, KEYS, ("saturation",))
    np.testing.assert_allclose(saturation.mean(-1), IMAGES.mean(-1), atol=1e-5)
    ratio = saturation.std(-1)[:, 0, 0] / IMAGES.std(-1)[:, 0, 0]
    assert 0 <= ratio.min() < 0.2 and 1.8 < ratio.max() <= 2
    np.testing.assert_allclose(augment(IMAGES[..., :1], KEYS, ("saturation",)), IMAGES[..., :1], atol=1e-6)


def test_translation_is_a_shift_filled_with_grey():
    shifts = set()
    for before, after in zip(np.asarray(IMAGES), np.asarray(augment(IMAGES, KEYS, ("translation",)))):
        padded = np.pad(before, ((2, 2), (3, 3), (0, 0)))
        candidates = {(y, x): padded[y : y + 16, x : x + 24] for y in range(5) for x in range(7)}
        (shift,) = [at for at, shifted in candidates.items() if np.array_equal(shifted, after)]
        shifts.add(shift)
    assert {y for y, _ in shifts} == set(range(5)) and {x for _, x in shifts} == set(range(7))


def test_cutout_blanks_at_most_a_quarter_and_touches_nothing_else():
    after = augment(IMAGES, KEYS, ("cutout",))
    blank = jnp.all(after == 0, axis=-1)
    np.testing.assert_array_equal(jnp.where(blank[..., None], IMAGES, after), IMAGES)
    share = blank.mean((1, 2))
    assert share.max() == 0.25 and share.min() > 0.04


def test_gradients_are_finite_differences_and_second_derivatives_exist():
    with jax.enable_x64(True):
        images = jnp.array(IMAGES[:3, :8, :8], jnp.float64)
        loss = lambda images: jnp.sum(augment(images, KEYS[:3], POLICY) ** 3)
        check_grads(loss, (images,), order=2, modes=["rev"])


def test_unknown_augmentation_lists_the_accepted_ones():
    with pytest.raises(UserError, match="'flip'.*brightness, saturation, contrast, translation, cutout"):
        augment(IMAGES, KEYS, ("brightness", "flip"))


PICTURES = jnp.broadcast_to(jnp.arange(64.0)[:, None, None, None], IMAGES.shape)  # each of one colour, its number


def test_mirror_reverses_half_of_the_images_left_to_right_by_their_keys():
    after = np.asarray(jax.jit(augmentation.mirror)(IMAGES, KEYS))
    before = np.asarray(IMAGES)
    reversed_ = np.array([np.array_equal(a, b[:, ::-1]) for a, b in zip(after, before)])
    kept = np.array([np.array_equal(a, b) for a, b in zip(after, before)])
    assert np.all(reversed_ ^ kept) and 16 < reversed_.sum() < 48
    np.testing.assert_array_equal(augmentation.mirror(IMAGES[5:9], KEYS[5:9]), after[5:9])


def test_cut_mix_pastes_a_rectangle_of_the_previous_image_and_nothing_else():
    after = np.asarray(jax.jit(augmentation.cut_mix)(IMAGES, KEYS, 1.0))
    before, previous = np.asarray(IMAGES), np.roll(IMAGES, 1, axis=0)
    changed = np.any(after != before, axis=-1)
    np.testing.assert_array_equal(after[changed], previous[changed])
    np.testing.assert_array_equal(after[~changed], before[~changed])
    heights, widths = [], []
    for hole in changed[changed.any(axis=(1, 2))]:
        rows, columns = hole.any(axis=1), hole.any(axis=0)
        np.testing.assert_array_equal(hole, rows[:, None] & columns[None, :])
        for side in (rows, columns):
            assert np.diff(np.flatnonzero(side)).max(initial=1) == 1  # in one piece
        heights.append(rows.sum())
        widths.append(columns.sum())
    assert len(heights) > 60  # few hang out of the picture altogether
    assert max(heights) <= 12 and max(widths) <= 18 and max(heights) > 9 and max(widths) > 13  # three quarters
    assert len({*map(tuple, zip(heights, widths))}) > 20


def test_cut_mix_share_is_how_many_and_keys_decide_which():
    cut_mix = jax.jit(augmentation.cut_mix)
    np.testing.assert_array_equal(cut_mix(IMAGES, KEYS, 0.0), IMAGES)
    whole, half = (np.asarray(cut_mix(PICTURES, KEYS, share)) for share in (1.0, 0.5))
    touched = np.any(half != PICTURES, axis=(1, 2, 3))
    assert 16 < touched.sum() < 48
    np.testing.assert_array_equal(half[touched], whole[touched])
    # The rectangle belongs to the key: example 7 with its key, beside others.
    alone = augmentation.cut_mix(PICTURES[6:8], KEYS[6:8], 1.0)
    np.testing.assert_array_equal(alone[1], whole[7])
