"""The loop: resume bit for bit after real SIGKILLs, SIGTERM, damage, amendments; one compilation, one fetch a chunk."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from t2i_jax import config as configs
from t2i_jax.distributed.mesh import make_mesh
from t2i_jax.errors import UserError
from t2i_jax.training import alternate, checkpoint, loop, resume
from t2i_jax.training.checkpoint import Run
from t2i_jax.training.state import create

OPTIONS = loop.Options(checkpoint_every=128, keep=3, samples_every=256)
RUN = Run("{}", "{}", {})
WORKER = Path(__file__).with_name("killed_run.py")


def train(workdir, system=None, data=None, options=OPTIONS, **more):
    return loop.train(
        system or toy.system(), data or toy.data(), RUN, workdir, make_mesh(), jax.random.key(3), options, **more
    )


def arrays(workdir):
    """Every decoded array of the newest checkpoint."""
    path, run = checkpoint.newest_good(workdir)
    state = checkpoint.ocp.load(path / "state")
    state["key"] = jax.random.key_data(state["key"])
    return {jax.tree_util.keystr(k): np.asarray(x) for k, x in jax.tree_util.tree_leaves_with_path(state)}, run.about


def assert_same_end(a, b):
    (mine, about), (theirs, other) = arrays(a), arrays(b)
    assert mine.keys() == theirs.keys()
    for path in mine:
        np.testing.assert_array_equal(mine[path], theirs[path], err_msg=path)
    assert about["next_example"] == other["next_example"] == 768 and about["finished"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody disturbed."""
    workdir = tmp_path_factory.mktemp("whole")
    assert train(workdir).finished
    return workdir


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("where", ["middle of the first stage", "between the stages", "while a checkpoint is written",
                                   "before its marker", "middle of the second stage"])
def test_killed_and_run_again_it_ends_in_the_same_bits(where, whole, tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run([sys.executable, str(WORKER), str(tmp_path), where], env=environment, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not checkpoint.committed(tmp_path / "checkpoints") or not arrays(tmp_path)[1]["finished"]
    assert train(tmp_path).finished
    assert_same_end(whole, tmp_path)
    speedless = [[{k: v for k, v in line.items() if k != "images_per_second"} for line in lines(w)] for w in (whole, tmp_path)]
    assert speedless[0] == speedless[1]
    assert all((path / "COMMITTED").is_file() for path in (tmp_path / "checkpoints").iterdir())


def test_sigterm_saves_and_says_so(whole, tmp_path):
    stop = lambda index: os.kill(os.getpid(), signal.SIGTERM) if index == 384 else None
    before = signal.getsignal(signal.SIGTERM)
    result = train(tmp_path, data=toy.data(pause=stop))
    assert not result.finished and result.images % 64 == 0 and result.images < 768
    assert arrays(tmp_path)[1]["images"] == result.images
    assert signal.getsignal(signal.SIGTERM) is before
    assert train(tmp_path).finished
    assert_same_end(whole, tmp_path)


def test_a_relative_work_directory_is_as_good(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stop = lambda index: os.kill(os.getpid(), signal.SIGTERM) if index == 384 else None
    assert not train(Path("run"), data=toy.data(pause=stop)).finished
    assert train(Path("run")).finished
    assert_same_end(whole, tmp_path / "run")


def test_a_finished_run_does_nothing_more(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "copy")
    result = train(tmp_path / "copy")
    assert result.finished and lines(tmp_path / "copy") == lines(whole)


def test_retention_keeps_the_newest_and_the_multiples(tmp_path):
    train(tmp_path, options=loop.Options(checkpoint_every=128, keep=1, keep_every=384))
    assert sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir()) == [0, 384, 768]


def test_one_compilation_a_stage_and_one_fetch_a_chunk(tmp_path, monkeypatch):
    updates, fetches = [], []
    compile_update = alternate.compile_update
    monkeypatch.setattr(alternate, "compile_update", lambda *a: updates.append(compile_update(*a)) or updates[-1])
    array_type = type(jnp.zeros(()))
    value = array_type._value
    monkeypatch.setattr(array_type, "_value", property(lambda x: fetches.append(x.shape) or value.__get__(x)))
    train(tmp_path, options=loop.Options(checkpoint_every=0))
    # A program compiled ahead of time takes one kind of arrays and never compiles again; nothing runs but that.
    assert [update.run._cache_size() for update in updates] == [0, 0]
    reports = [shape for shape in fetches if shape in {(len(update.terms) + 2,) for update in updates}]
    assert len(reports) == 768 // 64
    # Besides reports only the two saves (entering the stages) and the final one read the state, once each.
    assert len(fetches) - len(reports) <= 3 * len(jax.tree.leaves(jax.eval_shape(lambda k: create(toy.system(), k), jax.random.key(0))))


def test_it_says_when_devices_were_at_work(tmp_path, capsys):
    chunks = train(tmp_path).chunks
    assert len(chunks) == 768 // 64
    assert all(before.ended <= after.began < after.ended for before, after in zip(chunks, chunks[1:]))
    said = capsys.readouterr().out
    share = float(said.split("% of the time outside compiled chunks")[0].split()[-1])
    assert 0 < share < 100


def test_a_state_that_is_not_finite_is_never_saved(tmp_path):
    data = toy.data()

    def poisoned(start):
        for batch in data.batches(start):
            if batch["index"][0, 0] >= 448:
                batch = batch | {"image": np.full_like(batch["image"], np.nan, np.float32)}
            else:
                batch = batch | {"image": batch["image"].astype(np.float32) / 127.5 - 1}
            yield batch

    with pytest.raises(loop.NotFinite, match=r"d/gap is not finite at step 28 of stage 'gan'"):
        train(tmp_path, data=data._replace(batches=poisoned))
    found, about = arrays(tmp_path)
    assert about["images"] == 384 and all(np.isfinite(x).all() for x in found.values())


def test_the_samples_hook_sees_every_cadence_and_the_end(tmp_path):
    seen = []
    train(tmp_path, draw=lambda state, images, log: seen.append((images, int(state.images[1]))))
    assert seen == [(256, 256), (512, 512), (768, 768)]


def test_damage_is_named_and_the_checkpoint_before_is_used(whole, tmp_path, capsys):
    for number, damage in enumerate(("flip", "truncate", "remove")):
        workdir = tmp_path / damage
        shutil.copytree(whole, workdir)
        newest = checkpoint.committed(workdir / "checkpoints")[-1]
        victim = max((file for file in newest.rglob("*") if file.is_file()), key=lambda file: file.stat().st_size)
        data = bytearray(victim.read_bytes())
        if damage == "flip":
            data[len(data) // 2] ^= 1
            victim.write_bytes(data)
        elif damage == "truncate":
            victim.write_bytes(data[:-7])
        else:
            victim.unlink()
        with pytest.raises(checkpoint.Damaged, match=victim.name):
            checkpoint.verify(newest)
        found, _ = checkpoint.newest_good(workdir)
        assert found == checkpoint.committed(workdir / "checkpoints")[-2]
        assert f"{victim.name}" in capsys.readouterr().err
        assert train(workdir).finished
        assert_same_end(whole, workdir)


def test_all_damaged_is_refused_and_a_newer_format_too(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "bad")
    for path in checkpoint.committed(tmp_path / "bad" / "checkpoints"):
        (path / "run.json").write_text("{}")
    with pytest.raises(checkpoint.Damaged, match="no earlier checkpoint"):
        checkpoint.newest_good(tmp_path / "bad")
    shutil.copytree(whole, tmp_path / "new")
    path = checkpoint.committed(tmp_path / "new" / "checkpoints")[-1]
    about = json.loads((path / "run.json").read_text()) | {"format": checkpoint.FORMAT + 1}
    (path / "run.json").write_text(json.dumps(about))
    manifest = json.dumps({name: checkpoint.describe(path / name) for name in checkpoint.files(path)})
    (path / "manifest.json").write_text(manifest)
    (path / "COMMITTED").write_text(checkpoint.digest(manifest.encode()))
    with pytest.raises(UserError, match=f"format {checkpoint.FORMAT + 1}.*reads up to {checkpoint.FORMAT}"):
        checkpoint.newest_good(tmp_path / "new")


def test_an_array_that_a_checkpoint_lacks_is_named(whole):
    path, _ = checkpoint.newest_good(whole)
    state = jax.eval_shape(lambda key: create(toy.system(), key), jax.random.key(0))
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    placed = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), state)
    params = checkpoint.load_state(path, {"params": placed.params}, part=True)["params"]
    assert jax.tree.structure(params) == jax.tree.structure(state.params)
    newer = placed.params | {"detector": placed.params["generator"]}
    with pytest.raises(UserError, match=r"does not fit .* no array \['params'\]\['detector'\]\['bias'\] and 1 more"):
        checkpoint.load_state(path, {"params": newer}, part=True)


def test_saving_where_nothing_can_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        train(tmp_path / "file" / "run")


def test_only_resumable_keys_may_change_and_changes_are_recorded():
    config = configs.ConfigDict({"seed": 0, "losses": {"gamma": 1.0}, "optimizers": {"g": {"learning_rate": 1e-3, "b1": 0.0}}})
    old = Run(configs.to_json(config), "{}", {"images": 640, "amendments": [{"key": "before"}]})
    config.losses.gamma, config.optimizers.g.learning_rate = 2.0, 5e-4
    assert resume.reconcile(old, config) == [
        {"key": "before"},
        {"images": 640, "key": "losses.gamma", "old": 1.0, "new": 2.0},
        {"images": 640, "key": "optimizers.g.learning_rate", "old": 1e-3, "new": 5e-4},
    ]
    config.optimizers.g.b1 = 0.5
    with pytest.raises(UserError, match=r"optimizers.g.b1 = 0.0, now 0.5"):
        resume.reconcile(old, config)
