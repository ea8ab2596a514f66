"""Files of a hub id "owner/name" or "owner/name@revision", by the package `huggingface_hub`."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from t2i_jax.errors import UserError

ID = r"(?P<repository>\w[\w.-]*/\w[\w.-]*?)(@(?P<revision>[\w./-]+))?"


def is_id(source: str | Path) -> bool:
    """Whether it is written like a hub id."""
    return re.fullmatch(ID, str(source)) is not None


def file(source: str, name: str) -> Path:
    """One file, downloaded unless it is in the hub's cache. UserError where it cannot be had."""
    return _fetched(source, name, lambda hub, repository, revision: hub.hf_hub_download(repository, name, revision=revision))


def directory(source: str, names: Sequence[str]) -> Path:
    """A directory with those files (patterns) that there are. UserError where none can be had."""
    return _fetched(source, "the model", lambda hub, repository, revision: hub.snapshot_download(
        repository, revision=revision, allow_patterns=list(names)))


def _fetched(source: str, what: str, get: Callable) -> Path:
    match = re.fullmatch(ID, source)
    try:
        import huggingface_hub
    except ImportError as error:
        raise UserError(f"{source}: no such file, and hub ids need the package {error.name}: run pip install "
                        "'t2i_jax[hub]'") from error
    try:
        return Path(get(huggingface_hub, match["repository"], match["revision"]))
    except Exception as error:  # whatever goes wrong here, the network, the hub or the id is to blame
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"{source}: no such file, and {what} of this hub id cannot be had: {reason}; download it "
                        "where there is a network and give its path") from error
