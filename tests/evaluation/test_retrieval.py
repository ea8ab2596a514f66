"""R-precision by hand and at chance, the bootstrap against resampling pictures."""

import numpy as np
import pytest

from t2i_jax.errors import UserError
from t2i_jax.evaluation import retrieval

RNG = np.random.default_rng(0)
TEXT = RNG.normal(size=(300, 16))
IMAGE = 3 * TEXT + RNG.normal(size=TEXT.shape)  # a good evaluator: cosines of pairs about .95
OWN = np.eye(300, dtype=bool)


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def test_similarity_is_the_mean_cosine():
    image, text = np.array([[3.0, 0], [0, 2]]), np.array([[1.0, 0], [1, 1]])
    assert retrieval.similarity(image, text) == pytest.approx((1 + np.sqrt(0.5)) / 2)
    assert retrieval.similarity(np.zeros((2, 2)), text) == 0


def test_hits_where_every_wrong_caption_is_drawn(rng):
    """Against all wrong captions at once nothing is left to chance; a caption that is right at another level of
    detail never counts against a picture, however near it is."""
    right = OWN | (rng.random((300, 300)) < 0.01)
    unit = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)
    image = TEXT + 1.2 * rng.normal(size=TEXT.shape)
    cosines = unit(image) @ unit(TEXT).T
    expected = [all(cosines[i, i] > cosines[i, ~right[i]]) for i in range(300)]
    assert 0.2 < np.mean(expected) < 0.9
    for i in range(0, 300, 10):
        row = slice(i, i + 1)
        assert retrieval.hits(image[row], TEXT[row], TEXT, right[row], wrong=(~right[i]).sum()) == expected[i]


def test_right_captions_never_stand_among_the_wrong_ones(rng):
    """Every pool caption but 99 is exactly the picture; the others point away from it."""
    image = np.ones((20, 4))
    pool = np.concatenate([np.ones((500, 4)), -rng.random((99, 4))])
    right = np.repeat(np.arange(599)[None] < 500, 20, axis=0)
    assert retrieval.hits(image, image, pool, right).all()
    right[:, 0] = False
    assert not retrieval.hits(image, image, pool, right, wrong=100).any()  # now an equal one is drawn: a miss


def test_shuffled_captions_drop_to_chance_and_good_ones_do_not():
    assert retrieval.hits(IMAGE, TEXT, TEXT, OWN).mean() > 0.99
    shuffled, hit = np.roll(np.arange(300), 7), []
    for seed in range(10):
        hit.append(retrieval.hits(IMAGE, TEXT[shuffled], TEXT, OWN | OWN[shuffled], seed=seed))
    assert 0.002 < np.mean(hit) < 0.03  # 1 in 100; the ten share their 300 pictures


def test_embeddings_without_content_score_nothing():
    for constant in (np.zeros_like(TEXT), np.full_like(TEXT, 0.3)):
        assert not retrieval.hits(IMAGE, constant, constant, OWN).any()


def test_hits_depend_on_the_seed_and_on_length_of_no_embedding(rng):
    image = TEXT + 2 * rng.normal(size=TEXT.shape)
    first = retrieval.hits(image, TEXT, TEXT, OWN, wrong=20)
    np.testing.assert_array_equal(first, retrieval.hits(image * 5, TEXT * 0.1, TEXT, OWN, wrong=20))
    np.testing.assert_array_equal(first, retrieval.hits(image, TEXT, TEXT, OWN, wrong=20, seed=0))
    assert np.any(first != retrieval.hits(image, TEXT, TEXT, OWN, wrong=20, seed=1))


def test_too_few_wrong_captions_are_refused():
    right = np.eye(100, dtype=bool)
    assert retrieval.hits(IMAGE[:100], TEXT[:100], TEXT[:100], right).shape == (100,)
    right[40, 41] = True
    with pytest.raises(UserError, match="99 wrong captions for every picture, number 40 has 98"):
        retrieval.hits(IMAGE[:100], TEXT[:100], TEXT[:100], right)
    with pytest.raises(ValueError, match="pool"):
        retrieval.hits(IMAGE, TEXT, TEXT[:200], OWN)


def test_paired_bootstrap_against_resampled_pictures(rng):
    a = rng.random(200) < 0.8
    b = np.where(rng.random(200) < 0.9, a, ~a)
    mean, half = retrieval.paired_bootstrap(a, b, draws=20000)
    picked = rng.integers(0, 200, (20000, 200))
    low, high = np.percentile((a[picked].astype(float) - b[picked]).mean(axis=1), [2.5, 97.5])
    assert mean == pytest.approx(a.mean() - b.mean())
    assert half == pytest.approx((high - low) / 2, rel=0.05)
    assert (mean, half) == retrieval.paired_bootstrap(a, b, draws=20000, seed=0)
    assert retrieval.paired_bootstrap(b, a)[0] == -mean


def test_paired_bootstrap_of_equal_hits_is_certain(rng):
    a = rng.random(50) < 0.5
    assert retrieval.paired_bootstrap(a, a) == (0, 0)
    with pytest.raises(ValueError, match="N > 0"):
        retrieval.paired_bootstrap(a, a[:49])


def test_pairing_narrows_the_interval():
    """The same two rates, once on the same pictures and once as if on others."""
    a = np.arange(400) < 320
    b = np.arange(400) < 300
    assert retrieval.paired_bootstrap(a, b)[1] < 0.6 * retrieval.paired_bootstrap(a, b[::-1])[1]
