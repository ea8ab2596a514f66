"""What a stage keeps of every picture: computed once, what a step would have computed, and looked up in the same bits again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy
from test_loop import arrays, assert_same_end, train

from t2i_jax.distributed.mesh import make_mesh
from t2i_jax.training.kept import Kept
from t2i_jax.training.state import create

PICTURES = np.random.default_rng(0).integers(0, 256, (21, 4, 4, 1), np.uint8)  # no multiple of a batch


def codes(params, aux, images):
    return {"code": images.reshape(len(images), 16) @ params["autoencoder"]["kernel"] + aux["scale"]}


def system(keep=codes):
    """The toy, whose generator in the second stage also learns from what that keeps."""
    def generator(turn):
        kept = turn.batch if "code" in turn.batch else codes(turn.params, turn.aux, turn.batch["image"])
        loss, said = toy.generator(turn)
        return loss + jnp.mean((kept["code"] @ turn.params["generator"]["kernel"]) ** 2), said

    plain = toy.system()
    first, second = plain.stages
    d, g = second.phases
    return plain._replace(stages=(first, second._replace(phases=(d, g._replace(loss=generator)), keeps=keep)))


def data(pictures=None, pause=lambda index: None):
    """The toy's examples, which show PICTURES in turn; a run may keep something of `pictures`."""
    def batches(start):
        for stack in toy.data(pause=pause).batches(start):
            numbers = (stack["index"] % len(PICTURES)).astype(np.int32)
            yield stack | {"image": PICTURES[numbers], "picture": numbers}

    return toy.data()._replace(batches=batches, pictures=pictures)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(work directory of a run that keeps codes, how often it asked for all pictures)."""
    workdir, asked = tmp_path_factory.mktemp("whole"), []
    assert train(workdir, system(), data(lambda: asked.append(1) or PICTURES)).finished
    return workdir, len(asked)


def test_a_run_learns_the_same_from_what_is_kept_as_from_what_every_step_computes(whole, tmp_path):
    workdir, asked = whole
    assert asked == 1  # by the second stage, the first keeps nothing
    train(tmp_path / "anew", system(), data())
    train(tmp_path / "plain", system(keep=None), data(lambda: PICTURES))
    assert_same_end(tmp_path / "anew", tmp_path / "plain")
    train(tmp_path / "other", system(), data(lambda: 255 - PICTURES))
    kernel = lambda workdir: next(x for path, x in arrays(workdir)[0].items() if "params" in path and "generator" in path
                                  and "kernel" in path and "ema" not in path)
    np.testing.assert_allclose(kernel(workdir), kernel(tmp_path / "anew"), rtol=1e-4, atol=1e-6)
    assert np.abs(kernel(workdir) - kernel(tmp_path / "other")).max() > 1e-3


@pytest.mark.parametrize("index", [192, 448])
def test_a_run_that_stopped_ends_in_the_same_bits(whole, tmp_path, index):
    def fall(at):
        if at == index:
            raise RuntimeError("power is out")

    with pytest.raises(RuntimeError, match="power is out"):
        train(tmp_path, system(), data(lambda: PICTURES, fall))
    train(tmp_path, system(), data(lambda: PICTURES))
    assert_same_end(tmp_path, whole[0])


def test_every_picture_of_a_batch_has_its_own_and_shapes_are_known_before():
    made, batch = create(system(), jax.random.key(0)), next(data().batches(0))
    kept, stage = Kept(lambda: PICTURES, 16, make_mesh()), system().stages[1]
    found = kept.beside(stage, made, batch)
    wanted = codes(made.params, made.aux, PICTURES[batch["picture"].ravel()] / np.float32(127.5) - 1)["code"]
    np.testing.assert_allclose(found["code"].reshape(64, 6), wanted, rtol=1e-5, atol=1e-6)
    shapes = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
    assert shapes(kept.expected(stage, made, batch)) == shapes(found)
    for none in (kept.beside(system().stages[0], made, batch), Kept(None, 16, make_mesh()).beside(stage, made, batch)):
        assert none is batch
