"""Noise tied to pictures: even cells, the caption's own pictures, one direction for one word, and the same for any split."""

import json

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from t2i_jax.data import coupling
from t2i_jax.data.coupling import Coupling, even_cells, normal
from t2i_jax.data.pipeline import Examples, batches
from t2i_jax.data.prepare import prepare
from t2i_jax.data.prepared import Prepared
from t2i_jax.data.sources import open_source
from t2i_jax.data.tokenizer import Tokenizer, caption_id

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 60, 230), "grey": (128, 128, 128)}
SHAPES = ("square", "bar", "column", "corner")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four shapes in four colours: "square" is open, "square red" is one picture."""
    folder = tmp_path_factory.mktemp("coupling") / "pictures"
    folder.mkdir()
    rows = []
    for number, shape in enumerate(SHAPES):
        area = [np.s_[4:12, 4:12], np.s_[6:10, :], np.s_[:, 6:10], np.s_[:8, :8]][number]
        for name, colour in COLOURS.items():
            pixels = np.full((16, 16, 3), 255, np.uint8)
            pixels[area] = colour
            Image.fromarray(pixels).save(folder / f"{shape}-{name}.png")
            rows.append(json.dumps({"file_name": f"{shape}-{name}.png", "text": [shape, f"{shape} {name}"]}))
    (folder / "metadata.jsonl").write_text("\n".join(rows))
    with open_source("folder", str(folder), heldout_fraction=0.0) as source:
        prepare(source, folder.with_name("prepared"), resolution=16)
    return Prepared(folder.with_name("prepared"))


@pytest.fixture(scope="module")
def tokenizer(data):
    return Tokenizer.train(data.captions(), 300)


def test_noise_is_standard_normal_and_a_function_of_its_index():
    noise = normal(7, np.arange(20_000), 3)
    assert noise.dtype == np.float32 and noise.shape == (20_000, 3)
    for dimension in noise.T:
        assert stats.kstest(dimension, "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(noise.T) - np.eye(3)).max() < 0.03
    np.testing.assert_array_equal(normal(7, np.array([123]), 3)[0], noise[123])
    assert not np.array_equal(normal(8, np.array([123]), 3)[0], noise[123])


def test_cells_are_equally_likely_for_fresh_noise_however_codes_are_spread():
    codes = np.random.default_rng(0).normal(size=(12, 4)) ** 3  # some far out, most near the middle
    codes, offsets = even_cells(codes, normal(0, np.arange(16_384), 4))
    fresh = normal(1, np.arange(50_000), 4)
    share = lambda offsets: np.bincount(np.argmax(fresh @ codes.T + offsets, axis=1), minlength=12) / len(fresh)
    uneven = lambda offsets: np.abs(share(offsets) - 1 / 12).sum() / 2
    assert uneven(offsets) < 0.06 < 0.15 < uneven(np.zeros(12))


def test_noise_chooses_among_the_pictures_of_its_caption_and_leaves_single_ones_alone(data, tokenizer):
    examples = Examples(data, tokenizer, 12, noise=6)
    index = np.arange(4_000)
    pictures = np.arange(4_000) % len(data)
    open_captions = examples.captions(pictures, np.zeros(4_000))
    chosen, leaves = examples.couple(pictures, open_captions, 0, index)
    np.testing.assert_array_equal(leaves["noise"], normal(0, index, 6))
    words = [row["captions"] for row in data.words]
    assert [words[i][0] for i in chosen] == [words[i][0] for i in pictures]  # the same shape
    assert stats.chisquare(np.bincount(chosen, minlength=len(data))).pvalue > 1e-6
    detailed, _ = examples.couple(pictures, examples.captions(pictures), 0, index)
    np.testing.assert_array_equal(detailed, pictures)


def test_one_direction_of_noise_means_the_same_word_under_every_caption(data, tokenizer):
    examples = Examples(data, tokenizer, 12, noise=4)
    colour = lambda pictures: [data.words[i]["captions"][-1].split()[-1] for i in pictures]
    of = {row["captions"][0]: i for i, row in enumerate(data.words)}
    index = np.arange(2_000)
    drawn = []
    for shape in SHAPES:
        pictures = np.full(2_000, of[shape])
        drawn.append(colour(examples.couple(pictures, examples.captions(pictures, np.zeros(2_000)), 0, index)[0]))
    agree = [np.mean([a == b for a, b in zip(drawn[0], other, strict=True)]) for other in drawn[1:]]
    assert min(agree) > 0.6  # chance: 0.25


def test_batches_hold_noise_beside_the_picture_it_stands_for(data, tokenizer):
    options = {"batch_size": 8, "scan_length": 2, "text_length": 12, "seed": 3, "noise": 6}
    stream = batches(data, tokenizer, **options)
    first, second = next(stream), next(stream)
    assert first["noise"].shape == (2, 8, 6) and first["noise"].dtype == np.float32
    assert all(caption in captions for caption, captions in zip(first["caption"].ravel(),
                                                                first["captions"].reshape(16, -1), strict=True))
    np.testing.assert_array_equal(first["noise"].reshape(16, 6), normal(3, np.arange(16), 6))
    again = next(batches(data, tokenizer, start=16, **options))
    halves = [next(batches(data, tokenizer, start=16, rows=rows, **options)) for rows in np.arange(8).reshape(2, 4)]
    for name, leaf in second.items():
        np.testing.assert_array_equal(again[name], leaf, err_msg=name)
        np.testing.assert_array_equal(np.concatenate([half[name] for half in halves], axis=1), leaf, err_msg=name)
    assert "noise" not in next(batches(data, tokenizer, **options | {"noise": 0}))


def test_captions_of_one_picture_each_need_no_cells(data, tokenizer):
    rows = [[caption_id(row["captions"][-1])] for row in data.words]
    coupling = Coupling(data, tokenizer, rows, 4)
    assert not coupling.cells
    pictures = np.array([3, 1])
    np.testing.assert_array_equal(coupling.choose(pictures, np.array([0, 1]), np.zeros((2, 4))), pictures)


def test_a_caption_of_hundreds_of_loud_pictures_does_not_rule_the_codes():
    draws = np.random.default_rng(0)
    loud = np.stack([10 * draws.standard_normal(400), np.zeros(400)], axis=1)
    quiet = np.stack([np.zeros(120), draws.standard_normal(120)], axis=1)
    groups = {0: np.arange(400)} | {1 + number: 400 + 4 * number + np.arange(4) for number in range(30)}
    directions, variances = coupling._basis(np.concatenate([loud, quiet]).astype(np.float32), groups, 2)
    # By the root of their sizes 30 captions of 4 weigh three times as much as one of 400, however loud that is.
    np.testing.assert_allclose(np.abs(directions), [[0, 1], [1, 0]], atol=1e-6)
    np.testing.assert_allclose(variances, [60, 20], rtol=1e-5)


def test_words_tell_what_they_changed_under_captions_that_leave_them_open_less_the_ridge():
    # Captions of two pictures: in 0 and 1 the word sets them apart by 2, in 2 something without a word by 6.
    looks = np.array([[0], [2], [10], [12], [0], [6]], np.float32)
    bags = np.array([[0], [1], [0], [1], [0], [0]], np.float32)
    groups = {number: np.array([2 * number, 2 * number + 1]) for number in range(3)}
    told = coupling._told(bags, looks, groups)
    # Weights count each caption alike: squares sqrt(2) / spread, spreads 2, 2 and 18; the word's own differences are +-1/2.
    square = np.sqrt(2) / np.array([2, 2, 18])
    effect = (square[:2] * 1).sum() / ((square[:2] * 0.5).sum() + coupling.RIDGE * square.mean())
    np.testing.assert_allclose(told, effect * bags, rtol=1e-5)
    assert 0 < effect < 2


def test_noise_of_more_dimensions_than_pictures_have_chooses_by_those_they_have(data, tokenizer):
    draws = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
    directions, variances = coupling._basis(draws, {0: np.arange(8)}, 5)
    assert directions.shape == (3, 5) and variances.shape == (5,)
    codes = coupling._project(draws, (directions, variances))
    assert np.all(codes[:, 3:] == 0) and np.linalg.matrix_rank(codes) == 3
