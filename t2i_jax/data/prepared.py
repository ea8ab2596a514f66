"""Prepared data: a folder of square uint8 pictures with captions, read at random. Training reads nothing else.

    DIR/info.json              what is in it; written by prepare.py
    DIR/<split>.array_record   one record per picture: its pixels, row by row
    DIR/<split>.jsonl          one line per picture: {"captions", "name", "tags"}, and "languages", one entry for
                               each caption, where the source knows them
    DIR/features/              what language models made of the captions, see features.py; no part of the fingerprint
"""

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

from t2i_jax.errors import UserError

FORMAT_VERSION = 1


def read_info(directory: str | Path) -> dict[str, Any]:
    """The content of DIR/info.json. UserError where the folder is not prepared data of the version known here."""
    directory = Path(directory)
    if not directory.is_dir():
        raise UserError(f"prepared data {directory} does not exist: run t2i data prepare SOURCE --out {directory}")
    if not (directory / "info.json").is_file():
        raise UserError(f"{directory} holds no prepared data (no info.json): run t2i data prepare SOURCE --out DIR")
    try:
        info = json.loads((directory / "info.json").read_text(encoding="utf-8"))
        version = info["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{directory / 'info.json'} is damaged: prepare the data again") from error
    if version != FORMAT_VERSION:
        raise UserError(f"{directory} has format version {version}, this program reads {FORMAT_VERSION}: "
                        "prepare the data again, or use the version that made it")
    return info


def contents_fingerprint(directory: str | Path) -> str:
    """SHA-256 over all pictures and captions in order, read back from DIR. UserError where they are damaged.

    What language a caption is in is no part of it: training reads nothing of it."""
    info = read_info(directory)
    digest = hashlib.sha256(f"{info['format_version']} {info['resolution']} {info['channels']}".encode())
    for split in info["splits"]:
        data = Prepared(directory, split)
        digest.update(f"{split} {len(data)}".encode())
        for row in data.words:
            trained_on = {name: row[name] for name in ("captions", "name", "tags")}
            digest.update(json.dumps(trained_on, sort_keys=True).encode())
        for begin in range(0, len(data), 1024):
            digest.update(data.images(range(begin, min(begin + 1024, len(data)))).tobytes())
    return digest.hexdigest()


class Prepared:
    """One split of prepared data. `data[i]` is {"image": uint8 [H, W, C], "captions", "name", "tags"}.

    `fingerprint` names the contents of the whole folder. UserError where the folder is missing or damaged (which may
    show on a later read), or has no such split."""

    def __init__(self, directory: str | Path, split: str = "train"):
        self.directory, self.split = Path(directory), split
        self.info = read_info(directory)
        if split not in self.info["splits"]:
            raise UserError(f"{directory} has no split {split!r}: it has {', '.join(self.info['splits'])}")
        self.resolution: int = self.info["resolution"]
        self.channels: int = self.info["channels"]
        self.fingerprint: str = self.info["fingerprint"]
        self.licence: str = self.info["licence"]
        part = self.info["splits"][split]
        self._count: int = part["count"]
        self._words_sha256: str = part["captions_sha256"]
        self._pictures = self.directory / f"{split}.array_record"
        try:
            self._reader = ArrayRecordReader(str(self._pictures), "readahead_buffer_size:0")
            records = self._reader.num_records()
        except (RuntimeError, ValueError) as error:
            raise self._damaged(self._pictures) from error
        if records != self._count:
            raise self._damaged(self._pictures)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self._count:
            raise IndexError(f"picture {index} of {self._count}")
        return {"image": self.images([index])[0], **self.words[index]}

    def images(self, indices) -> np.ndarray:
        """Pictures by index [N]: uint8 [N, H, W, C]."""
        shape = (self.resolution, self.resolution, self.channels)
        out = np.empty((len(indices), *shape), np.uint8)
        try:
            for row, record in zip(out, self._reader.read([int(index) for index in indices]), strict=True):
                row[...] = np.frombuffer(record, np.uint8).reshape(shape)
        except (RuntimeError, ValueError, IndexError) as error:
            raise self._damaged(self._pictures) from error
        return out

    @cached_property
    def words(self) -> list[dict[str, Any]]:
        """Every picture's {"captions": tuple, "name", "tags"}, in order, with "languages" where they are known."""
        path = self.directory / f"{self.split}.jsonl"
        content = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(content).hexdigest() != self._words_sha256:
            raise self._damaged(path)
        rows = [json.loads(line) for line in content.decode().split("\n")[:-1]]
        return [row | {"captions": tuple(row["captions"])} for row in rows]

    def captions(self) -> list[str]:
        """Every caption of every picture, repeats included: what a tokenizer is trained on."""
        return [caption for row in self.words for caption in row["captions"]]

    @property
    def languages(self) -> list[str]:
        """The languages of the captions, sorted; none where the data do not say."""
        entries = {entry for row in self.words for entry in row.get("languages", ())}
        return sorted({language for entry in entries for language in entry.split()})

    def in_language(self, language: str) -> list[tuple[str, ...]]:
        """Every picture's captions in one language, general to detailed, () for those without; "" stands for all.

        UserError, naming --language, where the data have no captions that they know to be in it."""
        if not language:
            return [row["captions"] for row in self.words]
        if language not in self.languages:
            known = f"accepted: {', '.join(self.languages)}" if self.languages else (
                "they do not say which languages they have: prepare them again where the source knows, as openmoji")
            raise UserError(f"--language: no caption of {self.split} in {self.directory} is known to be in "
                            f"{language!r}; {known}")
        spoken = lambda row: zip(row["captions"], row["languages"], strict=True)
        return [tuple(text for text, entry in spoken(row) if language in entry.split()) for row in self.words]

    @staticmethod
    def _damaged(path: Path) -> UserError:
        return UserError(f"{path} is {'damaged' if path.is_file() else 'missing'}: prepare the data again")
