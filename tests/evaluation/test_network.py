"""Features of pictures: the network's own, whatever the number, order of arrival and batch; wrong pictures refused."""

import jax.numpy as jnp
import numpy as np
import pytest

from t2i_jax.distributed.mesh import make_mesh
from t2i_jax.errors import UserError
from t2i_jax.evaluation.network import FeatureNetwork, features, features_of

WEIGHTS = np.random.default_rng(0).normal(size=(4 * 4 * 3, 5)).astype(np.float32)
PICTURES = np.random.default_rng(1).integers(0, 256, (70, 4, 4, 3), dtype=np.uint8)
EXPECTED = np.tanh((PICTURES / 127.5 - 1).reshape(70, -1) @ WEIGHTS)
MESH = make_mesh()


def network(seen=None, **changes):
    """tanh of a linear map; `seen` gets the batch size of every compilation."""

    def apply(params, images):
        if seen is not None:
            seen.append(len(images))
        return jnp.tanh(images.reshape(len(images), -1) @ params["weights"])

    fields = {"name": "linear", "weights_sha256": "0" * 64, "size": 4, "filter": "none", "normalisation": "[-1, 1]",
              "dimension": 5, "apply": apply, "params": {"weights": WEIGHTS}}
    return FeatureNetwork(**fields | changes)


@pytest.mark.parametrize("count", [1, 15, 16, 17, 32, 70])
def test_features_are_the_networks_for_any_number_of_pictures(count):
    found = features(network(), PICTURES[:count], MESH, batch=16)
    assert found.shape == (count, 5) and found.dtype == np.float32
    np.testing.assert_allclose(found, EXPECTED[:count], atol=1e-5)


def test_no_pictures_no_features():
    assert features(network(), PICTURES[:0], MESH).shape == features(network(), iter([]), MESH).shape == (0, 5)


def test_pictures_in_parts_give_the_same_bits_and_one_compilation():
    seen = []
    net = network(seen)
    whole = features(net, PICTURES, MESH, batch=16)
    parts = np.split(PICTURES, [1, 1, 30, 33, 69])  # one of them empty
    np.testing.assert_array_equal(features(net, iter(parts), MESH, batch=16), whole)
    assert seen == [16]


def test_a_picture_does_not_depend_on_those_beside_it():
    net = network()
    whole = features(net, PICTURES, MESH, batch=16)
    np.testing.assert_array_equal(features(net, PICTURES[::-1].copy(), MESH, batch=16)[::-1], whole)
    np.testing.assert_array_equal(features(net, PICTURES[5:6], MESH, batch=16)[0], whole[5])


def test_features_stream_while_pictures_arrive():
    drawn = []

    def pictures():
        for number, part in enumerate(np.split(PICTURES[:64], 8)):
            drawn.append(number)
            yield part

    stream = features_of(network(), pictures(), MESH, batch=16)
    np.testing.assert_allclose(next(stream), EXPECTED[:16], atol=1e-5)
    assert len(drawn) == 4  # two parts fill a batch, and one batch is computed ahead
    assert [len(part) for part in stream] == [16, 16, 16]


def test_pictures_of_another_size_go_through_the_networks_own_resizing():
    shrink = lambda images, size: (images[:, ::2, ::2] / 127.5 - 1).astype(np.float32)
    large = PICTURES.repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_allclose(features(network(resize=shrink), large, MESH), EXPECTED, atol=1e-5)
    with pytest.raises(UserError, match=r"linear sees pictures of \[4, 4, 3\] .* and these are \[8, 8, 3\]"):
        features(network(), large, MESH)


@pytest.mark.parametrize("wrong, message", [
    (PICTURES.astype(np.float32), "must be uint8"),
    (PICTURES[0], r"uint8 \[N, H, W, C\], not uint8 \[4, 4, 3\]"),
    (PICTURES[..., :1], r"these are \[4, 4, 1\]"),
])
def test_wrong_pictures_are_refused(wrong, message):
    with pytest.raises(UserError, match=message):
        features(network(), wrong, MESH)
