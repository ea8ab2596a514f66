"""Whether something could be written somewhere, asked before any work and without writing."""

import os
from pathlib import Path

from t2i_jax.errors import UserError


def check_writable(path: Path, option: str) -> None:
    """Raise UserError, naming `option`, where the nearest directory that exists above `path`, or `path`, forbids writing."""
    existing = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UserError(f"{option}: cannot write {path}: {existing} is not a directory that may be written to")
