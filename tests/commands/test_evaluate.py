"""`t2i evaluate` as a person calls it: from a run to a card, an evaluator trained on the way, mistakes in one line."""

import json
import shutil
import sys

import jax
import numpy as np
import pytest
from running import CONFIGS, evaluate

from t2i_jax import config as configs
from t2i_jax import systems
from t2i_jax.cli import main
from t2i_jax.commands.evaluate import hook
from t2i_jax.data.tokenizer import Tokenizer
from t2i_jax.data.training import DataOptions, open_data
from t2i_jax.training.checkpoint import newest_good
from t2i_jax.training.state import create

TINY = f"{CONFIGS / 'evaluator.py'}:tiny"


def call(*arguments):
    """Exit code of `t2i` with these arguments."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return end.value.code


def test_the_evaluator_is_trained_once_beside_the_run_on_its_data(tiny_run, tmp_path, capsys):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    options = ("--workdir", run, "--evaluator", TINY, "--split", "heldout_concepts", "--num", 12)
    assert evaluate(*options) == 0
    out, err = capsys.readouterr()
    assert "training the evaluator" in err and "R-precision" in out
    card = json.loads((run / "evaluation/card.json").read_text())
    assert card["groups"] == {"heldout_concepts": 12} and card["model"]["name"] == "tiny@768"
    trained = newest_good(run / "evaluator")[1].about
    assert trained["data"] == card["data"]["fingerprint"] and not (run / "evaluator/data").exists()
    before = (run / "evaluation/card.json").read_bytes()
    assert evaluate(*options) == 0
    assert "training the evaluator" not in capsys.readouterr().err
    assert (run / "evaluation/card.json").read_bytes() == before
    assert evaluate("--compare", run, run) == 0
    assert "A: tiny@768" in capsys.readouterr().out
    assert evaluate(*options, "--weights", "raw", "--out", tmp_path / "raw") == 0
    assert evaluate("--compare", run, tmp_path / "raw") == 2
    assert "weights: 'ema' and 'raw'" in capsys.readouterr().err


@pytest.mark.parametrize("arguments, message", [
    (lambda run, tmp: [], "--workdir is missing"),
    (lambda run, tmp: ["--workdir", tmp / "no"], "does not exist"),
    (lambda run, tmp: ["--workdir", run], "there is no 'configs/evaluator.py' here"),
    (lambda run, tmp: ["--workdir", run, "--evaluator", run], "holds a 'latent_gan', no evaluator"),
    (lambda run, tmp: ["--workdir", run, "--split", "test"], "no split 'test'; accepted: train, heldout_compositions"),
    (lambda run, tmp: ["--workdir", run, "--num", 0], "'--num'"),
    (lambda run, tmp: ["--workdir", run, "--tower", "inception"], "is not NAME=FILE"),
    (lambda run, tmp: ["--workdir", run, "--tower", "vgg=x"], "'vgg' is not known"),
    (lambda run, tmp: ["--workdir", run, "--attributes", tmp / "no.json"], "cannot be read"),
    (lambda run, tmp: ["--workdir", run, "--out", tmp / "file" / "x"], "cannot write"),
    (lambda run, tmp: ["--compare", tmp, tmp], "no card in"),
    (lambda run, tmp: ["--compare", tmp, tmp, "--workdir", run], "takes two cards and no --workdir"),
])
def test_mistakes_end_in_one_line_with_nothing_written(arguments, message, tiny_run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way")
    files = lambda: sorted({*tmp_path.rglob("*"), *tiny_run.rglob("*")})
    before = files()
    capsys.readouterr()
    assert evaluate(*arguments(tiny_run, tmp_path)) == 2
    out, err = capsys.readouterr()
    assert not out and len(err.strip().splitlines()) == 1 and message in err
    assert files() == before


def test_a_package_that_is_missing_is_named_with_its_extra(tiny_run, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.delitem(sys.modules, "t2i_jax.evaluation.page", raising=False)
    capsys.readouterr()
    assert evaluate("--workdir", tiny_run) == 2
    error = capsys.readouterr().err.strip()
    assert error == "t2i: evaluating needs the package jinja2: run pip install 't2i_jax[evaluate]'"


def test_data_that_changed_since_the_training_are_refused(tiny_run, tmp_path, capsys):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    info = json.loads((run / "data/info.json").read_text())
    (run / "data/info.json").write_text(json.dumps(info | {"fingerprint": "0" * 64}))
    assert evaluate("--workdir", run, "--evaluator", TINY) == 2
    assert "is not what" in capsys.readouterr().err


@pytest.fixture(scope="module")
def in_training(tiny_run, tiny_evaluator):
    """(hook, state of the tiny run as training starts)."""
    run = newest_good(tiny_run)[1]
    config = configs.from_json(run.config)
    data = open_data(configs.section(config, "data", DataOptions), tiny_run, Tokenizer.from_json(run.tokenizer))
    system = systems.build(config, data.text)
    return hook(tiny_evaluator, system, data, num=24), create(system, jax.random.key(0)), system, data


def test_training_judges_itself_with_few_pictures(in_training):
    judge, state, _, _ = in_training
    figures = judge(state, 0)
    assert set(figures) == {"frechet", "r_precision", "train_frechet", "train_r_precision"}
    assert figures == judge(state, 64) and all(np.isfinite(value) for value in figures.values())
    other = jax.tree.map(lambda x: x * 0.5 if x.dtype == np.float32 else x, state.ema)
    assert figures != judge(type(state)(**vars(state) | {"ema": other}), 0)


def test_an_evaluator_of_other_data_is_refused_before_training(in_training, tiny_evaluator, monkeypatch):
    from t2i_jax.errors import UserError

    _, _, system, data = in_training
    monkeypatch.setattr(data, "fingerprint", "other")
    with pytest.raises(UserError, match="trained on other data"):
        hook(tiny_evaluator, system, data)


def test_a_training_that_evaluates_logs_figures_and_names_the_best(tiny_run, tiny_evaluator, tmp_path):
    command = ["train", "--config", f"{CONFIGS / 'quickstart.py'}:tiny", "--workdir", tmp_path / "run",
               f"--config.data.path={tiny_run / 'data'}", "--config.run.evaluate_every=256",
               f"--config.run.evaluator={tiny_evaluator}", "--config.run.best=lowest evaluation/frechet"]
    assert call(*command) == 0
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    found = {line["images"]: line["evaluation/frechet"] for line in lines if "evaluation/frechet" in line}
    assert list(found) == [256, 512, 768]
    best = json.loads((tmp_path / "run/best.json").read_text())
    lowest = min(found.values())
    assert best["value"] == pytest.approx(lowest, rel=1e-5) and found[best["images"]] == lowest
    assert (tmp_path / "run/checkpoints" / f"{best['images']:012d}" / "COMMITTED").is_file()


@pytest.mark.parametrize("evaluator", ["", "nowhere"])
def test_evaluating_in_training_needs_an_evaluator(evaluator, tmp_path, capsys):
    capsys.readouterr()
    assert call("train", "--config", f"{CONFIGS / 'quickstart.py'}:tiny", "--workdir", tmp_path / "run",
                "--config.run.evaluate_every=256", f"--config.run.evaluator={evaluator}") == 2
    error = capsys.readouterr().err
    assert "run.evaluator" in error and "configs/evaluator.py" in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()
