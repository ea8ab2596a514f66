"""An exported model draws the same pictures, without the code that trained it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from running import call

import t2i_jax
from t2i_jax.errors import UserError

PACKAGE = Path(__file__).parents[2]
PROGRAM = """
import sys
import numpy as np
import t2i_jax
model = t2i_jax.load(sys.argv[1])
pictures = [np.asarray(picture) for picture in model("a red heart", num_images=3, seed=4, truncation=0.5)]
np.save(sys.argv[2], np.stack(pictures))
loaded = {name.split(".")[0] for name in sys.modules} | {".".join(name.split(".")[:2]) for name in sys.modules}
print(sorted(loaded & {"flax", "optax", "orbax", "grain", "t2i_jax.training", "t2i_jax.systems", "t2i_jax.models"}))
"""


@pytest.fixture(scope="module")
def folder(tiny_run, tmp_path_factory):
    """The exported tiny run; not to be changed."""
    out = tmp_path_factory.mktemp("exported") / "model"
    assert call("export", "--workdir", tiny_run, "--out", out, "--platforms", "cpu,cuda,tpu") == 0
    return out


def test_its_pictures_are_the_runs_bit_for_bit_without_flax_and_without_training(folder, tiny_run, tmp_path):
    command = [sys.executable, "-c", PROGRAM, folder, tmp_path / "pictures.npy"]
    ended = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(PACKAGE)}, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == "[]"
    expected = t2i_jax.load(tiny_run)("a red heart", num_images=3, seed=4, truncation=0.5)
    np.testing.assert_array_equal(np.load(tmp_path / "pictures.npy"), np.stack([np.asarray(x) for x in expected]))


def test_floats_are_the_same_too(folder, tiny_run):
    import jax

    prompts = ["a red heart", "flag", "a red heart"]
    ours, theirs = (t2i_jax.load(path).generate(prompts, key=jax.random.key(1)) for path in (folder, tiny_run))
    np.testing.assert_array_equal(ours, theirs)


def test_only_what_drawing_reads_is_kept(folder):
    from safetensors.numpy import load_file

    players = {path.split("/")[1] for path in load_file(folder / "arrays.safetensors")}
    assert "generator" in players and "discriminator" not in players and "patches" not in players


def test_sample_takes_it_in_the_place_of_a_run(folder, tmp_path):
    assert call("sample", "--workdir", folder, "--prompt", "a red heart", "--out", tmp_path / "heart.png") == 0
    assert (tmp_path / "heart.png").stat().st_size


@pytest.mark.parametrize("change, message", [
    (lambda folder: flip(folder / "arrays.safetensors"), "SHA-256 differs"),
    (lambda folder: flip(folder / "program.jax"), "SHA-256 differs"),
    (lambda folder: (folder / "tokenizer.json").unlink(), "is missing"),
    (lambda folder: rewrite(folder / "model.json", platforms=["tpu"]), "was exported for tpu, not for cpu"),
    (lambda folder: rewrite(folder / "model.json", format=2), "has format 2"),
])
def test_what_is_not_as_it_was_written_is_refused(folder, tmp_path, change, message):
    import shutil

    copy = shutil.copytree(folder, tmp_path / "model")
    change(copy)
    with pytest.raises(UserError, match=message):
        t2i_jax.load(copy)


def test_mistakes_end_in_one_line(folder, tiny_run, tmp_path, capsys):
    for arguments, message in (
        (("--workdir", tiny_run, "--out", folder), "already exists"),
        (("--workdir", folder, "--out", tmp_path / "x"), "exported already"),
        (("--workdir", tiny_run, "--out", tmp_path / "x", "--platforms", "gpu"), "'gpu' is unknown"),
    ):
        assert call("export", *arguments) == 2
        assert message in capsys.readouterr().err and not (tmp_path / "x").exists()


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def rewrite(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
