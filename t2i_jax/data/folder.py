"""A directory of pictures with captions, as people have them.

Captions come from the first of these that is there:
  1. `metadata.jsonl` or `metadata.csv` with `file_name` and `text` (repeated rows or, in JSON, a list give several)
  2. a COCO captions file: a .json, here or in `annotations/`, with `images` and `annotations[].caption`
  3. sidecar files: `cat.png` and `cat.txt`, one caption per line
  4. class folders: `tabby_cat/001.png` is captioned by the template, "tabby cat" unless told otherwise
Held out are the subfolders `heldout`, `test`, `val` or `validation` beside a subfolder `train`; without them, a
fraction chosen by a hash of the file's path, so that adding pictures never moves others between splits.
"""

import csv
import hashlib
import io
import json
import os
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from t2i_jax.data.sources import Example, Source
from t2i_jax.errors import UserError

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".webp", ".bmp", ".dib", ".tif", ".tiff",
                      ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".mpo"))
HELDOUT = ("heldout", "test", "val", "validation")

Captions = dict[str, list[str]]  # {path below the folder: captions}
Problems = list[tuple[str, str]]


def folder(path: str, template: str = "{}", heldout_fraction: float = 0.05) -> nullcontext[Source]:
    """Opens a directory as a source. UserError: missing, not a directory, no pictures, no captions."""
    root = Path(path)
    if not root.is_dir():
        raise UserError(f"data folder {path} {'is not a directory' if root.exists() else 'does not exist'}")
    parts = {"train": root}
    if (root / "train").is_dir():
        parts = {"train": root / "train"} | {name: root / name for name in HELDOUT if (root / name).is_dir()}
        if len(parts) == 1:
            parts = {"train": root}
    problems: Problems = []
    found = []
    total = 0
    for part, directory in parts.items():
        pictures = _pictures(directory)
        total += len(pictures)
        captions = _captions(directory, pictures, template, problems)
        for name in sorted(captions):
            split = "heldout" if part != "train" or (len(parts) == 1 and _chance(name) < heldout_fraction) else "train"
            label = name if len(parts) == 1 else f"{part}/{name}"
            found.append(Example(partial(Path.read_bytes, directory / name), tuple(captions[name]), label, split, {}))
    if not total and not found:
        raise UserError(f"data folder {path} holds no pictures ({', '.join(sorted(SUFFIXES))})")
    if not found:
        raise UserError(f"data folder {path} holds {total} pictures but no captions: add metadata.jsonl, metadata.csv, "
                        "a COCO captions .json, a .txt beside each picture, or one folder per class")
    found.sort(key=lambda example: example.split != "train")
    return nullcontext(Source(f"folder:{root.name}", "as given by the owner of the pictures", len(found),
                              partial(iter, found), tuple(problems)))


def _pictures(directory: Path) -> list[str]:
    """Paths below the directory of everything that looks like a picture, sorted; hidden files and folders left out."""
    pictures = []
    for here, folders, files in os.walk(directory):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for file in files:
            if Path(file).suffix.lower() in SUFFIXES and not file.startswith("."):
                pictures.append(Path(here, file).relative_to(directory).as_posix())
    return sorted(pictures)


def _captions(directory: Path, pictures: list[str], template: str, problems: Problems) -> Captions:
    table = _metadata(directory, problems)
    if table is None:
        table = _coco(directory, pictures, problems)
    if table is None:
        table = _sidecars(directory, pictures) or _classes(pictures, template)
    for name in sorted(set(table)):
        try:
            target = (directory / name).resolve()
            inside, there = target.is_relative_to(directory.resolve()), target.is_file()
        except (OSError, ValueError):  # a name no file can have
            inside, there = True, False
        if not (inside and there):
            problems.append((name, "captioned, but no such file" if inside else "lies outside the data folder"))
            del table[name]
    problems += [(name, "no caption") for name in pictures if name not in table]
    return table


def _text(path: Path) -> str:
    """A text file; bytes that are not UTF-8 become lone surrogates, which cleaning finds in the captions they hit."""
    return path.read_bytes().removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")


def _metadata(directory: Path, problems: Problems) -> Captions | None:
    table: Captions = {}
    rows: list[tuple[int, object]] = []
    if (directory / "metadata.jsonl").is_file():
        file = "metadata.jsonl"
        for number, line in enumerate(_text(directory / file).split("\n"), 1):
            if line.strip():
                try:
                    rows.append((number, json.loads(line)))
                except json.JSONDecodeError:
                    problems.append((f"{file} line {number}", "not JSON"))
    elif (directory / "metadata.csv").is_file():
        file = "metadata.csv"
        try:
            rows = list(enumerate(csv.DictReader(io.StringIO(_text(directory / file), newline="")), 2))
        except csv.Error as error:
            raise UserError(f"{directory / file} is not a CSV file: {error}") from error
    else:
        return None
    for number, row in rows:
        texts = row.get("text") if isinstance(row, dict) else None
        texts = [texts] if isinstance(texts, str) else texts
        name = row.get("file_name") if isinstance(row, dict) else None
        if not name or not isinstance(name, str) or not isinstance(texts, list):
            problems.append((f"{file} line {number}", "needs file_name and text"))
            continue
        table.setdefault(Path(name).as_posix(), []).extend(str(text) for text in texts)
    return table


def _coco(directory: Path, pictures: list[str], problems: Problems) -> Captions | None:
    for file in sorted([*directory.glob("*.json"), *directory.glob("annotations/*.json")]):
        try:
            content = json.loads(_text(file))
        except ValueError:
            problems.append((file.name, "not JSON"))
            continue
        if not isinstance(content, dict) or not {"images", "annotations"} <= set(content):
            continue
        by_name = {Path(name).name: name for name in pictures}  # COCO's file names leave the folder out
        known = set(pictures)
        table: Captions = {}
        try:
            files = {image["id"]: image["file_name"] for image in content["images"]}
            for annotation in content["annotations"]:
                if "caption" in annotation:
                    name = files[annotation["image_id"]]
                    name = name if name in known else by_name.get(Path(name).name, name)
                    table.setdefault(name, []).append(str(annotation["caption"]))
        except (KeyError, TypeError) as error:
            raise UserError(f"{file} is not a COCO captions file: {error!r} is missing or wrong") from error
        if table:
            return table
    return None


def _sidecars(directory: Path, pictures: list[str]) -> Captions:
    table: Captions = {}
    for name in pictures:
        sidecar = (directory / name).with_suffix(".txt")
        if sidecar.is_file():
            lines = [line.strip() for line in _text(sidecar).splitlines()]
            table[name] = [line for line in lines if line] or [""]
    return table


def _classes(pictures: list[str], template: str) -> Captions:
    return {name: [template.replace("{}", Path(name).parent.name.replace("_", " "))]
            for name in pictures if "/" in name}


def _chance(name: str) -> float:
    """A number in [0, 1) that depends on the path alone."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:8], "big") / 2**64
