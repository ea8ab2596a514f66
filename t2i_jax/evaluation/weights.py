"""Published weights: safetensors files of PyTorch implementations, read into linen variables.

A file is found by path or hub id, its SHA-256 is known before anything is read from it, and reading it runs no code.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open

from t2i_jax.errors import UserError
from t2i_jax.paths import flat, nested

PICKLES = (".pth", ".pt", ".bin", ".ckpt", ".pkl")
CONVERT = (
    'python -c "import sys, torch, safetensors.torch as s; d = torch.load(sys.argv[1], weights_only=True); '
    's.save_file({k: v.contiguous() for k, v in d.items()}, sys.argv[2])" weights.pth weights.safetensors'
)
HUB_FILE = "model.safetensors"
HUB_ID = r"(?P<repository>[\w.-]+/[\w.-]+?)(@(?P<revision>[\w./-]+))?"
LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}

CLIP = {  # linen path -> name in Hugging Face's files; {} is the number of the block
    "class_embedding": "vision_model.embeddings.class_embedding",
    "position_embedding": "vision_model.embeddings.position_embedding.weight",
    "patch_embedding": "vision_model.embeddings.patch_embedding",
    "norm_before": "vision_model.pre_layrnorm",  # spelt so in the files
    "block/norm_1": "vision_model.encoder.layers.{}.layer_norm1",
    "block/attention/query": "vision_model.encoder.layers.{}.self_attn.q_proj",
    "block/attention/key": "vision_model.encoder.layers.{}.self_attn.k_proj",
    "block/attention/value": "vision_model.encoder.layers.{}.self_attn.v_proj",
    "block/attention/out": "vision_model.encoder.layers.{}.self_attn.out_proj",
    "block/norm_2": "vision_model.encoder.layers.{}.layer_norm2",
    "block/inner": "vision_model.encoder.layers.{}.mlp.fc1",
    "block/outer": "vision_model.encoder.layers.{}.mlp.fc2",
    "norm": "vision_model.post_layernorm",
    "projection": "visual_projection",
}
DINOV2 = {
    "class_token": "embeddings.cls_token",
    "register_tokens": "embeddings.register_tokens",
    "position_embeddings": "embeddings.position_embeddings",
    "patch_embedding": "embeddings.patch_embeddings.projection",
    "block/norm_1": "encoder.layer.{}.norm1",
    "block/attention/query": "encoder.layer.{}.attention.attention.query",
    "block/attention/key": "encoder.layer.{}.attention.attention.key",
    "block/attention/value": "encoder.layer.{}.attention.attention.value",
    "block/attention/out": "encoder.layer.{}.attention.output.dense",
    "block/scale_1": "encoder.layer.{}.layer_scale1.lambda1",
    "block/norm_2": "encoder.layer.{}.norm2",
    "block/inner": "encoder.layer.{}.mlp.fc1",
    "block/outer": "encoder.layer.{}.mlp.fc2",
    "block/scale_2": "encoder.layer.{}.layer_scale2.lambda1",
    "norm": "layernorm",
}


class Naming(NamedTuple):
    """How a network's variables are called in its published files."""

    modules: Mapping[str, str] | None  # linen path -> published name; None: the same, joined by points
    unused: str  # regular expression: tensors that belong to other parts, or to training


INCEPTION_NAMES = Naming(None, r"fc\..*|AuxLogits\..*|.*\.num_batches_tracked")
CLIP_NAMES = Naming(CLIP, r"text_model\..*|text_projection\..*|logit_scale|.*\.position_ids")
DINOV2_NAMES = Naming(DINOV2, r"embeddings\.mask_token")


class Weights(NamedTuple):
    """A weights file that was found and is what it should be."""

    path: Path
    sha256: str
    shapes: dict[str, tuple[int, ...]]  # of every tensor in it


def find(source: str | Path, sha256: str | None = None) -> Weights:
    """The safetensors file at a path, or `model.safetensors` of a hub id "owner/name" or "owner/name@revision".

    sha256: of the file, hexadecimal; another file is refused. Raises UserError where the file is not there, cannot be
    downloaded, is not safetensors or has another hash.
    """
    path = _local(source)
    if path.suffix in PICKLES:
        raise UserError(f"{path}: files of this kind can run code when read; convert a trusted one once: {CONVERT}")
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    if sha256 is not None and found != sha256.strip().lower():
        raise UserError(f"{path}: its SHA-256 is {found}, not {sha256} as expected; get the file again from where the "
                        "expected hash is stated")
    try:
        with safe_open(path, "numpy") as file:
            return Weights(path, found, {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()})
    except SafetensorError as error:
        raise UserError(f"{path}: not a whole safetensors file: {error}") from error


def load(weights: Weights, module: nn.Module, size: int, naming: Naming) -> dict:
    """Variables of `module`, which reads images [B, size, size, 3], as host arrays float32.

    Raises UserError naming tensors that are missing, have another shape, or have no place in the module.
    """
    for what, names in faults(weights, module, size, naming).items():
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise UserError(f"{weights.path} {what} {', '.join(names[:3])}{more}; is it the file of another network?")
    with safe_open(weights.path, "numpy") as file:
        return nested({
            path: np.asarray(file.get_tensor(place.name), np.float32).transpose(np.argsort(place.axes))
            for path, place in _expected(module, size, naming).items()
        })


def faults(weights: Weights, module: nn.Module, size: int, naming: Naming) -> dict[str, list[str]]:
    """Tensors by which the file differs from what `load` needs: {what is wrong: names}, lists empty where nothing is."""
    wanted = {place.name: place.shape for place in _expected(module, size, naming).values()}
    known = lambda name: name in wanted or re.fullmatch(naming.unused, name)
    return {
        "lacks": [name for name in wanted if name not in weights.shapes],
        "has tensors of another shape:": [
            f"{name} {list(weights.shapes[name])} instead of {list(shape)}"
            for name, shape in wanted.items() if weights.shapes.get(name, shape) != shape
        ],
        "has tensors without a place:": [name for name in weights.shapes if not known(name)],
    }


class _Place(NamedTuple):
    name: str  # published
    shape: tuple[int, ...]  # in the file
    axes: tuple[int, ...]  # where the file's are among linen's


def _expected(module: nn.Module, size: int, naming: Naming) -> dict[str, _Place]:
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    expected = {}
    for path, spec in flat(jax.eval_shape(module.init, jax.random.key(0), images)).items():
        axes = tuple(range(len(spec.shape)))
        if path.endswith("/kernel"):  # PyTorch: [out, in] or [out, in, h, w]; linen: [in, out] or [h, w, in, out]
            axes = {2: (1, 0), 4: (3, 2, 0, 1)}[len(axes)]
        expected[path] = _Place(_published(path, naming), tuple(spec.shape[axis] for axis in axes), axes)
    return expected


def _local(source: str | Path) -> Path:
    match = re.fullmatch(HUB_ID, str(source))
    path = Path(source)
    if path.is_file() or path.suffix in (".safetensors", *PICKLES) or not match:
        return path
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise UserError(f"{source}: no such file, and hub ids need the package {error.name}: run pip install "
                        "'t2i_jax[hub]'") from error
    try:
        return Path(hf_hub_download(match["repository"], HUB_FILE, revision=match["revision"]))
    except Exception as error:  # whatever goes wrong here, the network, the hub or the id is to blame
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"{source}: no such file, and {HUB_FILE} of this hub id cannot be had: {reason}; download it "
                        "where there is a network and give its path") from error


def _published(path: str, naming: Naming) -> str:
    _, *modules, leaf = path.split("/")  # the first is linen's collection
    ending = f".{LEAVES[leaf]}" if leaf in LEAVES else ""
    inner = "/".join(modules if ending else [*modules, leaf])
    if naming.modules is None:
        return inner.replace("/", ".") + ending
    number = re.match(r"block_(\d+)/", inner)
    return naming.modules[re.sub(r"^block_\d+/", "block/", inner)].format(number and number[1]) + ending
