"""launch/local.py for real: the README's line, one process killed on the way, then drawing and judging by two processes."""

import json
import os
import signal
import subprocess
import time

import jax
import numpy as np
import processes
import pytest
from PIL import Image
from running import CONFIGS, call
from test_launch import ROOT, readme_command

from t2i_jax import config as configs
from t2i_jax import systems

# What other tests see of the quickstart and takes long to compile.
CHEAP = ("losses.patch=0.0", "losses.matching=0.0", "text.depth=0",
         "stages.imitation=64", "stages.autoencoder=192", "stages.gan=128", "run.checkpoint_every=64", "run.samples_every=0")


def begin(workdir, data):
    python, script, *launcher, dashes, command, config, file, option, _ = _split(readme_command("python launch/local.py"))
    cheap = [f"--config.{override}" for override in (*CHEAP, f"data.path={data}")]
    arguments = [python, script, *launcher, "--lost", "6", "--pause", "0", dashes, command, config, file, option, str(workdir),
                 *cheap]
    environment = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    return subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _split(command):
    assert command[-5:-1] == ["train", "--config", "configs/quickstart.py:tiny", "--workdir"] and command[-6] == "--"
    return command


@pytest.fixture(scope="module")
def whole(tiny_run, tmp_path_factory):
    """The work directory of a run that nobody disturbed."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    launcher = begin(workdir, tiny_run / "data")
    said = launcher.communicate()[0]
    assert launcher.returncode == 0 and "starting again" not in said, said
    return workdir


def seen(workdir):
    """Images of the last line logged."""
    file = workdir / "metrics.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return json.loads(lines[-1])["images"] if lines else -1


def test_one_process_is_killed_and_the_launcher_brings_the_run_to_the_same_end(whole, tiny_run, tmp_path):
    workdir = tmp_path / "run"
    launcher = begin(workdir, tiny_run / "data")
    while launcher.poll() is None and seen(workdir) < 128:
        time.sleep(0.02)
    with open(f"/proc/{launcher.pid}/task/{launcher.pid}/children") as children:
        victim = int(children.read().split()[1])
    os.kill(victim, signal.SIGKILL)
    said = launcher.communicate()[0]
    assert launcher.returncode == 0, said
    assert "[0] t2i: process 1 of 2 has not been heard of for 6 s" in said
    assert "launch: ended with [75, -9]; starting again" in said
    system = systems.build(configs.load(f"{CONFIGS / 'quickstart.py'}:tiny", [f"--config.{o}" for o in CHEAP]), None)
    (mine, about), (theirs, expected) = processes.arrays(workdir, system), processes.arrays(whole, system)
    assert about["finished"] and about["next_example"] == expected["next_example"] == 384
    for path in mine:
        np.testing.assert_array_equal(mine[path], theirs[path], err_msg=path)


@pytest.mark.parametrize("count", [2, 4])
def test_several_processes_draw_what_one_draws(count, tiny_run, tmp_path):
    draw = ("--workdir", tiny_run, "--prompt", "a red heart", "--num", 10, "--no-grid", "--out")
    assert call("sample", *draw, tmp_path / "one.png") == 0
    port = processes.free_port()
    commands = [processes.t2i(index, count, port, "sample", *draw, tmp_path / "more.png") for index in range(count)]
    ended = processes.end([processes.begin(command, JAX_DISABLE_MOST_OPTIMIZATIONS="0") for command in commands])
    assert [one.code for one in ended] == [0] * count, ended
    for number in range(10):
        one, two = (np.asarray(Image.open(tmp_path / f"{name}-{number}.png"), int) for name in ("one", "more"))
        assert np.abs(one - two).max() <= 1, number


def test_two_processes_judge_as_one_does(tiny_run, tiny_evaluator, tiny_card, tmp_path):
    port = processes.free_port()
    judge = ("--workdir", tiny_run, "--evaluator", tiny_evaluator, "--num", 24, "--out", tmp_path / "card")
    commands = [processes.t2i(index, 2, port, "evaluate", *judge) for index in (0, 1)]
    ended = processes.end([processes.begin(command, JAX_DISABLE_MOST_OPTIMIZATIONS="0") for command in commands], seconds=400)
    assert [one.code for one in ended] == [0, 0], ended
    mine, theirs = (json.loads((card / "card.json").read_text()) for card in (tmp_path / "card", tiny_card))
    assert jax.tree.structure(mine["figures"]) == jax.tree.structure(theirs["figures"])
    protocol = lambda figure: {name: entry for name, entry in figure.items() if name not in ("value", "error")}
    for a, b in zip(mine["figures"], theirs["figures"], strict=True):
        assert protocol(a) == protocol(b)
        np.testing.assert_allclose(a["value"], b["value"], rtol=0.02, atol=0.02, err_msg=str(a))
