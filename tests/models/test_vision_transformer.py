"""CLIP's image tower and DINOv2 against Hugging Face's, with random weights written by it and read by us."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references import REFERENCE, shaken

from t2i_jax.models.attention import EncoderBlock, quick_gelu
from t2i_jax.models.vision_transformer import CLIPVision, DINOv2, cubic_weights, interpolate
from t2i_jax.pretrained import naming, weights


def pictures(size: int) -> np.ndarray:
    """[3, size, size, 3], about as widely spread as normalised ones."""
    return np.asarray(2 * jax.random.normal(jax.random.key(0), (3, size, size, 3)))


def features(network, images: np.ndarray, field: str) -> np.ndarray:
    torch = pytest.importorskip("torch", reason=REFERENCE)
    with torch.no_grad():
        return network(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))[field].numpy()


def ours(module, network, size: int, names, tmp_path) -> np.ndarray:
    """Features of our module with what the reference saves as its published files are saved."""
    network.save_pretrained(tmp_path)
    spec = jax.ShapeDtypeStruct((1, size, size, 3), np.float32)
    variables = weights.load(weights.find(tmp_path / "model.safetensors"), module, [spec], names)
    return np.asarray(jax.jit(module.apply)(variables, pictures(size)))


def assert_equal(found: np.ndarray, expected: np.ndarray):
    assert np.abs(expected[0] - expected[1]).max() > 0.1  # the pictures matter
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("width", "depth", "heads", "patch", "grid", "embedding"),
                         [(32, 2, 2, 8, 3, 16), (48, 3, 4, 5, 4, 48)])
def test_clip_is_hugging_faces(width, depth, heads, patch, grid, embedding, tmp_path):
    transformers = pytest.importorskip("transformers", reason=REFERENCE)
    network = shaken(transformers.CLIPVisionModelWithProjection, transformers.CLIPVisionConfig(
        hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads, patch_size=patch,
        image_size=grid * patch, intermediate_size=4 * width, projection_dim=embedding,
    ))
    module = CLIPVision(width, depth, heads, patch, embedding)
    found = ours(module, network, grid * patch, naming.CLIP_NAMES, tmp_path)
    assert_equal(found, features(network, pictures(grid * patch), "image_embeds"))


@pytest.mark.parametrize("registers", [0, 4])
@pytest.mark.parametrize(("width", "depth", "heads", "patch", "grid", "shown"),
                         [(32, 2, 2, 6, 4, 4), (48, 3, 4, 4, 7, 3)])
def test_dinov2_is_hugging_faces(registers, width, depth, heads, patch, grid, shown, tmp_path):
    transformers = pytest.importorskip("transformers", reason=REFERENCE)
    sizes = {"hidden_size": width, "num_hidden_layers": depth, "num_attention_heads": heads, "patch_size": patch,
             "image_size": grid * patch}
    network = (shaken(transformers.Dinov2WithRegistersModel,
                      transformers.Dinov2WithRegistersConfig(**sizes, num_register_tokens=registers))
               if registers else shaken(transformers.Dinov2Model, transformers.Dinov2Config(**sizes)))
    module = DINOv2(width, depth, heads, patch, registers, grid)
    found = ours(module, network, shown * patch, naming.DINOV2_NAMES, tmp_path)
    assert_equal(found, features(network, pictures(shown * patch), "pooler_output"))


def test_cubic_weights_reproduce_a_line_and_keep_the_picture():
    np.testing.assert_allclose(cubic_weights(7, 7), np.eye(7), atol=1e-6)
    for old, new in ((37, 16), (5, 13)):
        matrix = cubic_weights(old, new)
        np.testing.assert_allclose(matrix.sum(1), 1, rtol=1e-6)
        inside = slice(2, -2) if new < old else slice(6, -6)
        line = (np.arange(new) + 0.5) * old / new - 0.5
        # With a = -3/4 a line comes out bent by up to |2a + 1| max t(1 - t)(1 - 2t) = 0.048 steps of the old grid.
        np.testing.assert_allclose((matrix @ np.arange(old))[inside], line[inside], atol=0.05)


def test_both_kinds_of_interpolation_move_positions_differently():
    places = jax.random.normal(jax.random.key(1), (6, 6, 2))
    plain, smooth = (interpolate(places, 3, 3, antialias) for antialias in (False, True))
    assert plain.shape == smooth.shape == (3, 3, 2) and jnp.abs(plain - smooth).max() > 0.1
    assert interpolate(places, 6, 6, antialias=True) is places


def test_layer_scale_of_zero_leaves_what_came_in():
    block = EncoderBlock(heads=2, hidden=32, activation=quick_gelu, epsilon=1e-6, layer_scale=True)
    h = jax.random.normal(jax.random.key(2), (2, 3, 8))
    params = dict(jax.jit(block.init)(jax.random.key(0), h)["params"])
    apply = jax.jit(block.apply)
    assert jnp.abs(apply({"params": params}, h) - h).max() > 0.1
    silent = {**params, "scale_1": jnp.zeros(8), "scale_2": jnp.zeros(8)}
    np.testing.assert_array_equal(apply({"params": silent}, h), h)
