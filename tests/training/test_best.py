"""Evaluation in the loop: when it runs, what it leaves, and that the best checkpoint stays and is found again."""

import json
import math
import os
import shutil
import signal

import jax
import numpy as np
import pytest
import toy
from test_loop import RUN, assert_same_end, lines

from t2i_jax.distributed.mesh import make_mesh
from t2i_jax.errors import UserError
from t2i_jax.training import best, checkpoint, loop

FRECHET = {128: 5.0, 256: 3.0, 384: 4.0, 512: math.nan, 640: 3.0, 768: 9.0}
OPTIONS = loop.Options(checkpoint_every=192, keep=1, evaluate_every=128, best="lowest evaluation/frechet")


def train(workdir, seen=None, data=None, options=OPTIONS, figures=lambda images: {"frechet": FRECHET[images]}):
    def evaluate(state, images):
        assert int(state.images[1]) == images and all(np.isfinite(x).all() for x in jax.tree.leaves(state.ema))
        if seen is not None:
            seen.append(images)
        return figures(images)

    return loop.train(toy.system(), data or toy.data(), RUN, workdir, make_mesh(), jax.random.key(3), options,
                      evaluate=evaluate)


def saved(workdir):
    return [int(path.name) for path in checkpoint.committed(workdir / "checkpoints")]


def evaluations(workdir):
    return [(line["images"], line["evaluation/frechet"]) for line in lines(workdir) if "evaluation/frechet" in line]


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("judged")
    seen = []
    assert train(workdir, seen).finished and seen == list(FRECHET)
    return workdir


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The same run without evaluation."""
    workdir = tmp_path_factory.mktemp("whole")
    loop.train(toy.system(), toy.data(), RUN, workdir, make_mesh(), jax.random.key(3), loop.Options(checkpoint_every=0))
    return workdir


def test_figures_are_logged_and_the_best_checkpoint_is_kept_beside_the_newest(judged):
    np.testing.assert_equal(evaluations(judged), list(FRECHET.items()))
    assert json.loads((judged / "best.json").read_text()) == {
        "images": 256, "figure": "lowest evaluation/frechet", "value": 3.0}
    assert saved(judged) == [256, 768]
    checkpoint.verify(best.best_checkpoint(judged))


def test_evaluation_changes_nothing_of_the_training(judged, whole):
    assert_same_end(judged, whole)


@pytest.mark.parametrize("index", [128, 320, 512])
def test_stopped_and_run_again_it_evaluates_the_rest_and_knows_the_best(index, judged, tmp_path):
    stop = lambda start: os.kill(os.getpid(), signal.SIGTERM) if start == index else None
    seen = []
    assert not train(tmp_path, seen, data=toy.data(pause=stop)).finished
    assert 0 < len(seen) < len(FRECHET)
    assert train(tmp_path, seen).finished and seen == list(FRECHET)
    assert_same_end(judged, tmp_path)
    np.testing.assert_equal(evaluations(tmp_path), evaluations(judged))
    assert (tmp_path / "best.json").read_text() == (judged / "best.json").read_text()
    assert saved(tmp_path) == saved(judged)


def test_dead_before_the_save_it_evaluates_again(judged, tmp_path):
    class Dead(Exception):
        pass

    def die(images):
        if images == 384:
            raise Dead
        return {"frechet": FRECHET[images]}

    with pytest.raises(Dead):
        train(tmp_path, figures=die)
    assert saved(tmp_path) == [256]
    seen = []
    train(tmp_path, seen)
    assert seen == [384, 512, 640, 768]
    assert_same_end(judged, tmp_path)
    np.testing.assert_equal(evaluations(tmp_path), evaluations(judged))


def test_best_json_follows_the_checkpoint_gone_on_from(judged, tmp_path):
    shutil.copytree(judged, tmp_path / "run")
    (tmp_path / "run" / "best.json").write_text("{}")
    train(tmp_path / "run")
    assert (tmp_path / "run" / "best.json").read_text() == (judged / "best.json").read_text()
    checkpoint.remove(tmp_path / "run" / "checkpoints" / f"{256:012d}")
    train(tmp_path / "run")
    assert not (tmp_path / "run" / "best.json").exists()
    with pytest.raises(UserError, match="names no best checkpoint.*run.best"):
        best.best_checkpoint(tmp_path / "run")


@pytest.mark.parametrize("wanted, kept", [("lowest evaluation/a", 2), ("highest evaluation/a", 3)])
def test_better_goes_by_direction_and_keeps_the_earlier_of_equals(wanted, kept):
    so_far = None
    for images, value in enumerate([2.0, math.nan, 1.0, 4.0, 1.0, 4.0]):
        so_far = best.better(wanted, images, {"evaluation/a": value, "evaluation/b": 0}, so_far)
    assert so_far["images"] == kept and so_far["figure"] == wanted
    other = best.better("lowest evaluation/b", 9, {"evaluation/a": 1.0, "evaluation/b": 7.0}, so_far)
    assert other == {"images": 9, "figure": "lowest evaluation/b", "value": 7.0}


def test_what_cannot_be_evaluated_is_refused_by_name(tmp_path):
    with pytest.raises(UserError, match=r"names 'evaluation/frechet'.*accepted: evaluation/kernel"):
        train(tmp_path, figures=lambda images: {"kernel": 0.0})
    with pytest.raises(UserError, match="run.best = 'evaluation/frechet' is unknown.*'lowest evaluation/frechet'"):
        loop.Options(checkpoint_every=0, evaluate_every=128, best="evaluation/frechet")
    with pytest.raises(UserError, match="set run.evaluate_every"):
        loop.Options(checkpoint_every=0, best="lowest evaluation/frechet")
    with pytest.raises(UserError, match="nothing is given to evaluate with"):
        loop.train(toy.system(), toy.data(), RUN, tmp_path / "no", make_mesh(), jax.random.key(3), OPTIONS)
