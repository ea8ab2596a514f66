"""Weights, negative prompts and ways: sums of sentences, and what they draw."""

import hostile
import jax
import numpy as np
import pytest
from PIL import Image
from running import call

import t2i_jax
from t2i_jax.errors import UserError
from t2i_jax.inference.prompts import Prompt, between, guided, literal, parse, roughness


@pytest.mark.parametrize("text, expected", [
    ("a red heart", {"a red heart": 1}),
    ("a (red:1.5) heart", {"a red heart": 1.5, "a heart": -0.5}),
    ("a (red:1) heart", {"a red heart": 1}),
    ("a (red:0) heart", {"a heart": 1}),
    ("(red:2) heart, (big:.5)", {"red heart, big": 1.5, "heart, big": -1, "red heart,": 0.5}),
    ("(a red heart: 3)", {"a red heart": 3}),
    ("a button (blood type)", {"a button (blood type)": 1}),
    ("two  spaces (x:y)", {"two  spaces (x:y)": 1}),
    (r"a \(red:1.5) heart", {"a (red:1.5) heart": 1}),
])
def test_weights_are_sums_of_the_prompt_with_and_without_the_phrase(text, expected):
    assert dict(parse(text).parts) == pytest.approx(expected)


def test_a_negative_prompt_and_strengths():
    prompt = parse("a heart")
    assert guided(prompt, None, None) is prompt
    assert dict(guided(prompt, "red", None).parts) == {"a heart": 2, "red": -1}
    assert guided(prompt, "red", 1.0).plain
    assert dict(guided(prompt, "red", 0.0).parts) == {"red": 1}
    assert dict(guided(prompt, None, 1.5).parts) == {"a heart": 1.5}
    assert dict(guided(prompt, "a (heart:2)", 3.0).parts) == {"a heart": -1, "a": 2}
    assert guided(prompt, "red", 3.0).text == "a heart"


def test_a_way_goes_in_even_steps_with_the_noise_of_its_start():
    way = between(parse("a"), parse("b"), 5)
    assert [dict(prompt.parts) for prompt in way] == [{"a": 1 - f, "b": f} for f in (0, 0.25, 0.5, 0.75, 1)]
    assert {prompt.text for prompt in way} == {"a"}


@pytest.mark.parametrize("ask, message", [
    (lambda: parse("  "), "prompt: it is empty"),
    (lambda: parse("( :2)"), "prompt: it is empty"),
    (lambda: parse("a (red:11) heart"), "weight 11 of 'red' is impossible; accepted: 0 to 10"),
    (lambda: guided(literal("a"), "b", -1.0), "strength = -1.0 is impossible"),
    (lambda: guided(literal("a"), "b", float("nan")), "strength = nan is impossible"),
    (lambda: guided(literal("a"), None, 0.0), "strength = 0 leaves nothing to draw"),
    (lambda: between(literal("a"), literal("b"), 1), "steps = 1 is impossible; accepted: 2 or more"),
])
def test_impossible_sums_are_refused(ask, message):
    with pytest.raises(UserError, match=message):
        ask()


def test_roughness_is_one_for_even_steps_and_more_for_a_jump():
    frame = lambda level: Image.new("L", (4, 4), level)
    assert roughness([frame(0), frame(10), frame(20), frame(30)]) == pytest.approx(1)
    assert roughness([frame(0), frame(10), frame(20), frame(90)]) == pytest.approx(70 / 30)
    assert roughness([frame(5), frame(5)]) == 1


@pytest.fixture(scope="module")
def model(lm_run):
    return t2i_jax.load(lm_run)


def pixels(pictures):
    return np.stack([np.asarray(picture, float) for picture in pictures])


def test_the_ways_ends_are_the_prompts_own_pictures_and_its_steps_are_small(model):
    frames = model.interpolate("a red heart", "blue flag of two houses", steps=9, seed=3)
    first, = model("a red heart", seed=3)
    assert np.abs(pixels([first]) - pixels(frames[:1])).max() <= 1
    assert np.array_equal(pixels(frames), pixels(model.interpolate("a red heart", "blue flag of two houses", 9, 3)))
    assert roughness(frames) < 2.5 and np.abs(pixels(frames)[0] - pixels(frames)[-1]).max() > 5


def test_weight_and_strength_of_one_change_nothing_and_more_changes_more(model):
    plain = pixels(model("red heart", seed=1))
    away = lambda **asked: np.abs(pixels(model("red heart", seed=1, **asked)) - plain).mean()
    assert away(negative="flag", strength=1.0) == 0
    assert 0 < away(negative="flag", strength=1.2) < away(negative="flag", strength=2.0)
    assert np.array_equal(pixels(model("(red:1) heart", seed=1)), plain)
    assert np.abs(pixels(model("(red:3) heart", seed=1)) - plain).mean() > 0
    alone = pixels(model("red heart", seed=1, negative="flag"))
    beside = model.generate(["cat", guided(parse("red heart"), "flag", None), "(red:2) cat", "dog"], key=jax.random.key(1))
    assert np.array_equal(np.round((np.asarray(beside[1]) + 1) * 127.5).clip(0, 255), alone[0])


def test_a_system_that_cannot_add_prompts_refuses(model):
    plain = t2i_jax.TextToImage(model.system._replace(blends=False), model.params, model.aux, "toy")
    plain("red heart")
    with pytest.raises(UserError, match="toy cannot add prompts up"):
        plain("red heart", negative="flag")


def test_strips_and_animations_by_the_command_line(lm_run, tmp_path, capsys):
    way = ("sample", "--workdir", lm_run, "--interpolate", "red heart", "blue flag")
    ask = lambda out, *more: call(*way, "--out", tmp_path / out, *more)
    assert ask("way.png", "--steps", 5) == 0 and ask("way.gif", "--steps", 4) == 0
    assert "the largest step between neighbours is" in capsys.readouterr().out
    strip = Image.open(tmp_path / "way.png")
    assert strip.width > 4 * strip.height / 2 and strip.text["prompt"] == "red heart\nblue flag"
    assert Image.open(tmp_path / "way.gif").n_frames == 6  # there and back
    for more, message in ((("--prompt", "x"), "--prompt does not go with --interpolate"), (("--num", 2), "--num does not go"),
                          (("--steps", 1), "--steps")):
        assert ask("no.png", *more) == 2 and message in capsys.readouterr().err
    assert ask("way.jpg") == 2 and "is not a .png or .gif file" in capsys.readouterr().err
    sample = ("sample", "--workdir", lm_run, "--prompt", "(red:1.5) heart", "--negative", "flag", "--out", tmp_path / "a.png")
    assert call(*sample, "--strength", 3) == 0
    text = Image.open(tmp_path / "a.png").text
    assert text["negative"] == "flag" and text["strength"] == "3.0"
    assert call(*sample, "--strength", -3) == 2 and "strength = -3.0 is impossible" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.*captions are longer.*")
@pytest.mark.parametrize("which", ["own", "language model"])
def test_nothing_that_people_type_crashes_or_hangs(which, tiny_run, lm_run, tmp_path):
    run = lm_run if which == "language model" else tiny_run
    drawable = [prompt for prompt in hostile.PROMPTS if prompt.strip()]
    assert len(drawable) > 60
    asked = [argument for prompt in drawable for argument in ("--prompt", prompt)]
    assert call("sample", "--workdir", run, *asked, "--out", tmp_path / "all.png") == 0
    assert Image.open(tmp_path / "all.png").width > 500
    drawn = np.asarray(t2i_jax.load(run).generate(drawable[-9:], key=jax.random.key(0)))
    assert np.isfinite(drawn).all() and len(drawn) == 9


def test_what_is_cut_is_said(lm_run, tmp_path):
    with pytest.warns(UserWarning, match="1 of 1 captions are longer than|8 of 8 captions are longer than"):
        t2i_jax.load(lm_run)(" ".join(["heart"] * 1000))


def test_prompts_that_cannot_be_drawn_end_in_one_line(lm_run, tmp_path, capsys):
    for prompt in ("", " \t", "( :2)"):
        assert call("sample", "--workdir", lm_run, "--prompt", prompt, "--out", tmp_path / "x.png") == 2
        error = capsys.readouterr().err.strip()
        assert error.startswith("t2i: prompt: it is empty") and "\n" not in error


def test_a_prompt_may_be_given_as_a_sum(model):
    both = Prompt("red heart", (("red heart", 0.5), ("blue heart", 0.5)))
    assert len(model(both)) == 1
