"""Where raw pictures come from: one interface in front of OpenMoji, handwritten digits, folders and TFDS."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

from t2i_jax.errors import UserError


class Example(NamedTuple):
    """One raw picture, before cleaning.

    `read()` gives its encoded file. Captions go from general to detailed
    where the source knows, else as given; bytes that are not UTF-8 are kept as lone surrogates for cleaning to find.
    Their languages, one entry for each caption, are () where the source does not know; a caption that two languages
    share has both, "en zh"."""

    read: Callable[[], bytes]
    captions: tuple[str, ...]
    name: str
    split: str
    tags: dict[str, str]
    languages: tuple[str, ...] = ()


class Source(NamedTuple):
    """A raw data set: `examples` yields `count` examples in a fixed order, those of split "train" first.

    `problems` lists (name, reason) of what could not even become an example, such as a picture without a caption."""

    name: str
    licence: str
    count: int
    examples: Callable[[], Iterator[Example]]
    problems: tuple[tuple[str, str], ...]


def open_source(name: str, path: str | None = None, *, languages: tuple[str, ...] = ("en",), template: str = "{}",
                heldout_fraction: float = 0.05, limit: int = 0) -> AbstractContextManager[Source]:
    """Opens "openmoji", "digits", "folder" (at `path`) or "tfds:<name>" (data_dir `path`): `with ... as source`.

    `languages` belongs to openmoji; `template` words a class name as a caption ("a photo of a {}"); `heldout_fraction`
    of a folder without subfolders for it is held out; `limit` keeps only so many pictures per split of
    OpenMoji or the digits. UserError for an unknown name, a missing or empty folder, a folder without captions."""
    match name.partition(":"):
        case ("openmoji", "", ""):
            from t2i_jax.data import tfds_source

            return tfds_source.openmoji(languages, limit)
        case ("digits", "", ""):
            from t2i_jax.data import digits

            return digits.digits(limit)
        case ("tfds", ":", dataset) if dataset:
            from t2i_jax.data import tfds_source

            return tfds_source.dataset(dataset, path, template)
        case ("folder", "", ""):
            from t2i_jax.data import folder

            if not path:
                raise UserError("the source 'folder' needs a path: the folder that holds the pictures")
            return folder.folder(path, template, heldout_fraction)
    raise UserError(f"unknown data source {name!r}: use openmoji, digits, folder (with a path) or tfds:<name>")
