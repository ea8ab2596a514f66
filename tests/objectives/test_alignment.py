"""Content losses against NumPy, and wrong captions that are really wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from t2i_jax.objectives import alignment

RNG = np.random.default_rng(0)
IMAGE, TEXT = RNG.normal(size=(4, 8)), RNG.normal(size=(4, 8))
EXCHANGEABLE = np.eye(4, dtype=bool)
EXCHANGEABLE[0, 2] = EXCHANGEABLE[2, 3] = True

# "firefighter", "woman firefighter", "man firefighter", "apple" at two levels of detail, "red apple"
FIREFIGHTER, WOMAN, MAN, APPLE, RED_APPLE = 11, 12, 13, 21, 22
PICTURES = np.array([(FIREFIGHTER, WOMAN, 0), (FIREFIGHTER, MAN, 0), (APPLE, RED_APPLE, 0), (FIREFIGHTER, WOMAN, 0)])
PICTURES = PICTURES.astype(np.uint32)
CAPTIONS = np.array([FIREFIGHTER, MAN, RED_APPLE, WOMAN], np.uint32)


def numpy_info_nce(image, text, temperature, right):
    image = image / np.linalg.norm(image, axis=1, keepdims=True)
    text = text / np.linalg.norm(text, axis=1, keepdims=True)
    similarity = np.exp(image @ text.T / temperature)
    losses = []
    for i in range(len(image)):
        negatives = [j for j in range(len(text)) if j == i or not right[i, j]]
        losses.append(-np.log(similarity[i, i] / similarity[i, negatives].sum()))
        negatives = [j for j in range(len(image)) if j == i or not right[j, i]]
        losses.append(-np.log(similarity[i, i] / similarity[negatives, i].sum()))
    return np.mean(losses)


def test_content_mse():
    with jax.enable_x64(True):
        value = alignment.content_mse(jnp.array(IMAGE), jnp.array(TEXT))
        np.testing.assert_allclose(value, ((TEXT - IMAGE) ** 2).sum() / 4, rtol=1e-12)


@pytest.mark.parametrize("right", [np.eye(4, dtype=bool), EXCHANGEABLE, np.zeros((4, 4), bool)])
def test_info_nce_against_numpy(right):
    with jax.enable_x64(True):
        value = alignment.info_nce(jnp.array(IMAGE), jnp.array(TEXT), 0.3, jnp.array(right))
        np.testing.assert_allclose(value, numpy_info_nce(IMAGE, TEXT, 0.3, right), rtol=1e-9)


def test_info_nce_gradient_is_a_finite_difference():
    with jax.enable_x64(True):
        text, right = jnp.array(TEXT), jnp.array(EXCHANGEABLE)
        loss = lambda image, temperature: alignment.info_nce(image, text, temperature, right)
        check_grads(loss, (jnp.array(IMAGE), 0.3), order=1, modes=["rev"])


def test_info_nce_is_zero_where_every_caption_is_right_and_finite_for_an_embedding_of_zeros():
    loss = lambda image: alignment.info_nce(image, jnp.array(TEXT, jnp.float32), 0.1, jnp.ones((4, 4), bool))
    assert loss(jnp.array(IMAGE, jnp.float32)) == 0
    assert jnp.all(jnp.isfinite(jax.grad(loss)(jnp.zeros((4, 8)))))


def test_right_pairs_by_hand():
    right = alignment.right_pairs(jnp.array(CAPTIONS), jnp.array(PICTURES))
    expected = [[1, 0, 0, 1], [1, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 1]]
    np.testing.assert_array_equal(right, np.array(expected, bool))


def test_padding_makes_nothing_right_but_its_own():
    right = alignment.right_pairs(jnp.array([0, 0, WOMAN], jnp.uint32), jnp.array(PICTURES[:3]))
    np.testing.assert_array_equal(right, [[True, False, True], [False, True, False], [False, False, True]])


def test_generated_images_may_show_what_their_caption_left_open():
    """A draw for "firefighter" may be a man, though the picture it came with shows a woman."""
    right = alignment.right_pairs(jnp.array(CAPTIONS), jnp.array(PICTURES))
    assert not right[0, 1] and alignment.compatible_pairs(right)[0, 1]
    assert not alignment.compatible_pairs(right)[1, 3]


def test_wrong_captions_are_the_nearest_following_and_really_wrong():
    right = alignment.right_pairs(jnp.array(CAPTIONS), jnp.array(PICTURES))
    index, valid = alignment.wrong_captions(right)
    np.testing.assert_array_equal(valid, True)
    np.testing.assert_array_equal(index, [1, 2, 3, 1])
    for picture, wrong in zip(PICTURES, CAPTIONS[np.asarray(index)]):
        assert wrong not in picture


def test_wrong_captions_of_many_random_batches():
    """Whatever the batch: valid exactly where a wrong caption exists, and never a caption of the picture."""
    rng = np.random.default_rng(1)
    compiled = jax.jit(lambda *ids: alignment.wrong_captions(alignment.right_pairs(*ids)))
    for _ in range(50):
        pictures = rng.integers(1, 5, (6, 3)).astype(np.uint32)
        captions = pictures[np.arange(6), rng.integers(0, 3, 6)]
        index, valid = compiled(captions, pictures)
        for i in range(6):
            following = [j % 6 for j in range(i + 1, i + 6) if captions[j % 6] not in pictures[i]]
            assert valid[i] == bool(following)
            assert index[i] == (following[0] if following else i)


def test_a_batch_of_one_caption_has_no_wrong_one():
    index, valid = alignment.wrong_captions(jnp.ones((3, 3), bool))
    np.testing.assert_array_equal(index, [0, 1, 2])
    assert not valid.any()
