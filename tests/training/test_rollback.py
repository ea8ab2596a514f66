"""Divergence: warned of, never a healthy checkpoint; on request the run goes back, amended, on record, resumable."""

import json
import os
import signal

import jax
import pytest
import toy
from test_loop import assert_same_end, lines

from t2i_jax import config as configs
from t2i_jax.distributed.mesh import make_mesh
from t2i_jax.errors import UserError
from t2i_jax.training import checkpoint, loop, resume, rollback
from t2i_jax.training.checkpoint import Run

WILD = 1e3  # a learning rate that throws the autoencoder away within a chunk, yet stays finite


def config_of(learning_rate=WILD, **run):
    rates = {name: {"learning_rate": learning_rate} for name in ("autoencoder", "d", "g")}
    return configs.ConfigDict({
        "optimizers": rates, "losses": {"gamma": 1.0, "gamma_final": 0.5, "kl": 1.0},
        "run": {"checkpoint_every": 64, "keep": 1, "rollbacks": 2, "rollback_learning_rate": 1e-5,
                "rollback_gamma": 2.0} | run,
    })


def attempt(workdir, config, amendments, pause=lambda index: None):
    return loop.train(
        toy.system(learning_rate=config.optimizers.autoencoder.learning_rate), toy.data(pause=pause),
        Run(configs.to_json(config), "{}", {"amendments": amendments}), workdir, make_mesh(), jax.random.key(3),
        configs.section(config, "run", loop.Options),
    )


def train(workdir, config, pause=lambda index: None):
    """What the command does: go on, and back where needed."""
    previous = checkpoint.newest_good(workdir)
    config = resume.with_rollbacks(previous[1], config) if previous else config
    amendments = resume.reconcile(previous[1], config) if previous else []
    while True:
        try:
            return attempt(workdir, config, amendments, pause)
        except loop.Diverged as error:
            options = configs.section(config, "run", loop.Options)
            amended = rollback.roll_back(workdir, config, options, amendments, str(error))
            if amended is None:
                raise
            config, amendments = amended


def saved(workdir):
    return {int(path.name): checkpoint.healthy(path) for path in checkpoint.committed(workdir / "checkpoints")}


def noted(workdir, kind):
    return [line for line in lines(workdir) if kind in line]


@pytest.fixture(scope="module")
def rolled_back(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("rolled back")
    assert train(workdir, config_of()).finished
    return workdir


def test_unasked_a_diverging_run_is_warned_of_once_and_its_checkpoints_are_marked(tmp_path, capsys):
    attempt(tmp_path, config_of(rollbacks=0, keep=2), [])
    (warning, *others) = [line for line in noted(tmp_path, "warning") if line["stage"] == "autoencoder"]
    assert warning["images"] == 192 and warning["warning"]["verdict"] == "diverged" and not others
    assert "optimizers.autoencoder.learning_rate" in warning["warning"]["text"]
    assert warning["warning"]["text"] in capsys.readouterr().out
    about = checkpoint.newest_good(tmp_path)[1].about
    assert about["finished"] and saved(tmp_path)[0]


def test_divergence_stops_a_run_that_may_go_back_and_the_last_healthy_checkpoint_is_there(tmp_path):
    with pytest.raises(loop.Diverged, match="autoencoder/gradient_norm.*at 192 images of stage 'autoencoder'"):
        attempt(tmp_path, config_of(), [])
    assert saved(tmp_path) == {0: True, 128: False}


def test_a_run_goes_back_and_on_with_amended_values_on_record(rolled_back):
    path, run = checkpoint.newest_good(rolled_back)
    assert run.about["finished"] and all(saved(rolled_back).values())
    made = {a["key"]: (a["old"], a["new"]) for a in run.about["amendments"]}
    slower = (WILD, pytest.approx(0.01))
    assert made == {f"optimizers.{name}.learning_rate": slower for name in ("autoencoder", "d", "g")} | {
        "losses.gamma": (1.0, 2.0), "losses.gamma_final": (0.5, 1.0)}
    assert all(a["rollback"] == 1 and a["images"] == 0 and "gradient_norm" in a["why"] for a in run.about["amendments"])
    assert [line["amendment"]["key"] for line in noted(rolled_back, "amendment")] == list(made)
    assert not noted(rolled_back, "warning")
    assert [line["images"] for line in lines(rolled_back) if "amendment" not in line] == list(range(64, 769, 64))
    assert json.loads(run.config)["losses"]["gamma"] == 2.0


@pytest.mark.parametrize("index", [64, 320])
def test_stopped_after_a_rollback_the_same_call_goes_on_with_the_amended_values(index, rolled_back, tmp_path):
    met = []
    stop = lambda start: met.append(start) or (
        os.kill(os.getpid(), signal.SIGTERM) if met.count(index) == (2 if index == 64 else 1) else None)
    assert not train(tmp_path, config_of(), pause=stop).finished
    assert train(tmp_path, config_of()).finished
    assert_same_end(rolled_back, tmp_path)
    ends = [checkpoint.newest_good(workdir)[1] for workdir in (rolled_back, tmp_path)]
    assert ends[0].about["amendments"] == ends[1].about["amendments"] and ends[0].config == ends[1].config
    assert noted(tmp_path, "amendment") == noted(rolled_back, "amendment")


def test_dead_right_after_a_rollback_the_same_call_goes_back_again_and_notes_it_once(rolled_back, tmp_path):
    class Dead(Exception):
        pass

    starts = []

    def die(start):
        starts.append(start)
        if starts.count(0) == 2:
            raise Dead

    with pytest.raises(Dead):
        train(tmp_path, config_of(), pause=die)
    assert saved(tmp_path) == {0: True} and len(noted(tmp_path, "amendment")) == 5
    assert train(tmp_path, config_of()).finished
    assert_same_end(rolled_back, tmp_path)
    assert noted(tmp_path, "amendment") == noted(rolled_back, "amendment")


def test_rollbacks_are_bounded(tmp_path):
    tries = []
    with pytest.raises(loop.Diverged):
        train(tmp_path, config_of(rollback_learning_rate=0.99), pause=lambda start: tries.append(start))
    assert tries.count(0) == 3 and saved(tmp_path)[0]  # as asked, and two rollbacks


def test_a_loss_that_is_not_finite_goes_back_too(tmp_path):
    assert train(tmp_path, config_of(learning_rate=1e30, rollback_learning_rate=1e-32)).finished
    (why,) = {a["why"] for a in checkpoint.newest_good(tmp_path)[1].about["amendments"]}
    assert "is not finite" in why


def test_there_must_be_something_to_go_back_to_and_to_change(rolled_back, tmp_path):
    config = config_of()
    options = configs.section(config, "run", loop.Options)
    assert rollback.roll_back(tmp_path, config, options, [], "why") is None
    plain = configs.ConfigDict({"optimizers": {}, "run": config.run})
    assert rollback.roll_back(rolled_back, plain, options, [], "why") is None
    assert rollback.roll_back(rolled_back, config, options, [{"rollback": 2}], "why") is None
    assert saved(rolled_back)


def test_a_value_that_a_person_changes_after_a_rollback_is_taken_as_it_is():
    effective = config_of(learning_rate=0.25)
    key = "optimizers.g.learning_rate"
    amendment = lambda old, new, **more: {"images": 0, "key": key, "old": old, "new": new} | more
    about = {"images": 64, "amendments": [amendment(1.0, 0.5, rollback=1), amendment(0.5, 0.25, rollback=2)]}
    old = Run(configs.to_json(effective), "{}", about)
    rate = lambda asked: resume.with_rollbacks(old, config_of(asked)).optimizers.g.learning_rate
    assert rate(1.0) == 0.25  # the command that was given
    assert rate(0.5) == 0.5 and rate(0.1) == 0.1
    about["amendments"].append(amendment(0.25, 0.1))  # by a person
    assert rate(1.0) == 1.0


@pytest.mark.parametrize("run", [{"rollbacks": -1}, {"rollback_learning_rate": 0.0}, {"rollback_gamma": 0.5},
                                 {"rollback_learning_rate": 1.0, "rollback_gamma": 1.0}])
def test_rollbacks_that_could_not_help_are_refused(run):
    with pytest.raises(UserError, match="run.rollbacks"):
        configs.section(config_of(**run), "run", loop.Options)
