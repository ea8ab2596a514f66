"""Writes a model as one program that draws; `exported.py` says what it writes and reads it."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import jax
import jax.export
import numpy as np
from jax import Array
from safetensors.numpy import save_file

from t2i_jax.data.tokenizer import Tokenizer
from t2i_jax.errors import UserError
from t2i_jax.inference import exported
from t2i_jax.inference.pipeline import BUCKET, TextToImage
from t2i_jax.paths import flat, nested

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def export(model: TextToImage, weights: str, tokenizer: Tokenizer, text_length: int, out: Path,
           platforms: Sequence[str]) -> None:
    """Write `model`, whose captions `tokenizer` reads, to the new folder `out`, complete or not at all.

    weights: which it was loaded with. Options that are whole numbers stay at their defaults, others remain inputs. Raises UserError where `out` is in the way or
    cannot be written, and for an unknown platform.
    """
    for platform in platforms:
        if platform not in PLATFORMS:
            raise UserError(f"--platforms: {platform!r} is unknown; accepted: {', '.join(PLATFORMS)}")
    if out.exists():
        raise UserError(f"--out: {out} already exists; delete it, or name another folder")
    options = {name: default for name, default in model.system.options.items() if isinstance(default, float)}
    text = model.system.encode(["a picture"] * BUCKET)
    given = {"params": flat(model.params), "aux": flat(model.aux)}

    def draw(arrays: dict, text: dict, key_data: Array, options: dict) -> Array:
        whole = nested({**{f"{part}/{path}": x for part in given for path, x in given[part].items()}, **arrays})
        return model.system.generate(whole["params"], whole.get("aux", {}), text, jax.random.wrap_key_data(key_data), **options)

    inputs = text, np.zeros((BUCKET, 2), np.uint32), {name: np.float32(value) for name, value in options.items()}
    everything = {f"{part}/{path}": np.asarray(x) for part, paths in given.items() for path, x in paths.items()}
    arrays = read_of(draw, everything, *inputs)
    program = jax.export.export(jax.jit(draw), platforms=tuple(platforms))(arrays, *inputs)
    about = {
        "format": exported.FORMAT, "name": model.name, "weights": weights, "text_length": text_length, "options": options,
        "platforms": list(platforms), "versions": {name: version(name) for name in ("t2i_jax", "jax")},
    }
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        try:
            (work / exported.PROGRAM).write_bytes(program.serialize())
            save_file(arrays, work / exported.ARRAYS)
            (work / exported.TOKENIZER).write_text(tokenizer.to_json(), encoding="utf-8")
            files = {name: exported.sha256_of(work / name) for name in (exported.PROGRAM, exported.ARRAYS, exported.TOKENIZER)}
            (work / exported.ABOUT).write_text(json.dumps(about | {"files": files}, indent=2), encoding="utf-8")
            work.chmod(0o755)
            os.replace(work, out)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise UserError(f"--out: cannot write {out}: {error.strerror or error}") from error


def read_of(draw: Callable, arrays: Mapping[str, Array], *inputs) -> dict[str, Array]:
    """Those of `arrays` by path that `draw(arrays, *inputs)` reads; the others only served training."""
    traced = jax.make_jaxpr(lambda arrays: draw(arrays, *inputs))(arrays).jaxpr
    read = {id(variable) for equation in traced.eqns for variable in equation.invars}
    return {path: arrays[path] for path, variable in zip(sorted(arrays), traced.invars, strict=True) if id(variable) in read}
