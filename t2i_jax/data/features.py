"""Captions read once: what a language model makes of every caption of prepared data, kept beside the pictures.

    DIR/features/<name>.array_record   one record per distinct caption: the features of its words, then of the sentence
    DIR/features/<name>.json           {"encoder", "sha256", "dtype", "length", "widths", "count", "fingerprint",
                                       "records_sha256"}: which model made them, how, and of which data

`name` says encoder, length and type, so that features of several language models lie side by side.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from tqdm import tqdm

from t2i_jax.data.prepared import Prepared, read_info
from t2i_jax.errors import UserError

CACHE_BYTES = 2**30  # features up to this size, unpacked, stay in memory
AT_ONCE = 1024  # captions encoded between two writes
DTYPES = ("float16", "float32")

Entries = dict[str, np.ndarray]


class Kind(NamedTuple):
    """Which features are meant."""

    encoder: str  # what the language model is called
    sha256: str  # of its weights, config and tokenizer
    length: int  # tokens of a caption; longer ones are cut
    dtype: str = "float16"

    @property
    def name(self) -> str:
        """Of the files."""
        return f"{self.sha256[:16]}-{self.length}-{self.dtype}"


def distinct_captions(directory: Path) -> list[str]:
    """Every different caption of all splits, in order: what features are stored of."""
    splits = [Prepared(directory, split) for split in read_info(directory)["splits"]]
    return list(dict.fromkeys(caption for split in splits for caption in split.captions()))


def write(directory: str | Path, kind: Kind, encode: Callable[[list[str], int], Entries]) -> int:
    """Store the features of all captions of the prepared data in `directory`; the number of captions.

    encode: (captions, length) -> {"words": [N, L, W], "words_mask": bool [N, L], "sentence": [N, S]}, words before padding.
    Complete or not at all; what is there already stays. UserError: a type that there is not, a folder that cannot be written.
    """
    directory = Path(directory)
    if kind.dtype not in DTYPES:
        raise UserError(f"--dtype: {kind.dtype!r} is unknown; accepted: {', '.join(DTYPES)}")
    captions, fingerprint = distinct_captions(directory), read_info(directory)["fingerprint"]
    records, about = _paths(directory, kind)
    if about.is_file():
        return len(captions)
    partial, widths = records.with_suffix(".partial"), ()
    try:
        records.parent.mkdir(exist_ok=True)
        writer = ArrayRecordWriter(str(partial), "group_size:1")
        try:
            with tqdm(total=len(captions), desc="reading captions", unit="caption") as bar:
                for start in range(0, len(captions), AT_ONCE):
                    made = encode(captions[start : start + AT_ONCE], kind.length)
                    widths = made["words"].shape[-1], made["sentence"].shape[-1]
                    for record in _packed(made, kind.dtype):
                        writer.write(record)
                    bar.update(len(made["sentence"]))
        finally:
            writer.close()
        os.replace(partial, records)
        text = {**kind._asdict(), "widths": widths, "count": len(captions), "fingerprint": fingerprint,
                "records_sha256": _sha256(records)}
        partial.write_text(json.dumps(text, indent=2) + "\n", encoding="utf-8")
        os.replace(partial, about)
    except OSError as error:
        raise UserError(f"cannot write to {records.parent}: {error.strerror or error}") from error
    return len(captions)


class Features:
    """The features of one kind that lie beside prepared data."""

    def __init__(self, directory: str | Path, kind: Kind):
        """UserError where there are none of this kind, they belong to other data, or they are damaged."""
        directory = Path(directory)
        self.kind = kind
        records, about = _paths(directory, kind)
        if not about.is_file():
            raise UserError(f"{directory} holds no features of encoder {kind.encoder!r} (SHA-256 {kind.sha256[:16]}...) with "
                            f"length {kind.length} and {kind.dtype}{_others(directory)}; run t2i data encode {directory} "
                            f"--encoder {kind.encoder} --length {kind.length} --dtype {kind.dtype}")
        try:
            self.about = json.loads(about.read_text(encoding="utf-8"))
            self._width, self._sentence_width = self.about["widths"]
            stated = Kind(*(self.about[name] for name in Kind._fields)), self.about["records_sha256"]
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(about) from error
        if stated[0].sha256 != kind.sha256:
            raise UserError(f"{about} was made by a language model with SHA-256 {stated[0].sha256}, not {kind.sha256}: "
                            "delete it and run t2i data encode again")
        if self.about["fingerprint"] != read_info(directory)["fingerprint"]:
            raise UserError(f"{about} belongs to other data than lie in {directory}: delete it and run t2i data encode again")
        if not records.is_file() or _sha256(records) != stated[1]:
            raise _damaged(records)
        captions = distinct_captions(directory)
        if len(captions) != self.about["count"]:
            raise _damaged(about)
        self._number = {caption: number for number, caption in enumerate(captions)}
        self._path = records

    def __contains__(self, caption: str) -> bool:
        return caption in self._number

    def rows(self, captions: Sequence[str]) -> Callable[[np.ndarray], Entries]:
        """Function from positions [N] in `captions`, all of them stored, to their {"words", "words_mask", "sentence"}.

        Small sets are read into memory, large ones on demand."""
        numbers = np.array([self._number[caption] for caption in captions], np.int64)
        reader = ArrayRecordReader(str(self._path), "readahead_buffer_size:0")
        read = lambda positions: self._unpacked(reader.read([int(number) for number in numbers[positions]]))
        if len(captions) * (self.kind.length + 1) * self._width * np.dtype(self.kind.dtype).itemsize > CACHE_BYTES:
            return read
        whole = read(np.arange(len(captions)))
        return lambda positions: {name: array[positions] for name, array in whole.items()}

    def _unpacked(self, records: Sequence[bytes]) -> Entries:
        words = np.zeros((len(records), self.kind.length, self._width), self.kind.dtype)
        mask = np.zeros(words.shape[:2], bool)
        sentence = np.zeros((len(records), self._sentence_width), self.kind.dtype)
        for row, record in enumerate(records):
            numbers = np.frombuffer(record, self.kind.dtype)
            found, sentence[row] = np.split(numbers, [len(numbers) - self._sentence_width])
            found = found.reshape(-1, self._width)
            words[row, : len(found)], mask[row, : len(found)] = found, True
        return {"words": words, "words_mask": mask, "sentence": sentence}


def _packed(made: Entries, dtype: str) -> Iterator[bytes]:
    """The record of each caption: features of its words without padding [n, W], then of the sentence [S]."""
    for words, mask, sentence in zip(made["words"], made["words_mask"], made["sentence"], strict=True):
        yield np.concatenate([words[mask].ravel(), sentence]).astype(dtype).tobytes()


def _paths(directory: Path, kind: Kind) -> tuple[Path, Path]:
    """Of records and of what is said of them."""
    return tuple(directory / "features" / f"{kind.name}{suffix}" for suffix in (".array_record", ".json"))


def _others(directory: Path) -> str:
    """What other features there are, for an error."""
    found = []
    for path in sorted((directory / "features").glob("*.json")):
        about = json.loads(path.read_text(encoding="utf-8"))
        found.append(f"{about.get('encoder')!r} ({str(about.get('sha256'))[:16]}..., length {about.get('length')}, "
                     f"{about.get('dtype')})")
    return f", only of {', '.join(found)}" if found else ""


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _damaged(path: Path) -> UserError:
    return UserError(f"{path} is {'damaged' if path.is_file() else 'missing'}: delete it and run t2i data encode again")
