"""A model as one program: what `export` writes, loaded without the code that built or trained the model.

    DIR/program.jax          StableHLO, by jax.export: (arrays, text entries, keys, options) -> pictures, for one batch size
    DIR/arrays.safetensors   the parameters that it reads, by path
    DIR/tokenizer.json       what makes text entries of captions
    DIR/model.json           what the model is called, its options, for which platforms; SHA-256 of the files above
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.export
from safetensors import SafetensorError
from safetensors.numpy import load_file

from t2i_jax.data.tokenizer import Tokenizer
from t2i_jax.errors import UserError

FORMAT = 1
PROGRAM, ARRAYS, TOKENIZER, ABOUT = "program.jax", "arrays.safetensors", "tokenizer.json", "model.json"


class Program(NamedTuple):
    """Those fields of a system that drawing needs."""

    encode: Callable[[list[str]], dict]
    generate: Callable[..., jax.Array]
    options: Mapping[str, float]
    blends: bool = False  # prompts are never added up
    codec: None = None


def is_exported(directory: Path) -> bool:
    """Whether `export` wrote this directory."""
    return (directory / ABOUT).is_file() and (directory / PROGRAM).is_file()


def read(directory: Path) -> tuple[Program, dict, dict]:
    """(program, its arrays by path, what model.json says). Reads arrays, JSON and StableHLO; runs no Python of the file's.

    Raises UserError where a file is not what was written, a newer version wrote it, or it is for other platforms.
    """
    about = json.loads((directory / ABOUT).read_text(encoding="utf-8"))
    if about["format"] > FORMAT:
        raise UserError(f"{directory} has format {about['format']}, this t2i_jax reads up to {FORMAT}; install "
                        f"{about['versions']['t2i_jax']} or newer")
    for name, sha256 in about["files"].items():
        if not (directory / name).is_file() or sha256_of(directory / name) != sha256:
            raise UserError(f"{directory / name} is missing or is not what was exported (its SHA-256 differs); export again")
    if jax.default_backend() not in about["platforms"]:
        raise UserError(f"{directory} was exported for {', '.join(about['platforms'])}, not for {jax.default_backend()}; "
                        f"export again with --platforms {jax.default_backend()}")
    try:
        arrays = load_file(directory / ARRAYS)
    except SafetensorError as error:
        raise UserError(f"{directory / ARRAYS} does not load: {error}; export again") from error
    exported = jax.export.deserialize(bytearray((directory / PROGRAM).read_bytes()))
    tokenizer = Tokenizer.from_json((directory / TOKENIZER).read_text(encoding="utf-8"))

    def generate(params: dict, aux: dict, text: dict, keys: jax.Array, **options: Any) -> jax.Array:
        return exported.call(params, text, jax.random.key_data(keys), options)

    program = Program(lambda captions: tokenizer.arrays(captions, about["text_length"]), generate, about["options"])
    return program, jax.device_put(arrays), about


def sha256_of(file: Path) -> str:
    """Of a file, hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
