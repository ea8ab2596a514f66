"""contrastive: its loss against NumPy, augmentation, learning and going on by the command line, drawing nothing."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import synthetic
from running import CONFIGS, call

import t2i_jax
from t2i_jax import config as configs
from t2i_jax import keys, systems
from t2i_jax.errors import UserError
from t2i_jax.systems import Turn, contrastive
from t2i_jax.training import alternate, checkpoint
from t2i_jax.training.state import create

TINY = f"{CONFIGS / 'evaluator.py'}:tiny"
BATCH = 16


def config(*overrides):
    return configs.load(TINY, [f"--config.{override}" for override in overrides])


@pytest.fixture(scope="module")
def batch():
    return jax.tree.map(jnp.asarray, alternate.as_float(synthetic.examples(0, BATCH, length=config().data.text_length)))


def test_the_loss_is_symmetric_info_nce_without_other_right_captions(batch):
    chosen = config("augmentation.shift=0", "augmentation.noise=0.0")
    system, nets = systems.build(chosen, None), contrastive.networks(chosen)

    @jax.jit
    def compute(batch):
        state = create(system, jax.random.key(0))
        turn = Turn(state.params, {}, state.ema, batch, keys.per_example(state.key, BATCH), jnp.float32(0))
        loss, (_, terms) = system.stages[0].phases[0].loss(turn)
        side = lambda name, *x: getattr(nets, name).apply({"params": state.params[name]}, *x)
        return loss, terms, side("image", batch["image"]), side("text", batch["tokens"], batch["mask"])

    found, terms, image, text = jax.device_get(compute(batch))
    cosines = image.astype(np.float64) @ text.T
    logits = cosines * 10  # the temperature starts at a tenth
    caption, captions = np.asarray(batch["caption"]), np.asarray(batch["captions"])
    right = (captions[:, :, None] == caption[None, None]).any(1)
    assert right.sum() > BATCH, "the batch has no exchangeable captions"
    logits[right & ~np.eye(BATCH, dtype=bool)] = -np.inf
    cross_entropy = lambda s: np.mean(np.log(np.exp(s).sum(1)) - np.diag(s))
    np.testing.assert_allclose(found, (cross_entropy(logits) + cross_entropy(logits.T)) / 2, rtol=1e-5)
    np.testing.assert_allclose(terms["temperature"], 0.1, rtol=1e-5)


def test_the_scale_of_cosines_stays_between_its_bounds():
    logits = jnp.array([-1e4, -3.0, 0.0, 3.0, 1e4])
    found = contrastive.scale(logits)
    np.testing.assert_allclose(found[jnp.array([0, 2, 4])], [0, 50, 100], atol=1e-4)
    assert (jnp.diff(found) > 0).all()


def test_shifted_pictures_are_moved_and_never_wrapped(batch):
    images = batch["image"]
    moved = np.asarray(contrastive.shifted(images, keys.per_example(jax.random.key(3), BATCH), 1))
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    places = [(down, right) for down in range(3) for right in range(3)]
    size = images.shape[1]
    of = [[(row == image[d : d + size, r : r + size]).all() for d, r in places] for row, image in zip(moved, padded)]
    assert (np.sum(of, axis=1) == 1).all() and np.unique(np.argmax(of, axis=1)).size > 4
    np.testing.assert_array_equal(contrastive.shifted(images, keys.per_example(jax.random.key(3), BATCH), 0), images)


def test_every_picture_gets_a_noise_level_of_its_own_below_the_largest(batch):
    images = jnp.zeros((200, 16, 16, 3))
    noise = contrastive.speckled(images, keys.per_example(jax.random.key(0), 200), 0.4)
    levels = np.asarray(noise.std(axis=(1, 2, 3)))
    assert 0.35 < levels.max() < 0.43 and levels.min() < 0.05
    np.testing.assert_allclose(np.quantile(levels, [0.25, 0.5, 0.75]), [0.1, 0.2, 0.3], atol=0.05)
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.2


def test_a_run_learns_and_writes_no_samples(tiny_evaluator):
    lines = [json.loads(line) for line in (tiny_evaluator / "metrics.jsonl").read_text().splitlines()]
    losses = [line["encoders/loss"] for line in lines]
    # np.log(BATCH) is what knowing nothing costs.
    assert losses[0] > 0.8 * np.log(BATCH) and np.mean(losses[-3:]) < 0.8 * losses[0]
    assert not (tiny_evaluator / "samples").exists()
    about = checkpoint.newest_good(tiny_evaluator)[1].about
    assert about["finished"] and about["stage"] == "contrastive"


def test_the_same_command_again_goes_on_and_ends_in_the_same_bits(tiny_evaluator, tmp_path):
    shutil.copytree(tiny_evaluator, tmp_path / "run")
    shutil.rmtree(max((tmp_path / "run" / "checkpoints").iterdir()))
    middle = checkpoint.newest_good(tmp_path / "run")[1].about["images"]
    assert call("train", "--config", TINY, "--workdir", tmp_path / "run") == 0
    ends = [checkpoint.newest_good(run) for run in (tmp_path / "run", tiny_evaluator)]
    assert 0 < middle < ends[0][1].about["images"] == ends[1][1].about["images"]
    mine, theirs = (checkpoint.ocp.load(path / "state") for path, _ in ends)
    for part in ("params", "opt_state", "ema"):
        jax.tree.map(np.testing.assert_array_equal, mine[part], theirs[part])


def test_it_draws_nothing_and_says_so(tiny_evaluator, tmp_path, capsys):
    with pytest.raises(UserError, match="draws nothing"):
        t2i_jax.load(tiny_evaluator)
    assert call("sample", "--workdir", tiny_evaluator, "--prompt", "flag", "--out", tmp_path / "flag.png") == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("override, message", [
    ("text.heads=3", "text.heads = 3 is impossible; accepted: a divisor of text.width = 16"),
    ("image.grid=0", "image.grid = 0 is impossible; accepted: 1 or more"),
    ("data.resolution=15", "data.resolution = 15 is impossible; accepted: an even number"),
    ("augmentation.shift=-1", "augmentation.shift = -1"),
    ("augmentation.shift=16", "augmentation.shift = 16"),
    ("augmentation.noise=-0.1", "augmentation.noise = -0.1"),
])
def test_impossible_configs_are_refused(override, message):
    with pytest.raises(UserError, match=message):
        systems.build(config(override), None)
