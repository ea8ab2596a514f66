"""Makes prepared data out of a source: decode, check, resize, remove duplicates, write. Done once; see prepared.py.

The same source and options give the same bytes. Nothing in a picture or caption stops the run: what cannot be used is
dropped and listed in report.md. Memory holds captions and hashes; pixels wait in a file.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from PIL import Image
from tqdm import tqdm

from t2i_jax.data import cleaning, duplicates
from t2i_jax.data.prepared import FORMAT_VERSION, contents_fingerprint
from t2i_jax.data.report import Report, contact_sheet
from t2i_jax.data.sources import Example, Source
from t2i_jax.errors import UserError

SHEET = 256  # pictures on the contact sheet


class _Kept(NamedTuple):
    """A cleaned picture whose pixels wait at `row` of the pixel file."""

    row: int
    name: str
    split: str
    captions: tuple[str, ...]
    tags: dict[str, str]
    languages: dict[str, frozenset[str]]  # {caption: its languages}, {} where the source does not know


def prepare(source: Source, out: str | Path, *, resolution: int, channels: int = 3, denoise: bool = False,
            drop_near_duplicates: bool = False, threads: int = 0) -> Report:
    """Writes prepared data of `source` to the new folder `out`, complete or not at all.

    Pictures are cropped to a centred square and resized to `resolution` (at least 8; bicubic, antialiased), with 3
    channels or 1 for grey. Exact duplicates are removed: within a split the first stays and takes the others' captions,
    across splits the one in training stays. Near duplicates are reported; only if asked is each picture dropped that
    looks like an earlier one, training first. `denoise`: a 3x3 median filter before resizing. `threads`: for decoding,
    0 for one per core.
    UserError: impossible options, `out` not empty or not writable, no usable picture in training."""
    if resolution < duplicates.CELLS or channels not in (1, 3):
        raise UserError(f"resolution must be at least {duplicates.CELLS} and channels 1 or 3, "
                        f"not {resolution} and {channels}")
    started, out = time.monotonic(), Path(os.path.abspath(out))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} already exists: delete it, or choose another folder to write to")
    missing = [parent for parent in out.parents if not parent.exists()]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}") from error
    try:
        report = Report(source.name)
        for name, reason in source.problems:
            report.drop(name, "", reason)
        options = {"denoise": denoise, "drop_near_duplicates": drop_near_duplicates}
        with open(work / "pixels", "w+b") as spool:
            kept = _clean_all(source, spool, report, resolution, channels, denoise, threads)
            pixels = _view(spool, len(kept), resolution, channels)
            kept = _without_exact(kept, pixels, report)
            kept = _without_near(kept, pixels, report, drop_near_duplicates)
            if not any(item.split == "train" for item in kept):
                reasons = {row["reason"] for row in report.dropped}
                raise UserError(f"{source.name} has no usable training picture"
                                + (f": {'; '.join(sorted(reasons)[:3])}" if reasons else ""))
            splits = _write(kept, pixels, work, report)
            step = -(-len(kept) // SHEET)
            contact_sheet(np.stack([pixels[item.row] for item in kept[::step]])).save(work / "contact_sheet.png")
            del pixels
        (work / "pixels").unlink()
        info = {"format_version": FORMAT_VERSION, "source": source.name, "licence": source.licence,
                "resolution": resolution, "channels": channels, "filter": cleaning.FILTER, "options": options,
                "splits": splits, "fingerprint": ""}
        _write_json(work / "info.json", info)
        _write_json(work / "info.json", info | {"fingerprint": contents_fingerprint(work)})
        report.write(work)
        work.chmod(0o755)
        os.replace(work, out)
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
        for parent in missing if not out.exists() else ():
            with suppress(OSError):
                parent.rmdir()
    report.seconds = time.monotonic() - started
    return report


def _clean_all(source: Source, spool, report: Report, resolution: int, channels: int, denoise: bool,
               threads: int) -> list[_Kept]:
    """Cleans every example in order, pixels to the spool file."""

    def clean(example: Example) -> cleaning.Cleaned | str:
        try:
            return cleaning.clean(example.read(), example.captions, example.name, resolution=resolution,
                                  channels=channels, denoise=denoise)
        except cleaning.Unusable as reason:
            return str(reason)
        except Exception as error:  # one strange picture must not stop sixty thousand
            return f"cannot be read: {error}"

    kept: list[_Kept] = []
    with warnings.catch_warnings(), ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        warnings.simplefilter("ignore")  # Pillow's, on pictures that end up in the report anyway
        cleaned = _in_order(pool, clean, source.examples())
        for example, result in tqdm(cleaned, desc="preparing", total=source.count, unit="picture"):
            if isinstance(result, str):
                report.drop(example.name, example.split, result)
                continue
            for note in result.notes:
                report.note(example.name, example.split, note)
            kept.append(_Kept(len(kept), example.name, example.split, result.captions, example.tags,
                              _languages(example)))
            spool.write(result.image.tobytes())
    spool.flush()
    return kept


def _languages(example: Example) -> dict[str, frozenset[str]]:
    spoken: dict[str, frozenset[str]] = {}
    for caption, languages in zip(example.captions, example.languages):
        text = cleaning.tidy(caption)
        spoken[text] = spoken.get(text, frozenset()) | {*languages.split()}
    return spoken


def _in_order(pool: ThreadPoolExecutor, work, items: Iterable, ahead: int = 64) -> Iterator[tuple]:
    """(item, work(item)) in order, at most `ahead` at once in memory."""
    waiting = deque()
    for item in items:
        waiting.append((item, pool.submit(work, item)))
        if len(waiting) >= ahead:
            first, future = waiting.popleft()
            yield first, future.result()
    for first, future in waiting:
        yield first, future.result()


def _view(spool, count: int, resolution: int, channels: int) -> np.ndarray:
    shape = (count, resolution, resolution, channels)
    return np.memmap(spool, np.uint8, "r", shape=shape) if count else np.empty(shape, np.uint8)


def _without_exact(kept: list[_Kept], pixels: np.ndarray, report: Report) -> list[_Kept]:
    first: dict[bytes, int] = {}
    unique: list[_Kept] = []
    for item in kept:
        digest = hashlib.sha256(pixels[item.row]).digest()
        if digest not in first:
            first[digest] = len(unique)
            unique.append(item)
            continue
        original = unique[first[digest]]
        report.drop(item.name, item.split, f"exact duplicate: of {original.name} ({original.split})")
        if original.split == item.split:
            unique[first[digest]] = _joined(original, item)
    return unique


def _joined(original: _Kept, other: _Kept) -> _Kept:
    """`original` with the captions of the same picture elsewhere; its own last one, of every language, stays last."""
    nobody = frozenset()
    spoken = {text: original.languages.get(text, nobody) | other.languages.get(text, nobody)
              for text in (*original.languages, *other.languages)}
    last = {language: text for text in original.captions for language in original.languages.get(text, ())}
    detailed = [text for text in original.captions if text in last.values() or text == original.captions[-1]]
    general = [text for text in dict.fromkeys((*original.captions, *other.captions)) if text not in detailed]
    return original._replace(captions=(*general, *detailed), languages=spoken)


def _without_near(kept: list[_Kept], pixels: np.ndarray, report: Report, drop: bool) -> list[_Kept]:
    if not kept:
        return kept
    rows = np.array([item.row for item in kept])
    blocks = np.array_split(rows, -(-len(rows) // 1024))
    hashes = np.concatenate([duplicates.perceptual_hash(pixels[block]) for block in blocks])
    near = duplicates.near_duplicates(hashes, duplicates.NEAR[pixels.shape[-1]])
    report.near_duplicate_count = near.count
    for first, second, bits in near.nearest:
        report.near(kept[first], kept[second], bits)
    if not drop:
        return kept
    for item, later in zip(kept, near.later, strict=True):
        if later:
            report.drop(item.name, item.split, "near duplicate of an earlier picture")
    return [item for item, later in zip(kept, near.later, strict=True) if not later]


def _write(kept: list[_Kept], pixels: np.ndarray, work: Path, report: Report) -> dict[str, dict]:
    """Writes the pictures and captions of every split; returns what info.json says of each."""
    splits = {}
    for split in dict.fromkeys(item.split for item in kept):
        items = [item for item in kept if item.split == split]
        lines = "".join(json.dumps(_line(item), sort_keys=True) + "\n" for item in items).encode()
        (work / f"{split}.jsonl").write_bytes(lines)
        writer = ArrayRecordWriter(str(work / f"{split}.array_record"), "group_size:1,uncompressed")
        for item in items:
            writer.write(pixels[item.row].tobytes())
        writer.close()
        report.counts[split] = len(items)
        report.captions[split] = sum(len(item.captions) for item in items)
        splits[split] = {"count": len(items), "captions": report.captions[split],
                         "captions_sha256": hashlib.sha256(lines).hexdigest()}
    return splits


def _line(item: _Kept) -> dict:
    """What the .jsonl file says of a picture."""
    line = {"name": item.name, "captions": item.captions, "tags": item.tags}
    if item.languages:
        line["languages"] = [" ".join(sorted(item.languages.get(text, ()))) for text in item.captions]
    return line


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
