"""Checkpoints: arrays by Orbax, JSON beside them, sums of every file, a marker last.

    checkpoints/000000120000/   the name is the number of images seen
        state/                  the State, an Orbax tree of arrays
        run.json                what the arrays mean: format, stage, next example, config, data, versions
        tokenizer.json          what reads captions: a tokenizer, or the name and hash of a language model
        manifest.json           {file: {"bytes", "sha256"}} of all of the above
        COMMITTED               SHA-256 of manifest.json; a directory without it was never finished
    best.json                   {"images", "figure", "value"} of the best checkpoint, where one is chosen; see `best`

A flipped bit in an array file loads silently through Orbax, hence the sums; they are checked before every load.
Nothing here executes what it reads. Of several processes each writes its part of the arrays into one shared directory;
process 0 does all the rest, the marker when all have written.
"""

import hashlib
import json
import shutil
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

import jax
from orbax.checkpoint import v1 as ocp

from t2i_jax.distributed import together
from t2i_jax.errors import UserError
from t2i_jax.training.formats import upgraded

FORMAT = 3


class Damaged(UserError):
    """A checkpoint that is not what was written; names the file."""


class Run(NamedTuple):
    """What the arrays of a checkpoint mean; everything `load` needs beside them."""

    config: str  # JSON
    tokenizer: str  # JSON
    about: dict  # JSON-able: format, images, stage, next_example, data, versions, amendments, healthy, best, ...


class Checkpoints:
    """The checkpoints of one work directory. Saving goes on in the background; `wait` ends it."""

    def __init__(self, workdir: Path, keep: int = 2, keep_every: int = 0):
        """Keep the newest `keep`, for ever those at multiples of `keep_every` images (0: none), the best and the last
        healthy one.
        """
        self.directory = workdir.absolute() / "checkpoints"  # Orbax takes no relative paths
        self._keep, self._keep_every = keep, keep_every
        self._writer: threading.Thread | None = None
        self._failure: BaseException | None = None

    def save(self, state: Any, images: int, run: Run) -> None:
        """Copy `state` to the host, then write it in the background; every process its part. Waits for the save before.

        Raises UserError where the directory cannot be written.
        """
        self.wait()
        path = self.directory / f"{images:012d}"
        try:
            if together.here().first:
                if path.exists():
                    shutil.rmtree(path)
                path.mkdir(parents=True)
            response = ocp.save_async(path / "state", state)
        except OSError as error:
            raise UserError(f"checkpoint: cannot write {path}: {error.strerror or error}") from error
        self._writer = threading.Thread(target=self._finish, args=(path, run, response), name="checkpoint")
        self._writer.start()

    def _finish(self, path: Path, run: Run, response: Any) -> None:
        try:
            response.result()  # in process 0 not before all have written
            together.told(f"checkpoint {path.name}", lambda: self._commit(path, run))
        except BaseException as error:  # handed to the training thread, which names it
            self._failure = error

    def _commit(self, path: Path, run: Run) -> None:
        (path / "tokenizer.json").write_text(run.tokenizer, encoding="utf-8")
        (path / "run.json").write_text(
            json.dumps({**run.about, "format": FORMAT, "config": json.loads(run.config)}, indent=2), encoding="utf-8"
        )
        manifest = json.dumps({name: describe(path / name) for name in files(path)}, indent=2)
        (path / "manifest.json").write_text(manifest, encoding="utf-8")
        (path / "COMMITTED.partial").write_text(digest(manifest.encode()), encoding="utf-8")
        (path / "COMMITTED.partial").rename(path / "COMMITTED")
        self.name_best(run.about.get("best"))
        self._forget(run.about.get("best"))

    def name_best(self, best: dict | None) -> None:
        """Write `best` to best.json, at once or not at all; None removes it. The truth is in the newest run.json."""
        file = self.directory.parent / "best.json"
        if best is None:
            file.unlink(missing_ok=True)
        else:
            file.with_suffix(".partial").write_text(json.dumps(best), encoding="utf-8")
            file.with_suffix(".partial").replace(file)

    def _forget(self, best: dict | None) -> None:
        newest_first = committed(self.directory)[::-1]
        spared = newest_first[: self._keep] + [path for path in newest_first if healthy(path)][:1]
        for path in newest_first:
            kept = self._keep_every and int(path.name) % self._keep_every == 0
            if path not in spared and not kept and not (best and best["images"] == int(path.name)):
                remove(path)

    def wait(self) -> None:
        """Until the save under way is committed; raises UserError where it failed."""
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise UserError(f"checkpoint: saving to {self.directory} failed: {failure}") from failure

    def has(self, images: int) -> bool:
        """Whether there is a finished checkpoint at so many images."""
        return (self.directory / f"{images:012d}" / "COMMITTED").is_file()

    def remove_unfinished(self) -> None:
        """Delete what a killed run left half-written."""
        for path in self.directory.iterdir() if self.directory.is_dir() else ():
            if path.is_dir() and not (path / "COMMITTED").is_file():
                shutil.rmtree(path)


def files(path: Path) -> list[str]:
    """Relative names of all files that the manifest covers, sorted."""
    names = (file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    return sorted(name for name in names if name not in ("manifest.json", "COMMITTED"))


def describe(file: Path) -> dict:
    """Size and SHA-256 of one file."""
    with file.open("rb") as stream:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def digest(data: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def committed(directory: Path) -> list[Path]:
    """Finished checkpoints, oldest first."""
    paths = directory.iterdir() if directory.is_dir() else ()
    return sorted(path for path in paths if path.name.isdigit() and (path / "COMMITTED").is_file())


def healthy(path: Path) -> bool:
    """Whether nothing spoke of divergence when this finished checkpoint was saved."""
    try:
        return json.loads((path / "run.json").read_text(encoding="utf-8")).get("healthy", True)
    except (OSError, ValueError):  # damaged; `verify` says how
        return False


def remove(path: Path) -> None:
    """Delete a finished checkpoint; its marker first, for a half-deleted one must not look whole."""
    (path / "COMMITTED").unlink()
    shutil.rmtree(path)


def verify(path: Path) -> None:
    """Raise Damaged, naming the file, unless every file is what was written."""
    try:
        manifest = (path / "manifest.json").read_bytes()
    except OSError as error:
        raise Damaged(f"checkpoint {path}: manifest.json is missing") from error
    if digest(manifest) != (path / "COMMITTED").read_text(encoding="utf-8").strip():
        raise Damaged(f"checkpoint {path}: manifest.json was changed after it was written")
    for name, expected in json.loads(manifest).items():
        if not (path / name).is_file():
            raise Damaged(f"checkpoint {path}: {name} is missing")
        found = describe(path / name)
        if found["bytes"] != expected["bytes"]:
            raise Damaged(f"checkpoint {path}: {name} has {found['bytes']} bytes instead of {expected['bytes']}")
        if found["sha256"] != expected["sha256"]:
            raise Damaged(f"checkpoint {path}: {name} is damaged (its SHA-256 differs from the one written)")


def read_run(path: Path) -> Run:
    """The JSON side of a verified checkpoint; raises UserError for a format this version does not know."""
    about = json.loads((path / "run.json").read_text(encoding="utf-8"))
    if about["format"] > FORMAT:
        raise UserError(
            f"checkpoint {path} has format {about['format']}, this t2i_jax reads up to {FORMAT}; install the version "
            f"that wrote it, {about.get('versions', {}).get('t2i_jax', 'a newer one')}, or newer"
        )
    config = upgraded(about.pop("config"), about["format"])
    return Run(json.dumps(config), (path / "tokenizer.json").read_text(encoding="utf-8"), about)


def newest_good(workdir: Path) -> tuple[Path, Run] | None:
    """The newest checkpoint that verifies, saying on stderr which newer ones do not. None where none was ever saved.

    `workdir` may be a single checkpoint too; process 0 looks for all. Raises Damaged where checkpoints exist and all are
    damaged, UserError for a newer format.
    """
    found = together.told("newest checkpoint", lambda: _newest_good(workdir))
    if found is None:
        return None
    path = Path(found)
    if not (path / "COMMITTED").is_file():
        raise UserError(f"workdir: this process does not see {path}, which process 0 sees; give all processes one shared "
                        "file system")
    return path, read_run(path)


def _newest_good(workdir: Path) -> str | None:
    single = (workdir / "COMMITTED").is_file()
    damaged = None
    for path in [workdir] if single else reversed(committed(workdir / "checkpoints")):
        try:
            verify(path)
            return str(path.absolute())
        except Damaged as error:
            damaged = error
            print(f"t2i: {error}; trying the one before it", file=sys.stderr)
    if damaged is not None:
        raise Damaged(f"{damaged}; no earlier checkpoint in {workdir} is whole")
    return None


def load_state(path: Path, abstract: Any, part: bool = False) -> Any:
    """The State at `path` in the shapes, types and shardings of `abstract` (ShapeDtypeStructs).

    part: `abstract` is a dictionary of some of the State's fields, and holds what is wanted of them; the rest stays on disk.
    Raises UserError where the arrays do not fit.
    """
    context = ocp.Context()
    context.pytree.loading.partial_load = part
    try:
        with context:
            loaded = ocp.load(path.absolute() / "state", abstract)
    except (ValueError, KeyError) as error:
        raise UserError(f"checkpoint {path} does not fit the model its config describes: {error}") from error
    # Loading a part leaves what the checkpoint lacks as it was asked for.
    missing = [place for place, leaf in jax.tree.leaves_with_path(loaded) if isinstance(leaf, jax.ShapeDtypeStruct)]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(f"checkpoint {path} does not fit the model its config describes: it has no array "
                        f"{jax.tree_util.keystr(missing[0])}{more}; use the version of t2i_jax that wrote it")
    return loaded
