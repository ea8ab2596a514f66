"""Weights files: found, verified, mapped; what is wrong with one is said by name."""

import shlex
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from t2i_jax.errors import UserError
from t2i_jax.models.vision_transformer import CLIPVision
from t2i_jax.pretrained import naming, weights

MODULE = CLIPVision(width=8, depth=2, heads=2, patch=4, embedding=6)
INPUTS = [jax.ShapeDtypeStruct((1, 12, 12, 3), np.float32)]
BLOCK = {
    **{f"self_attn.{name}_proj": (8, 8) for name in ("q", "k", "v", "out")},
    "mlp.fc1": (32, 8), "mlp.fc2": (8, 32), "layer_norm1": (8,), "layer_norm2": (8,),
}
LAYERS = {f"vision_model.encoder.layers.{number}.{name}": shape for number in (0, 1) for name, shape in BLOCK.items()}
BOTH = {**LAYERS, "vision_model.pre_layrnorm": (8,), "vision_model.post_layernorm": (8,)}
SHAPES = {
    **{f"{name}.weight": shape for name, shape in BOTH.items()},
    **{f"{name}.bias": shape[:1] for name, shape in BOTH.items()},
    "vision_model.embeddings.class_embedding": (8,),
    "vision_model.embeddings.patch_embedding.weight": (8, 3, 4, 4),
    "vision_model.embeddings.position_embedding.weight": (10, 8),
    "visual_projection.weight": (6, 8),
}
# Files hold the text tower too, and older ones a counter.
OTHERS = {"text_model.final_layer_norm.bias": (5,), "logit_scale": (), "text_projection.weight": (6, 5),
          "vision_model.embeddings.position_ids": (1, 10)}


@pytest.fixture
def tensors():
    random = np.random.default_rng(0)
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in {**SHAPES, **OTHERS}.items()}


@pytest.fixture
def written(tensors, tmp_path):
    path = tmp_path / "clip.safetensors"
    save_file(tensors, path)
    return path


def load(path: Path) -> dict:
    return weights.load(weights.find(path), MODULE, INPUTS, naming.CLIP_NAMES)["params"]


def test_kernels_are_turned_and_the_rest_is_taken_as_it_is(tensors, written):
    params = load(written)
    block, stored = params["block_1"], lambda name: tensors[f"vision_model.encoder.layers.1.{name}"]
    np.testing.assert_array_equal(block["attention"]["query"]["kernel"], stored("self_attn.q_proj.weight").T)
    np.testing.assert_array_equal(block["attention"]["out"]["bias"], stored("self_attn.out_proj.bias"))
    np.testing.assert_array_equal(block["outer"]["kernel"], stored("mlp.fc2.weight").T)
    np.testing.assert_array_equal(block["norm_2"]["scale"], stored("layer_norm2.weight"))
    positions = tensors["vision_model.embeddings.position_embedding.weight"]
    np.testing.assert_array_equal(params["position_embedding"], positions)
    patch = tensors["vision_model.embeddings.patch_embedding.weight"]
    np.testing.assert_array_equal(params["patch_embedding"]["kernel"][1, 3, 2, 5], patch[5, 2, 1, 3])


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16])
def test_half_precision_becomes_float32(dtype, tensors, tmp_path):
    save_file({name: array.astype(dtype) for name, array in tensors.items()}, tmp_path / "half.safetensors")
    kernel = load(tmp_path / "half.safetensors")["projection"]["kernel"]
    assert kernel.dtype == np.float32
    np.testing.assert_allclose(kernel, tensors["visual_projection.weight"].T, atol=0.01)


@pytest.mark.parametrize(("change", "said"), [
    (lambda t: t.pop("visual_projection.weight"), r"lacks visual_projection\.weight; is"),
    (lambda t: [t.pop(name) for name in SHAPES if ".layers.1." in name],
     r"lacks vision_model\.encoder\.layers\.1\..* and 13 more"),
    (lambda t: t.update({"vision_model.pre_layrnorm.bias": np.zeros(9, np.float32)}),
     r"another shape: vision_model\.pre_layrnorm\.bias \[9\] instead of \[8\]"),
    (lambda t: t.update({"vision_model.embeddings.patch_embedding.weight": np.zeros((4, 4, 3, 8), np.float32)}),
     r"patch_embedding\.weight \[4, 4, 3, 8\] instead of \[8, 3, 4, 4\]"),
    (lambda t: t.update({"vision_model.encoder.layers.2.mlp.fc1.bias": np.zeros(32, np.float32)}),
     r"without a place: vision_model\.encoder\.layers\.2\.mlp\.fc1\.bias"),
])
def test_wrong_tensors_are_refused_by_name(tensors, tmp_path, change, said):
    change(tensors)
    save_file(tensors, tmp_path / "wrong.safetensors")
    with pytest.raises(UserError, match=said) as error:
        load(tmp_path / "wrong.safetensors")
    assert "\n" not in str(error.value)


def test_the_hash_is_that_of_the_file_and_another_one_is_refused(written):
    found = weights.find(written)
    told = subprocess.run(["sha256sum", written], capture_output=True, text=True, check=True).stdout.split()[0]
    assert found.sha256 == told == weights.find(written, told.upper()).sha256
    content = bytearray(written.read_bytes())
    content[-1] ^= 1  # in the last tensor: nothing else would notice
    written.write_bytes(content)
    load(written)
    with pytest.raises(UserError, match=f"SHA-256 is (?!{told}).*, not {told}"):
        weights.find(written, told)


def test_files_that_could_run_code_are_refused_with_the_command_that_converts_them(tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"cos\nsystem\n(S'touch harmed'\ntR.")
    with pytest.raises(UserError, match=r"convert .* once: python -c .*weights_only=True") as error:
        weights.find(tmp_path / "weights.pth")
    assert "\n" not in str(error.value)


def test_the_converting_command_converts(tmp_path):
    torch = pytest.importorskip("torch", reason="writes a .pth; it comes with pip install 't2i_jax[parity]'")
    tied = torch.ones(2)
    torch.save({"a": torch.arange(6.0).reshape(2, 3).T, "b": tied, "c": tied}, tmp_path / "weights.pth")
    command = [sys.executable, *shlex.split(weights.CONVERT)[1:]]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert weights.find(tmp_path / "weights.safetensors").shapes == {"a": (3, 2), "b": (2,), "c": (2,)}


@pytest.mark.parametrize(("content", "said"), [
    (None, "No such file"), (b"<html>not found</html>", "not a whole safetensors file"), (b"", "not a whole"),
])
def test_what_is_no_weights_file_is_refused(tmp_path, content, said):
    path = tmp_path / "w.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=said):
        weights.find(path)


def test_a_truncated_file_is_refused(written):
    written.write_bytes(written.read_bytes()[:-100])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        weights.find(written)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A computer without network; its hub cache holds one file at two revisions."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="it comes with pip install 't2i_jax[hub]'")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for revision, commit in (("main", "a" * 40), ("old", "b" * 40)):
        repository = tmp_path / "hub" / "models--someone--clip-1.0"
        (repository / "refs").mkdir(parents=True, exist_ok=True)
        (repository / "refs" / revision).write_text(commit)
        (repository / "snapshots" / commit).mkdir(parents=True)
        save_file({revision: np.zeros(1, np.float32)}, repository / "snapshots" / commit / "model.safetensors")


def test_hub_ids_lead_to_their_file(hub):
    assert list(weights.find("someone/clip-1.0").shapes) == ["main"]
    assert list(weights.find("someone/clip-1.0@old").shapes) == ["old"]


@pytest.mark.parametrize("source", ["nobody/nothing", "someone/clip-1.0@new"])
def test_what_the_hub_cannot_give_is_said_in_one_line(hub, source):
    with pytest.raises(UserError, match=f"{source}: no such file, .*model.safetensors.*give its path") as error:
        weights.find(source)
    assert "\n" not in str(error.value)


def test_only_the_first_line_of_a_long_complaint_is_passed_on(monkeypatch):
    hub = pytest.importorskip("huggingface_hub", reason="it comes with pip install 't2i_jax[hub]'")

    def refuse(*_, **__):
        raise OSError("404 Client Error\n\nRepository Not Found\nPlease make sure you are logged in")

    monkeypatch.setattr(hub, "hf_hub_download", refuse)
    with pytest.raises(UserError, match="cannot be had: 404 Client Error; download it"):
        weights.find("someone/clip")


def test_without_the_hubs_package_one_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"huggingface_hub: run pip install 't2i_jax\[hub\]'"):
        weights.find("someone/clip")
    with pytest.raises(UserError, match="No such file"):  # a path, though one could read it as an id
        weights.find("weights/inception.safetensors")
