"""The trained evaluator: what it says of pictures and captions, on any devices, and what it refuses."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from features_worker import CAPTIONS, PICTURES

from t2i_jax.data.prepared import Prepared
from t2i_jax.errors import UserError
from t2i_jax.evaluation.evaluator import Evaluator, fingerprint
from t2i_jax.evaluation.network import features
from t2i_jax.training import checkpoint

WORKER = Path(__file__).with_name("features_worker.py")
PACKAGE = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def evaluator(tiny_evaluator):
    return Evaluator.load(tiny_evaluator)


def test_unit_vectors_of_pictures_and_captions(evaluator):
    images, texts = evaluator.images(PICTURES), evaluator.texts(CAPTIONS)
    assert images.shape == (131, 16) and texts.shape == (12, 16) and images.dtype == texts.dtype == np.float32
    for vectors in (images, texts):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert evaluator.texts([]).shape == evaluator.images(PICTURES[:0]).shape == (0, 16)


def test_real_pairs_lie_nearer_than_wrong_ones(evaluator, tiny_evaluator):
    train = Prepared(tiny_evaluator / "data", "train")
    captions = [row["captions"][-1] for row in train.words]
    cosines = evaluator.images(train.images(range(len(train)))) @ evaluator.texts(captions).T
    assert np.diag(cosines).mean() > cosines.mean() + 3 * cosines.std() / len(train) ** 0.5
    assert np.mean(cosines >= np.diag(cosines)[:, None]) < 0.25  # 0.5 knows nothing


def test_a_vector_does_not_depend_on_what_is_asked_beside_it(evaluator):
    images, texts = evaluator.images(PICTURES), evaluator.texts(CAPTIONS)
    np.testing.assert_array_equal(evaluator.images(PICTURES[70:71])[0], images[70])
    np.testing.assert_array_equal(evaluator.texts(CAPTIONS[5:6])[0], texts[5])
    parts = iter(np.split(PICTURES, [3, 100]))
    np.testing.assert_array_equal(features(evaluator.network, parts, evaluator.mesh), images)


def test_one_and_eight_devices_give_the_same_features(tiny_evaluator, tmp_path):
    found = {}
    for devices in (1, 8):
        out = tmp_path / f"{devices}.npz"
        changes = {"JAX_NUM_CPU_DEVICES": str(devices), "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(PACKAGE)}
        command = [sys.executable, WORKER, tiny_evaluator, out]
        ended = subprocess.run(command, env=os.environ | changes, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        found[devices] = np.load(out)
    assert [int(each["devices"]) for each in found.values()] == [1, 8]
    assert str(found[1]["sha256"]) == str(found[8]["sha256"])
    for side in ("images", "texts"):
        np.testing.assert_allclose(found[8][side], found[1][side], atol=1e-5)


def test_it_says_what_it_is_and_what_it_learnt_from(evaluator, tiny_evaluator):
    network = evaluator.network
    assert (network.size, network.channels, network.dimension, network.filter) == (16, 3, 16, "none")
    assert network.weights_sha256 == evaluator.sha256 and len(evaluator.sha256) == 64
    assert evaluator.data_fingerprint == Prepared(tiny_evaluator / "data").fingerprint
    assert Evaluator.load(checkpoint.newest_good(tiny_evaluator)[0]).sha256 == evaluator.sha256


def test_a_fingerprint_names_values_places_and_texts():
    params = {"a": {"x": np.arange(4.0)}, "b": np.ones((2, 2))}
    changed = [
        ({"a": {"y": np.arange(4.0)}, "b": np.ones((2, 2))}, ()),
        ({"a": {"x": np.arange(4.0) + 1e-6}, "b": np.ones((2, 2))}, ()),
        ({"a": {"x": np.arange(4.0)}, "b": np.ones((4,))}, ()),
        ({"a": {"x": np.arange(4.0, dtype=np.float32)}, "b": np.ones((2, 2))}, ()),
        (params, ("text",)),
    ]
    single = jax.tree.map(np.float32, params)
    assert fingerprint({"b": np.asfortranarray(single["b"]), "a": {"x": jax.numpy.arange(4.0)}}) == fingerprint(single)
    assert fingerprint(params) not in {fingerprint(tree, *texts) for tree, texts in changed}


@pytest.mark.parametrize("wrong, message", [
    (PICTURES / 255, "must be uint8"),
    (PICTURES[:, :8, :8], r"sees pictures of \[16, 16, 3\]"),
    (PICTURES[..., :1], r"these are \[16, 16, 1\]"),
])
def test_pictures_it_did_not_learn_to_see_are_refused(evaluator, wrong, message):
    with pytest.raises(UserError, match=message):
        evaluator.images(wrong)


def test_runs_that_are_no_finished_evaluator_are_refused(tiny_evaluator, tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        Evaluator.load(tmp_path / "nowhere")
    earlier = min((tiny_evaluator / "checkpoints").iterdir())
    assert not json.loads((earlier / "run.json").read_text())["finished"]
    with pytest.raises(UserError, match="training is not finished; run its t2i train command again"):
        Evaluator.load(earlier)


def test_a_model_that_draws_is_no_evaluator():
    kept = PACKAGE / "tests" / "inference" / "format-1"
    with pytest.raises(UserError, match="holds a 'latent_gan', no evaluator"):
        Evaluator.load(kept)


def test_a_damaged_evaluator_is_refused(tiny_evaluator, tmp_path):
    whole = checkpoint.newest_good(tiny_evaluator)[0]
    shutil.copytree(whole, tmp_path / "copy")
    written = [file for file in (tmp_path / "copy" / "state").rglob("*") if file.is_file()]
    largest = max(written, key=lambda file: file.stat().st_size)
    content = largest.read_bytes()
    largest.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(checkpoint.Damaged, match="damaged"):
        Evaluator.load(tmp_path / "copy")
