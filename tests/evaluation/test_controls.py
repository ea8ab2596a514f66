"""Negative controls: what is wrong on purpose must look wrong, to a small evaluator that was really trained.

The evaluator learns 400 OpenMoji pictures at 16 pixels for 25,600 images; it knows 8 of 10 of their captions among 100.
"""

import numpy as np
import pytest
from running import CONFIGS

from t2i_jax.cli import main
from t2i_jax.data.prepared import Prepared
from t2i_jax.evaluation import baselines, measures
from t2i_jax.evaluation.baselines import Baseline, Captioned
from t2i_jax.evaluation.card import about, text_of
from t2i_jax.evaluation.evaluator import Evaluator
from t2i_jax.evaluation.groups import all_images, caption_pool, groups

OVERRIDES = {
    "data.limit": 400, "batch_size": 64, "scan_length": 20, "embedding": 32, "image.width": 128, "image.hidden": 128,
    "text.width": 64, "text.hidden": 128, "stages.contrastive": 25_600, "run.checkpoint_every": 0,
    "optimizers.encoders.learning_rate": 2e-3, "optimizers.encoders.warmup_images": 2_560,
    "optimizers.encoders.decay_end": 25_600,
}


class Bench:
    """The trained evaluator, its data, and figures as they are written down."""

    def __init__(self, run):
        self.evaluator = Evaluator.load(run)
        self.data = {split: Prepared(run / "data", split) for split in ("train", "heldout_concepts")}
        self.train, self.held_out = groups(self.data, 1000, 0)
        self.captioned = Captioned(all_images(self.data["train"]), self.train.captions)
        self.space = measures.Space(about(self.evaluator.network), self.evaluator.images)

    def figures(self, measure, *arguments):
        """{(row, figure): value, (row, figure, "error"): error} that a measure writes down."""
        found = {}

        def note(row, figure, value, error=None, **protocol):
            found[row, figure] = value
            found[row, figure, "error"] = error

        measure(note, self.space, *arguments)
        return found


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "controls"
    overrides = [f"--config.{key}={value}" for key, value in OVERRIDES.items()]
    with pytest.raises(SystemExit) as end:
        main(["train", "--config", f"{CONFIGS / 'evaluator.py'}:tiny", "--workdir", str(run), *overrides])
    assert end.value.code == 0
    return Bench(run)


def test_shuffled_captions_drop_r_precision_to_chance(bench):
    real = bench.evaluator.images(bench.train.images)
    shuffled = real[np.random.default_rng(0).permutation(len(real))]
    text = text_of(bench.evaluator, bench.train, caption_pool(bench.data["train"]))
    found = bench.figures(measures.alignment, {"real": real, "model": shuffled}, text, 0)
    assert found["real", "r_precision"] > 0.6
    assert found["model", "r_precision"] < 0.04  # chance is 0.01, with a deviation of 0.005
    below, half_width = found["model", "r_precision_below_real"], found["model", "r_precision_below_real", "error"]
    assert below - half_width > 0.5
    assert found["model", "similarity"] < 0.5 * found["real", "similarity"]


def test_mean_pictures_and_noise_are_furthest_away(bench):
    images = bench.train.images
    rng = np.random.default_rng(0)
    rows = {
        "real": images,
        "reconstructions": baselines.pca(images, 64)(images),
        "ridge": baselines.ridge(bench.captioned).draw(bench.train.prompts, 0),
        "copy": baselines.copy(bench.captioned).draw(bench.train.prompts, 0),
        "mean": images.mean(axis=0, keepdims=True).round().astype(np.uint8).repeat(len(images), axis=0),
        "noise": rng.integers(0, 256, images.shape, np.uint8),
    }
    seen = {row: bench.evaluator.images(pictures) for row, pictures in rows.items()}
    found = bench.figures(measures.fidelity, seen, 0)
    for figure in ("frechet", "kernel"):
        value = {row: found[row, figure] for row in rows if row != "real"}
        assert min(value["mean"], value["noise"]) > 1.5 * max(value["reconstructions"], value["ridge"], value["copy"])
    for row in ("mean", "noise"):
        assert found[row, "coverage"] < 0.3 * found["reconstructions", "coverage"]


def test_training_pictures_handed_out_again_are_flagged(bench):
    order = np.random.default_rng(0).permutation(len(bench.captioned.images))[: len(bench.held_out.images)]
    drawn = {"real": bench.held_out.images, "model": bench.captioned.images[order]}
    seen = {row: bench.evaluator.images(pictures) for row, pictures in drawn.items()}
    known = bench.evaluator.images(bench.captioned.images)
    found = bench.figures(measures.memorisation, drawn, seen, bench.captioned.images, known, "heldout_concepts")
    assert found["model", "near_copies"] == 1 and found["real", "near_copies"] < 0.1
    assert found["model", "nearest_pixels"] == 0 < found["real", "nearest_pixels"]
    assert found["model", "nearest_features"] < 1e-5 < 0.1 < found["real", "nearest_features"]


def test_a_collapsed_generator_is_caught_by_coverage_and_diversity(bench):
    few = bench.captioned.images[:3]
    collapsed = Baseline("model", lambda prompts, seed: few[np.array([len(prompt) % 3 for prompt in prompts])])
    real = bench.evaluator.images(bench.train.images)
    seen = {"real": real, "model": bench.evaluator.images(collapsed.draw(bench.train.prompts, 0))}
    found = bench.figures(measures.fidelity, seen, 0)
    assert found["model", "precision"] > 0.9  # each picture alone is flawless
    assert found["model", "recall"] < 0.05 and found["model", "coverage"] < 0.1
    found = bench.figures(measures.diversity, seen, bench.train, [collapsed], 0)
    assert found["model", "diversity"] < 1e-6 < 0.2 < found["real", "diversity"]
