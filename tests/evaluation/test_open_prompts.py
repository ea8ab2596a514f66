import numpy as np
import pytest
from scipy.spatial.distance import cdist

from t2i_jax.data.attributes import OPENMOJI, OPENMOJI_PROMPTS, Attribute, labels
from t2i_jax.data.openmoji_splits import pictures
from t2i_jax.evaluation.attributes import legible, readers
from t2i_jax.evaluation.baselines import Captioned, real, ridge
from t2i_jax.evaluation.open_prompts import (LOOK, OpenPrompt, Pictures, diversity_ratio, judge, judge_open,
                                             open_prompts, perfect_limit, total_variation)

HUES = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (40, 40, 200)}
ATTRIBUTES = (Attribute("colour", {hue: (hue,) for hue in HUES}),)
SHAPES = ("ball", "cube")


def shapes(copies: int = 4):
    """Balls and cubes in three colours at several places, and 12 things that have no colour: Captioned."""
    images, captions = [], []
    for shape in SHAPES:
        for hue, value in HUES.items():
            for place in range(copies):
                image = np.full((12, 12, 3), 255, np.uint8)
                image[place:place + 6, 2:8] = value
                if shape == "ball":
                    image[place:place + 2, 2:4] = 255
                images.append(image)
                captions.append((shape, f"{hue} {shape}"))
    noise = np.random.default_rng(0).integers(0, 255, (12, 3, 3, 3), dtype=np.uint8)
    images += list(noise.repeat(4, 1).repeat(4, 2))
    return Captioned(np.stack(images), captions + [("thing", f"thing {number}") for number in range(12)])


def embed(images):
    """Unit vectors of a few pixels: stands in for an evaluator."""
    flat = images[:, ::2, ::2].reshape(len(images), -1).astype(np.float64)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def setting():
    train = shapes()
    known = readers(ATTRIBUTES, train.images, train.captions)
    return train, open_prompts(train.captions, legible(ATTRIBUTES, known, train.images, train.captions)), known


def judged(setting, draw, draws=200):
    train, prompts, known = setting
    return judge_open(prompts, Pictures(train.images, embed(train.images)), known, draw, embed, draws=draws)


def test_prompts_that_leave_something_open_are_found(setting):
    train, prompts, _ = setting
    assert {(p.prompt, p.attributes, len(p.pictures)) for p in prompts} == {
        ("ball", ("colour",), 12), ("cube", ("colour",), 12), ("thing", (LOOK,), 12)}
    assert all(prompt.prompt in train.captions[index] for prompt in prompts for index in prompt.pictures)


@pytest.mark.parametrize("without, kind", [(1, ("colour",)), (2, (LOOK,))])
def test_few_pictures_of_an_open_prompt_may_lack_a_value(without, kind):
    values = ["red", "blue"] * 5 + ["red"] * (1 - without % 2) + [None] * without
    (found,) = open_prompts([("ball",)] * len(values), {"colour": values})
    assert found.attributes == kind


def test_a_perfect_sampler_passes_everything(setting):
    verdicts = judged(setting, real(setting[0]).draw)
    assert all(verdict.passed and 0.9 < verdict.diversity < 1.1 for verdict in verdicts)
    assert all(found.total_variation <= found.limit + 0.02 for verdict in verdicts for found in verdict.frequencies)


def test_a_ridge_regression_fails_everything(setting):
    verdicts = judged(setting, ridge(setting[0]).draw)
    assert not any(verdict.passed for verdict in verdicts)
    assert all(verdict.diversity == 0 for verdict in verdicts)


def test_one_colour_too_many_fails_though_draws_differ(setting):
    train = setting[0]
    only_red = Captioned(train.images, [tuple(text.replace("red ", "") for text in texts) if "red" in texts[1] else
                                        ("other",) if texts[0] != "thing" else texts for texts in train.captions])
    verdicts = {verdict.prompt: verdict for verdict in judged(setting, real(only_red).draw)}
    assert verdicts["thing"].passed and not verdicts["ball"].passed
    found = verdicts["ball"].frequencies[0]
    assert found.data == {"blue": 1 / 3, "green": 1 / 3, "red": 1 / 3} and found.drawn["red"] == 1
    assert found.total_variation == pytest.approx(2 / 3)


def test_looks_are_clusters_of_the_real_pictures():
    centres = np.eye(4)[:, :3] * 10
    features = np.repeat(centres, 6, axis=0) + np.random.default_rng(0).normal(0, 0.1, (24, 3))
    blank = np.zeros((24, 2, 2, 3), np.uint8)
    prompt = OpenPrompt("x", tuple(range(24)), (LOOK,))
    verdict = judge(prompt, Pictures(blank, features), Pictures(blank[:12], features[:12]), {})
    assert sum(verdict.frequencies[0].data.values()) == pytest.approx(1) and len(verdict.frequencies[0].data) <= 6
    assert verdict.frequencies[0].total_variation == pytest.approx(1 / 2)
    few = judge(prompt, Pictures(blank[:7], features[:7]), Pictures(blank, features), {})
    assert len(few.frequencies[0].data) == 2


def test_total_variation_and_the_limit_of_a_perfect_sampler():
    assert total_variation([0.5, 0.5, 0], [0.2, 0.5, 0.3]) == pytest.approx(0.3)
    # Two values: |count/n - 1/2| of a binomial, whose 95th percentile is near 1.96 standard deviations.
    assert perfect_limit([0.5, 0.5], 200) == pytest.approx(1.96 * 0.5 / 200**0.5, abs=0.005)
    assert perfect_limit([1.0], 200) == 0
    assert perfect_limit([0.3, 0.7], 50) > perfect_limit([0.3, 0.7], 500)
    assert perfect_limit([0.3, 0.7], 50, seed=1) == perfect_limit([0.3, 0.7], 50, seed=1)


def test_diversity_is_that_of_sampling_with_replacement():
    real_ones = np.random.default_rng(0).normal(size=(7, 3))
    draws = real_ones[np.random.default_rng(1).integers(0, 7, 4000)]
    assert diversity_ratio(draws, real_ones) == pytest.approx(1, abs=0.02)
    assert diversity_ratio(draws[:9], real_ones) == pytest.approx(
        cdist(draws[:9], draws[:9]).sum() / 72 / cdist(real_ones, real_ones).mean())
    assert diversity_ratio(np.array([[0.0], [2.0]]), np.array([[0.0], [1.0]])) == pytest.approx(2 / 0.5)
    assert diversity_ratio(draws[:1].repeat(5, 0), real_ones) == 0
    assert np.isnan(diversity_ratio(draws, real_ones[:1].repeat(3, 0)))


def test_prompts_are_chosen_from_every_kind_and_size():
    train = [picture.captions for picture in pictures() if picture.split == "train"]
    values = {attribute.name: labels(attribute, train) for attribute in OPENMOJI}
    chosen = open_prompts(train, values, always=OPENMOJI_PROMPTS)
    assert chosen == open_prompts(train, values, always=OPENMOJI_PROMPTS)
    assert len(chosen) == 24 == len({prompt.prompt for prompt in chosen})
    assert [prompt.prompt for prompt in chosen[:4]] == list(OPENMOJI_PROMPTS)
    kinds = [prompt.attributes for prompt in chosen]
    assert {kinds.count(kind) for kind in set(kinds)} == {8}
    assert {("skin tone", "gender"), ("skin tone",), (LOOK,)} == set(kinds)
    assert all(len(prompt.pictures) >= 6 for prompt in chosen)
    for prompt in chosen:
        assert not any(attribute.said([prompt.prompt]) for attribute in OPENMOJI if attribute.name in prompt.attributes)
    assert len(open_prompts(train, values, count=5)) == 5
    assert len(open_prompts(train, values, count=10**6)) > 150
    assert open_prompts([("a",), ("b",)], {"size": [None, None]}) == []
