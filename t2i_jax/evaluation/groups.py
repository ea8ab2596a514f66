"""Which pictures and captions are judged: the training pictures, and each kind of held-out ones by itself."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from t2i_jax.data.prepared import Prepared
from t2i_jax.errors import UserError

READ = 1024  # pictures read at once


class Group(NamedTuple):
    """Pictures judged together."""

    name: str  # the split, and its cut where the split has several: "heldout_compositions/A"
    split: str
    images: np.ndarray  # uint8 [N, H, W, C]
    captions: list[tuple[str, ...]]  # of each picture, general to detailed
    asked: list[tuple[str, ...]]  # those of them in the language that is judged: all, unless one is chosen
    names: list[str]  # of each picture
    families: list[str]  # what each shows, "" where unknown

    @property
    def prompts(self) -> list[str]:
        """What is drawn and judged: each picture's most detailed caption."""
        return [captions[-1] for captions in self.asked]


def groups(data: Mapping[str, Prepared], num: int, seed: int, language: str = "") -> list[Group]:
    """The groups of the splits {name: prepared}, at most `num` pictures each, chosen by `seed`, in the data's order.

    language: pictures without a caption in it are left out, "" takes all. UserError where the data know of none."""
    found = []
    for split, prepared in data.items():
        asked = prepared.in_language(language)
        rows = prepared.words
        cuts = sorted({row["tags"].get("cut", "") for row in rows})
        for number, cut in enumerate(cuts):
            members = [i for i, row in enumerate(rows) if asked[i] and row["tags"].get("cut", "") == cut]
            index = np.array(members, np.int64)
            if not len(index):
                continue
            if len(index) > num:
                index = np.sort(np.random.default_rng([seed, number]).permutation(index)[:num])
            chosen = [rows[i] for i in index]
            found.append(Group(
                f"{split}/{cut}" if len(cuts) > 1 else split, split, prepared.images(index),
                [row["captions"] for row in chosen], [asked[i] for i in index], [row["name"] for row in chosen],
                [row["tags"].get("family", "") for row in chosen],
            ))
    return found


def all_images(prepared: Prepared) -> np.ndarray:
    """Every picture of a split: uint8 [N, H, W, C]."""
    starts = range(0, len(prepared), READ)
    return np.concatenate([prepared.images(range(start, min(start + READ, len(prepared)))) for start in starts])


def choose_splits(available: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """`wanted` in the order of `available`, all where none is wanted. UserError for a split that there is not."""
    for name in wanted:
        if name not in available:
            raise UserError(f"--split: the data have no split {name!r}; accepted: {', '.join(available)}")
    return [name for name in available if not wanted or name in wanted]


def caption_pool(*splits: Prepared, language: str = "") -> list[str]:
    """Every different caption of the splits, in order, in one language or all: what wrong captions are drawn from."""
    return list(dict.fromkeys(text for split in splits for texts in split.in_language(language) for text in texts))


def right_captions(captions: Sequence[tuple[str, ...]], pool: Sequence[str]) -> np.ndarray:
    """bool [N, M]: caption j of the pool is one of picture i's own, at any level of detail."""
    column = {caption: j for j, caption in enumerate(pool)}
    right = np.zeros((len(captions), len(pool)), bool)
    for i, own in enumerate(captions):
        right[i, [column[caption] for caption in own if caption in column]] = True
    return right


def captions_sha256(captions: Iterable[str]) -> str:
    """SHA-256 of a list of captions in order."""
    digest = hashlib.sha256()
    for caption in captions:
        digest.update(caption.encode() + b"\0")
    return digest.hexdigest()
