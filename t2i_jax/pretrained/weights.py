"""Published weights: safetensors files of PyTorch implementations, read into linen variables.

A file is found by path or hub id, its SHA-256 is known before anything is read from it, and reading it runs no code.
"""

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
import numpy as np
from safetensors import SafetensorError, safe_open

from t2i_jax.errors import UserError
from t2i_jax.paths import flat, nested
from t2i_jax.pretrained import hub
from t2i_jax.pretrained.naming import Naming

PICKLES = (".pth", ".pt", ".bin", ".ckpt", ".pkl")
CONVERT = (
    'python -c "import sys, torch, safetensors.torch as s; d = torch.load(sys.argv[1], weights_only=True); '
    's.save_file({k: v.clone().contiguous() for k, v in d.items()}, sys.argv[2])" weights.pth weights.safetensors'
)
HUB_FILE = "model.safetensors"
INDEX = ".safetensors.index.json"

class Weights(NamedTuple):
    """A weights file, or several with one index, that was found and is what it should be."""

    path: Path
    sha256: str  # of the file; of several: see `joint_sha256`
    hashes: dict[str, str]  # {file name: SHA-256}
    shapes: dict[str, tuple[int, ...]]  # of every tensor
    files: dict[str, Path]  # where each tensor lies


def find(source: str | Path, sha256: str | None = None) -> Weights:
    """The safetensors file at a path, those that an index `*.safetensors.index.json` at a path lists, or
    `model.safetensors` of a hub id "owner/name" or "owner/name@revision".

    sha256: as the found `Weights` has it, hexadecimal; another file is refused. Raises UserError where a file is not
    there, cannot be downloaded, is not safetensors or has another hash.
    """
    path = _local(source)
    if path.suffix in PICKLES:
        raise UserError(f"{path}: files of this kind can run code when read; convert a trusted one once: {CONVERT}")
    several = path.name.endswith(INDEX)
    paths = _listed(path) if several else [path]
    hashes = {path.name: file_sha256(path) for path in paths}
    found = joint_sha256(hashes) if several else hashes[path.name]
    if sha256 is not None and found != sha256.strip().lower():
        raise UserError(f"{path}: its SHA-256 is {found}, not {sha256} as expected; get the file again from where the "
                        "expected hash is stated")
    shapes, files = {}, {}
    for one in paths:
        try:
            with safe_open(one, "numpy") as file:
                shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
                files |= dict.fromkeys(file.keys(), one)
        except SafetensorError as error:
            raise UserError(f"{one}: not a whole safetensors file: {error}") from error
    return Weights(path, found, hashes, shapes, files)


def load(weights: Weights, module: nn.Module, inputs: Sequence[jax.ShapeDtypeStruct], naming: Naming) -> dict:
    """Variables of `module`, which is called with arrays like `inputs`, as host arrays float32.

    Raises UserError naming tensors that are missing, have another shape, or have no place in the module.
    """
    for what, names in faults(weights, module, inputs, naming).items():
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise UserError(f"{weights.path} {what} {', '.join(names[:3])}{more}; is it the file of another network?")
    spelt = naming.spelt(weights.shapes)
    variables = {}
    with contextlib.ExitStack() as stack:
        opened = {path: stack.enter_context(safe_open(path, "numpy")) for path in set(weights.files.values())}
        for path, place in _expected(module, inputs, naming).items():
            name = spelt[place.name]
            array = np.asarray(opened[weights.files[name]].get_tensor(name), np.float32)
            variables[path] = np.ascontiguousarray(array.transpose(np.argsort(place.axes)))
    return nested(variables)


def faults(weights: Weights, module: nn.Module, inputs: Sequence[jax.ShapeDtypeStruct],
           naming: Naming) -> dict[str, list[str]]:
    """Tensors by which the file differs from what `load` needs: {what is wrong: names}, lists empty where nothing is."""
    wanted = {place.name: place.shape for place in _expected(module, inputs, naming).values()}
    shapes = {usual: weights.shapes[name] for usual, name in naming.spelt(weights.shapes).items()}
    known = lambda name: name in wanted or re.fullmatch(naming.unused, name)
    return {
        "lacks": [name for name in wanted if name not in shapes],
        "has tensors of another shape:": [
            f"{name} {list(shapes[name])} instead of {list(shape)}"
            for name, shape in wanted.items() if shapes.get(name, shape) != shape
        ],
        "has tensors without a place:": [name for name in shapes if not known(name)],
    }


def file_sha256(path: Path) -> str:
    """Of a file's content, hexadecimal. UserError where it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error


def joint_sha256(hashes: Mapping[str, str]) -> str:
    """One hash of several files {name: SHA-256}: that of the text `sha256sum` prints for them, sorted by name."""
    return hashlib.sha256("".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes)).encode()).hexdigest()


class _Place(NamedTuple):
    name: str  # published
    shape: tuple[int, ...]  # in the file
    axes: tuple[int, ...]  # where the file's are among linen's


def _expected(module: nn.Module, inputs: Sequence[jax.ShapeDtypeStruct], naming: Naming) -> dict[str, _Place]:
    expected = {}
    for path, spec in flat(jax.eval_shape(module.init, jax.random.key(0), *inputs)).items():
        axes = tuple(range(len(spec.shape)))
        if path.endswith("/kernel"):  # PyTorch: [out, in] or [out, in, h, w]; linen: [in, out] or [h, w, in, out]
            axes = {2: (1, 0), 4: (3, 2, 0, 1)}[len(axes)]
        expected[path] = _Place(naming.published(path), tuple(spec.shape[axis] for axis in axes), axes)
    return expected


def _listed(index: Path) -> list[Path]:
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        if not names or any(not isinstance(name, str) or Path(name).name != name for name in names):
            raise ValueError("its weight_map does not name files beside it")
    except OSError as error:
        raise UserError(f"{index}: cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{index}: not an index of safetensors files: {error}") from error
    return [index.parent / name for name in sorted(names)]


def _local(source: str | Path) -> Path:
    path = Path(source)
    if path.is_file() or path.suffix in (".safetensors", ".json", *PICKLES) or not hub.is_id(source):
        return path
    return hub.file(str(source), HUB_FILE)
