"""Published networks as FeatureNetworks: which one a file is, what pictures are turned into, what is stated."""

import hashlib

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from t2i_jax.distributed.mesh import make_mesh
from t2i_jax.errors import UserError
from t2i_jax.evaluation import towers
from t2i_jax.evaluation.network import features
from t2i_jax.evaluation.resize import resize
from t2i_jax.models.vision_transformer import DINOv2

PLAIN = towers.dinov2(8, 1, 2)._replace(module=DINOv2(8, 1, 2, patch=4, grid=3), size=8)
REGISTERS = towers.dinov2(8, 2, 2)._replace(module=DINOv2(8, 2, 2, patch=4, registers=2, grid=3), size=8)
BLOCKS = {"attention.attention.query": (8, 8), "attention.attention.key": (8, 8), "attention.attention.value": (8, 8),
          "attention.output.dense": (8, 8), "mlp.fc1": (32, 8), "mlp.fc2": (8, 32), "norm1": (8,), "norm2": (8,)}


def tensors(depth: int, registers: int) -> dict[str, np.ndarray]:
    shapes = {
        "embeddings.cls_token": (1, 1, 8), "embeddings.mask_token": (1, 8),
        "embeddings.position_embeddings": (1, 10, 8),
        "embeddings.patch_embeddings.projection.weight": (8, 3, 4, 4),
        "embeddings.patch_embeddings.projection.bias": (8,),
        "layernorm.weight": (8,), "layernorm.bias": (8,),
    }
    if registers:
        shapes["embeddings.register_tokens"] = (1, registers, 8)
    for number in range(depth):
        layer = f"encoder.layer.{number}."
        for name, shape in BLOCKS.items():
            shapes |= {f"{layer}{name}.weight": shape, f"{layer}{name}.bias": shape[:1]}
        shapes |= {f"{layer}layer_scale{half}.lambda1": (8,) for half in (1, 2)}
    random = np.random.default_rng(0)
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(towers.TOWERS, "dinov2", {"plain": PLAIN, "with registers": REGISTERS})


@pytest.fixture
def path(tmp_path):
    save_file(tensors(1, 0), tmp_path / "plain.safetensors")
    return tmp_path / "plain.safetensors"


def test_the_file_tells_which_one_it_is(path, tmp_path):
    assert towers.tower("dinov2", path).name == "dinov2 plain"
    save_file(tensors(2, 2), tmp_path / "registers.safetensors")
    assert towers.tower("dinov2", tmp_path / "registers.safetensors").name == "dinov2 with registers"
    lacking = {name: array for name, array in tensors(2, 2).items() if name != "layernorm.bias"}
    save_file(lacking, tmp_path / "one.safetensors")
    with pytest.raises(UserError, match=r"lacks layernorm\.bias; is"):
        towers.tower("dinov2", tmp_path / "one.safetensors")


def test_it_states_what_a_figure_made_with_it_must_state(path):
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    network = towers.tower("dinov2", str(path), sha256)
    assert (network.weights_sha256, network.size, network.dimension) == (sha256, 8, 8)
    assert network.filter.startswith("bicubic, antialiased")
    assert network.normalisation == "(level / 255 - mean) / std, mean 0.485, 0.456, 0.406, std 0.229, 0.224, 0.225"
    with pytest.raises(UserError, match="SHA-256"):
        towers.tower("dinov2", path, "0" * 64)


@pytest.mark.parametrize("side", [8, 13])
def test_features_of_pictures(path, side):
    pictures = np.random.default_rng(1).integers(0, 256, (5, side, side, 3), np.uint8)
    network = towers.tower("dinov2", path)
    found = features(network, pictures, make_mesh(), batch=4)
    levels = (resize(pictures, 8) + 1) * 127.5
    seen = (levels / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    expected = jax.jit(PLAIN.module.apply)(network.params, seen.astype(np.float32))
    assert found.shape == (5, 8) and np.abs(expected[0] - expected[1]).max() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_grey_pictures_are_seen_as_rgb_and_other_channels_are_refused(path):
    network = towers.tower("dinov2", path)
    grey = np.random.default_rng(1).integers(0, 256, (2, 8, 8, 1), np.uint8)
    rgb = features(network, grey.repeat(3, axis=-1), make_mesh())
    np.testing.assert_allclose(features(network, grey, make_mesh()), rgb, rtol=1e-5, atol=1e-5)
    with pytest.raises(UserError, match="grey or RGB pictures, not 4 channels"):
        features(network, grey.repeat(4, axis=-1), make_mesh())


def test_an_unknown_network_is_refused_with_those_there_are(path):
    with pytest.raises(UserError, match="'dino' is not known; accepted: inception, clip, dinov2"):
        towers.tower("dino", path)


@pytest.mark.parametrize(("one", "count"), [
    (towers.TOWERS["clip"]["ViT-B/32"], 87_849_216), (towers.TOWERS["clip"]["ViT-L/14"], 303_966_208),
    (towers.TOWERS["dinov2"]["ViT-S/14"], 22_056_192), (towers.TOWERS["dinov2"]["ViT-B/14 with registers"], 86_582_784),
], ids=lambda value: value if isinstance(value, int) else "")
def test_published_networks_have_as_many_parameters_as_the_reference(one, count):
    images = jax.ShapeDtypeStruct((1, one.size, one.size, 3), np.float32)
    features, variables = jax.eval_shape(one.module.init_with_output, jax.random.key(0), images)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == count  # Hugging Face's, less the mask token
    assert features.shape == (1, one.dimension)
