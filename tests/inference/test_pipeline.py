"""Loading and drawing: a picture depends on checkpoint, prompt, seed and index, and on nothing drawn beside it."""

import jax
import numpy as np
import pytest

import t2i_jax
from t2i_jax.errors import UserError
from t2i_jax.inference.pipeline import BUCKET


@pytest.fixture(scope="module")
def model(tiny_run):
    return t2i_jax.load(tiny_run)


def pixels(pictures):
    return np.stack([np.asarray(picture) for picture in pictures])


def test_same_seed_same_picture_for_any_count(model):
    many = pixels(model("a red heart", num_images=BUCKET + 3, seed=5))
    for count in (1, 2, BUCKET, BUCKET + 1):
        assert np.array_equal(pixels(model("a red heart", num_images=count, seed=5)), many[:count])
    assert len({picture.tobytes() for picture in many}) == len(many)
    assert not np.array_equal(pixels(model("a red heart", seed=6)), many[:1])
    assert many.shape == (BUCKET + 3, 16, 16, 3) and many.dtype == np.uint8


def test_what_is_drawn_beside_it_does_not_matter(model):
    key = jax.random.key(1)
    alone = np.asarray(model.generate(["flag"], key=key))
    prompts = ["a cat", "flag", "a dog", "flag", *["face"] * 9]
    among = np.asarray(model.generate(prompts, key=key))
    assert np.array_equal(among[1], alone[0]) and not np.array_equal(among[3], alone[0])
    assert among.shape == (13, 16, 16, 3) and np.abs(among).max() <= 1
    assert np.array_equal(np.asarray(model.generate(["flag", "flag"], key=key))[1], among[3])


def test_truncation_trades_variety_for_the_typical_picture(model):
    spread = lambda truncation: pixels(model("flag", num_images=8, truncation=truncation)).astype(float).std(axis=0).mean()
    assert spread(0.0) == 0 < spread(0.3) < spread(1.0)


def test_averaged_and_raw_weights_differ_and_a_checkpoint_loads_by_itself(model, tiny_run):
    raw = t2i_jax.load(tiny_run, weights="raw")
    assert not np.array_equal(pixels(raw("flag")), pixels(model("flag")))
    newest = max((tiny_run / "checkpoints").iterdir())
    assert np.array_equal(pixels(t2i_jax.load(newest)("flag")), pixels(model("flag")))


def test_an_earlier_checkpoint_says_that_training_is_not_finished(tiny_run):
    earlier = min((tiny_run / "checkpoints").iterdir())
    with pytest.warns(UserWarning, match="not finished"):
        t2i_jax.load(earlier)


@pytest.mark.parametrize("call, message", [
    (lambda model: model("  "), "prompt: it is empty"),
    (lambda model: model("flag", num_images=0), "num_images = 0 is impossible; accepted: 1 or more"),
    (lambda model: model("flag", truncation=-1.0), "truncation = -1.0"),
    (lambda model: model.generate([], key=jax.random.key(0)), "prompt: it is empty"),
])
def test_impossible_requests_are_refused(model, call, message):
    with pytest.raises(UserError, match=message):
        call(model)


def test_loading_what_is_not_there(tmp_path, tiny_run):
    with pytest.raises(UserError, match="does not exist"):
        t2i_jax.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds no checkpoint yet"):
        t2i_jax.load(tmp_path)
    with pytest.raises(UserError, match="weights = 'best'"):
        t2i_jax.load(tiny_run, weights="best")


@pytest.mark.parametrize("prompt", ["一只猫在草地上玩耍", "🦊", "a" * 5000, "\x00\x1b[31m", "مرحبا", "<pad><end>", "'; --"])
def test_any_text_draws(model, prompt):
    if len(prompt) > 1000:
        with pytest.warns(UserWarning, match="cut"):
            assert len(model(prompt)) == 1
    else:
        assert len(model(prompt)) == 1
