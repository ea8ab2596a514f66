import numpy as np
import pytest
from sklearn.decomposition import PCA

from t2i_jax.errors import UserError
from t2i_jax.evaluation import regression as network
from t2i_jax.evaluation.baselines import Captioned, _bag_of_words, copy, pca, real, regression, ridge

COLOURS = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (40, 40, 200), "grey": (128, 128, 128)}
PLACES = ("left", "right", "top")


def picture(colour: str, place: str) -> np.ndarray:
    """A bar in a colour at a place: uint8 [8, 8, 3]."""
    image = np.full((8, 8, 3), 255, np.uint8)
    area = {"left": np.s_[:, :3], "right": np.s_[:, 5:], "top": np.s_[:3]}[place]
    image[area] = COLOURS[colour]
    return image


@pytest.fixture
def train():
    """Every colour at every place but the grey bar at the top."""
    pairs = [(colour, place) for colour in COLOURS for place in PLACES if (colour, place) != ("grey", "top")]
    return Captioned(np.stack([picture(*pair) for pair in pairs]),
                     [("bar", f"{colour} bar", f"{colour} bar at the {place}") for colour, place in pairs])


def distance(a, b):
    return np.abs(a.astype(float) - b).mean()


def test_ridge_is_the_closed_form(train):
    texts = [text for texts in train.captions for text in texts]
    words = _bag_of_words(texts)
    x, y = words(texts).astype(np.float64), np.repeat(train.images, 3, axis=0).reshape(len(texts), -1) / 255
    drawn = ridge(train).draw(["green bar at the left", "bar"], 0)
    centre, mean = x.mean(0), y.mean(0)
    new = words(["green bar at the left", "bar"]) - centre

    def expected(penalty):
        gram = (x - centre).T @ (x - centre) + penalty * np.eye(x.shape[1])
        weights = np.linalg.solve(gram, (x - centre).T @ (y - mean))
        return np.clip(np.round((new @ weights + mean) * 255), 0, 255)

    assert drawn.dtype == np.uint8 and drawn.shape == (2, 8, 8, 3)
    off = [np.abs(expected(penalty) - drawn.reshape(2, -1)).max() for penalty in (0.03, 0.1, 0.3, 1, 3, 10)]
    assert min(off) <= 1 and sorted(off)[1] > 2


def test_ridge_draws_a_combination_never_seen_and_always_the_same(train):
    drawn = ridge(train).draw(["grey bar at the top"] * 3, 5)
    target = picture("grey", "top")
    assert distance(drawn[0], target) < 0.6 * min(distance(image, target) for image in train.images)
    assert (drawn == drawn[0]).all()


def test_copy_takes_the_nearest_other_caption(train):
    baseline = copy(train)
    drawn = baseline.draw(["grey bar at the top"] * 40, 0)
    assert all(any((image == known).all() for known in train.images) for image in drawn)
    near = [picture(*pair) for pair in [("grey", "left"), ("grey", "right"), *((colour, "top") for colour in COLOURS)]]
    assert all(any((image == other).all() for other in near) for image in drawn)
    own = baseline.draw(["red bar at the left"] * 40, 0)
    assert not any((image == picture("red", "left")).all() for image in own)


def test_copies_among_equally_near_pictures_are_drawn_by_seed(train):
    baseline = copy(train)
    drawn = baseline.draw(["a red bar"] * 60, 0)
    assert {tuple(image.ravel()) for image in drawn} == {tuple(picture("red", place).ravel()) for place in PLACES}
    np.testing.assert_array_equal(drawn, baseline.draw(["a red bar"] * 60, 0))
    assert (drawn != baseline.draw(["a red bar"] * 60, 1)).any()
    np.testing.assert_array_equal(drawn[:2], baseline.draw(["a red bar", "bar at the top", "a red bar"], 0)[[0, 2]])


def test_copy_without_another_caption_is_refused(train):
    with pytest.raises(UserError, match="'bar'"):
        copy(train).draw(["bar"], 0)


def test_real_draws_pictures_with_the_very_caption(train):
    drawn = real(train).draw(["Red bar"] * 90, 0)
    counts = [sum((image == picture("red", place)).all() for image in drawn) for place in PLACES]
    assert sum(counts) == 90 and min(counts) > 15
    with pytest.raises(UserError, match="purple"):
        real(train).draw(["purple bar"], 0)


def test_regression_learns_latents_and_is_the_same_for_the_same_seed(train, monkeypatch):
    for name, value in {"WIDTH": 32, "HIDDEN": 32, "BLOCKS": 1, "BATCH": 32, "LEAST_STEPS": 600,
                        "LEARNING_RATE": 5e-3}.items():
        monkeypatch.setattr(network, name, value)
    flat = train.images.reshape(len(train.images), -1).astype(np.float32)
    basis = np.linalg.svd(flat - flat.mean(0), full_matrices=False)[2][:8]
    encode = lambda images: (images.reshape(len(images), -1) - flat.mean(0)) @ basis.T
    decode = lambda z: np.clip(np.round(z @ basis + flat.mean(0)), 0, 255).astype(np.uint8).reshape(-1, 8, 8, 3)
    first, again, other = (regression(train, encode, decode, seed) for seed in (0, 0, 1))
    prompts = [texts[-1] for texts in train.captions] + ["bar"] * 2
    drawn = first.draw(prompts, 0)
    floor = distance(decode(encode(train.images)), train.images)
    spread = distance(train.images.mean(axis=0), train.images)
    assert distance(drawn[:-2], train.images) < floor + 0.25 * spread
    np.testing.assert_array_equal(drawn, again.draw(prompts, 9))
    assert (drawn != other.draw(prompts, 0)).any() and (drawn[-1] == drawn[-2]).all()


def test_pca_is_that_of_the_training_pictures():
    train = np.random.default_rng(0).integers(0, 255, (40, 4, 4, 3), dtype=np.uint8)
    other = np.random.default_rng(1).integers(0, 255, (5, 4, 4, 3), dtype=np.uint8)
    exact = PCA(6, svd_solver="full").fit(train.reshape(40, -1) / 255.0)
    expected = exact.inverse_transform(exact.transform(other.reshape(5, -1) / 255.0)).reshape(other.shape) * 255
    assert np.abs(pca(train, 6)(other).astype(float) - np.clip(expected, 0, 255)).max() < 2
    np.testing.assert_array_equal(pca(train, 500)(train), train)


def test_words_marks_and_chinese_characters_are_counted():
    assert _bag_of_words(["keycap with #", "keycap with *"])(["#", "*"]).sum() == 2
    assert _bag_of_words(["消防员, 较深肤色"])(["消员 x"]).sum() == 2
    assert _bag_of_words(["a b"])(["a a c"]).tolist() == [[1, 0]]
