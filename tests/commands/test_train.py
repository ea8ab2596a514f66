"""`t2i train` as a person calls it: what a run leaves, killing it, amending it, starting from another, looking before."""

import json
import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from running import CONFIGS, call

from t2i_jax import config as configs
from t2i_jax.commands.dry_run import describe
from t2i_jax.training import checkpoint

TINY = f"{CONFIGS / 'quickstart.py'}:tiny"


def newest(workdir):
    """(decoded arrays, run.json) of the newest checkpoint."""
    path, run = checkpoint.newest_good(workdir)
    state = checkpoint.ocp.load(path / "state")
    state["key"] = jax.random.key_data(state["key"])
    return {jax.tree_util.keystr(k): np.asarray(x) for k, x in jax.tree_util.tree_leaves_with_path(state)}, run.about


def seen(workdir):
    """Images of the last line logged."""
    file = workdir / "metrics.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return json.loads(lines[-1])["images"] if lines else -1


def test_what_a_run_leaves(tiny_run):
    arrays, about = newest(tiny_run)
    assert about["finished"] and about["images"] == about["next_example"] == 768 and about["stage"] == "gan"
    assert about["data"] and "OpenMoji" in about["licence"] and about["versions"]["jax"] == jax.__version__
    assert all(np.isfinite(x).all() for x in arrays.values() if x.dtype.kind == "f")
    assert {p.name.split("-")[0] for p in (tiny_run / "samples").iterdir()} == {
        "train", "heldout_compositions", "heldout_concepts"}
    lines = [json.loads(line) for line in (tiny_run / "metrics.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines] == list(range(64, 769, 64))
    assert {"patches/r1", "autoencoder/kl"} <= lines[0].keys() and {"discriminator/r2", "generator/gan"} <= lines[-1].keys()
    assert list((tiny_run / "tensorboard").iterdir())


@pytest.mark.parametrize("number, code", [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 75)])
def test_stopped_from_outside_and_run_again_it_ends_in_the_same_bits(number, code, tiny_run, tmp_path):
    command = [sys.executable, "-m", "t2i_jax", "train", "--config", TINY, "--workdir", str(tmp_path / "run"),
               f"--config.data.path={tiny_run / 'data'}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and seen(tmp_path / "run") < 128:
        time.sleep(0.05)
    os.kill(process.pid, number)
    errors = process.communicate()[1]
    assert process.returncode == code, errors
    if number == signal.SIGTERM:
        assert "run the same command again" in errors.splitlines()[-1]
    assert call(*command[3:]) == 0
    (mine, about), (theirs, _) = newest(tmp_path / "run"), newest(tiny_run)
    assert about["finished"] and mine.keys() == theirs.keys()
    for path in mine:
        np.testing.assert_array_equal(mine[path], theirs[path], err_msg=path)


def test_resumable_keys_are_amended_on_record_and_others_refused(tiny_run, tmp_path, capsys):
    arguments = ["train", "--config", TINY, "--workdir", tmp_path / "run", f"--config.data.path={tiny_run / 'data'}"]
    short = ["--config.stages.gan=64"]
    assert call(*arguments, *short) == 0
    assert call(*arguments, *short, "--config.optimizers.generator.learning_rate=1e-4") == 0
    capsys.readouterr()
    assert call(*arguments, *short, "--config.seed=1") == 2
    assert "it holds a run with seed = 0, now 1" in capsys.readouterr().err


def test_init_from_takes_what_fits_and_names_what_does_not(tiny_run, tmp_path, capsys):
    assert call("train", "--config", TINY, "--workdir", tmp_path / "run", "--init-from", tiny_run,
                f"--config.data.path={tiny_run / 'data'}", "--config.stages.gan=64", "--config.generator.width=16") == 0
    said = capsys.readouterr().err
    assert "did not fit: generator/" in said and "did not fit: text" not in said
    (mine, _), (theirs, _) = newest(tmp_path / "run"), newest(tiny_run)
    text = "['params']['text']['Embed_0']['embedding']"
    moved = np.abs(mine[text] - theirs[text]).max()
    assert moved < 0.1 * np.abs(theirs[text]).max()


def test_a_dry_run_counts_parameters_and_writes_nothing(tiny_run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("train", "--config", TINY, "--dry-run") == 0
    said = capsys.readouterr().out
    arrays, _ = newest(tiny_run)
    for player in ("autoencoder", "text", "generator", "discriminator"):
        count = sum(x.size for path, x in arrays.items() if path.startswith(f"['params']['{player}']"))
        assert f"{player} {count:,}" in " ".join(said.split())
    assert "batch_size = 16" in said and "MFLOPs per image" in said and not list(tmp_path.iterdir())


def test_flops_of_a_dry_run_grow_with_the_network():
    flops = []
    for width in (32, 256):
        said = describe(configs.load(TINY, [f"--config.generator.width={width}", f"--config.generator.hidden={width}"]))
        flops.append(float(said.split("gan: ")[1].split(" MFLOPs")[0].split("; ")[-1].replace(",", "")))
    assert flops[1] > flops[0] > 0


def test_a_captioned_folder_trains_in_grey_too(tmp_path):
    from PIL import Image

    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(40):
        Image.fromarray(rng.integers(0, 255, (20, 24), np.uint8)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"noise number {number}\n")
    assert call("train", "--config", f"{CONFIGS / 'folder.py'}:tiny", "--workdir", tmp_path / "run",
                f"--config.data.path={folder}", "--config.data.channels=1", "--config.stages.gan=64") == 0
    import t2i_jax

    assert t2i_jax.load(tmp_path / "run")("noise number 3")[0].mode == "L"


def test_a_run_that_diverges_goes_back_amends_itself_and_ends(tiny_run, tmp_path, capsys):
    arguments = ["train", "--config", TINY, "--workdir", tmp_path / "run", f"--config.data.path={tiny_run / 'data'}",
                 "--config.stages.gan=64", "--config.optimizers.autoencoder.learning_rate=1e4"]
    assert call(*arguments, "--config.run.rollbacks=1", "--config.run.rollback_learning_rate=1e-8") == 0
    said = capsys.readouterr().out
    assert "t2i: amendment at 0 images: optimizers.autoencoder.learning_rate = 0.0001 instead of 10000.0" in said
    arrays, about = newest(tmp_path / "run")
    assert about["finished"] and about["healthy"]
    assert all(np.isfinite(x).all() for x in arrays.values() if x.dtype.kind == "f")
    assert {a["rollback"] for a in about["amendments"]} == {1} and "training stopped" in about["amendments"][0]["why"]
    assert call(*arguments, "--config.run.rollbacks=1", "--config.run.rollback_learning_rate=1e-8") == 0
    assert newest(tmp_path / "run")[1]["amendments"] == about["amendments"]


def test_an_unknown_best_is_refused(tmp_path, capsys):
    assert call("train", "--config", TINY, "--workdir", tmp_path / "run", "--config.run.best=frechet") == 2
    assert "run.best = 'frechet' is unknown; accepted: 'lowest evaluation/" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
