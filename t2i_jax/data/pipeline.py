"""Batches for training: order, captions and augmentation are functions of (seed, global example index) alone.

The global example index counts examples since the start of training; epoch e of N pictures is a shuffle of its own. A
checkpoint holds one number, the next index; nothing depends on how many processes share a batch.

Grain iterates and prefetches; one element of its data set is a whole stack of K batches, because work per picture in
Python would cost more than a small network's training step.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Protocol

import grain
import numpy as np
from einops import rearrange

from t2i_jax.data import augment as augmentation
from t2i_jax.data.augment import Augment
from t2i_jax.data.completion import Completed
from t2i_jax.data.coupling import Coupling, normal
from t2i_jax.data.prepared import Prepared
from t2i_jax.data.randomness import bits, permutation, uniform
from t2i_jax.data.tokenizer import Tokenizer, caption_id

CACHE_BYTES = 512 * 2**20  # data sets up to this size stay in memory
ENDLESS = 2**48  # stacks of batches

WHOLE = "whole_"  # before the names of the text entries of whole sentences
CHOICE = "choice_"  # before the names of what belongs to draws of noise that have no picture beside them

Batch = dict[str, np.ndarray]


class Text(Protocol):
    """What turns captions into the text entries of a batch: a Tokenizer, or one of `pretrained/captions.py`."""

    def arrays(self, captions: Sequence[str], length: int) -> Batch:
        """The entries of captions, [N, ...] each, of at most `length` tokens a caption."""

    def rows(self, captions: Sequence[str], length: int) -> Callable[[np.ndarray], Batch]:
        """Function from positions [N] in `captions` to the entries of those."""

    def to_json(self) -> str:
        """What a checkpoint keeps of it."""


def fit_in_memory(prepared: Prepared) -> bool:
    """Whether its pictures are few enough to stay there."""
    return len(prepared) * prepared.resolution**2 * prepared.channels <= CACHE_BYTES


class Examples:
    """Prepared pictures and captions as text entries, ready to be gathered by number."""

    def __init__(self, prepared: Prepared, text: Text, text_length: int, noise: int = 0,
                 tokenizer: Tokenizer | None = None, coupled: bool = True, whole: bool = False,
                 completed: Completed | None = None):
        """tokenizer: by whose tokens noise chooses among pictures, where `text` is none itself; read if noise is `coupled`.

        whole: give whole sentences too, see `batches`.
        completed: pictures that come after the prepared ones and are shown with their own, last caption alone, so that what
        other captions leave open stays as often one thing or another as it is in the data."""
        self._prepared = prepared
        captions = [row["captions"] for row in prepared.words] + (completed.captions if completed else [])
        self._texts = list(dict.fromkeys(caption for own in captions for caption in own))
        self._text = text.rows(self._texts, text_length)
        self._ids = np.array([caption_id(caption) for caption in self._texts], np.uint32)
        number = {caption: index for index, caption in enumerate(self._texts)}
        rows = [[number[caption] for caption in own] for own in captions]
        self._counts = np.array([len(row) for row in rows], np.int64)
        self._told = np.arange(len(rows)) >= len(prepared)
        self._captions = np.zeros((len(rows), self._counts.max()), np.int64)
        for row, numbers in zip(self._captions, rows, strict=True):
            row[: len(numbers)] = numbers
        real = np.arange(self._captions.shape[1]) < self._counts[:, None]
        self._all_ids = np.where(real, self._ids[self._captions], np.uint32(0))
        self._flippable = np.array([augmentation.may_flip(own) for own in captions])
        self._general = None  # bool: captions of several pictures, where whole sentences are asked for
        if whole:
            self._general = np.bincount([number for row in rows for number in set(row)], minlength=len(self._texts)) > 1
            own = real & ~self._told[:, None]
            some = own & self._general[self._captions]
            self._open = np.argwhere(some if some.any() else own)  # (picture, place) of general captions, else of all
            self._often = np.cumsum(1 / self._counts[self._open[:, 0]])  # how often `captions` draws them, added up
        self._noise = noise
        self._coupling = Coupling(prepared, tokenizer or text, rows[: len(prepared)], noise) if noise and coupled else None
        self._pixels = prepared.images(range(len(prepared))) if fit_in_memory(prepared) else None
        self._completed = completed

    def __len__(self) -> int:
        return len(self._counts)

    def captions(self, pictures: np.ndarray, choice: np.ndarray | None = None) -> np.ndarray:
        """Numbers [N] of captions of the pictures [N]; `choice` [N] in [0, 1) picks, None the last, most detailed one.

        Completed pictures go by their last one always."""
        counts = self._counts[pictures]
        places = counts - 1
        if choice is not None:
            places = np.where(self._told[pictures], places, (choice * counts).astype(np.int64))
        return self._captions[pictures, places]

    def gather(self, pictures: np.ndarray, captions: np.ndarray) -> Batch:
        """A batch of the pictures [N] with captions of these numbers [N]."""
        return {"image": self._images(pictures), **self._said(pictures, captions), "caption": self._ids[captions],
                "captions": self._all_ids[pictures], "picture": pictures.astype(np.int32)}

    def _said(self, pictures: np.ndarray, captions: np.ndarray) -> Batch:
        """The text entries of captions of these numbers [N], and of whole sentences where they are asked for."""
        text = self._text(captions)
        if self._general is not None:
            whole = np.where(self._general[captions], self.captions(pictures), captions)
            text |= {WHOLE + name: entry for name, entry in self._text(whole).items()}
        return text

    def _images(self, pictures: np.ndarray) -> np.ndarray:
        """Prepared and completed pictures by number [N]: uint8 [N, H, W, C]."""
        told = self._told[pictures]
        real = np.where(told, 0, pictures)
        images = self._prepared.images(real) if self._pixels is None else self._pixels[real]
        if self._completed is not None:
            images[told] = self._completed.images[pictures[told] - len(self._prepared)]
        return images

    def couple(self, pictures: np.ndarray, captions: np.ndarray, seed: int, index: np.ndarray,
               draw: str = "noise") -> tuple[np.ndarray, Batch]:
        """Noise of the global example indices [N], and which of its caption's pictures each stands for; `draw` names it."""
        if not self._noise:
            return pictures, {}
        noise = normal(seed, index, self._noise, draw)
        if self._coupling is not None:
            pictures = self._coupling.choose(pictures, captions, noise)
        return pictures, {"noise": noise}

    def choices(self, count: int, seed: int, index: np.ndarray) -> Batch:
        """`count` draws of noise for each global example index [N], under captions of several pictures: leaves [N, count, ...].

        Such captions come as often beside each other as `captions` picks them. Data that have none give any."""
        places = (index[:, None] * np.uint64(count) + np.arange(count, dtype=np.uint64)).ravel()
        drawn = np.searchsorted(self._often, uniform(bits(seed, "choice", places)) * self._often[-1], side="right")
        pictures, slots = self._open[np.minimum(drawn, len(self._open) - 1)].T
        captions = self._captions[pictures, slots]
        pictures, noise = self.couple(pictures, captions, seed, places, CHOICE)
        entries = self._said(pictures, captions) | noise
        return {CHOICE + name: rearrange(leaf, "(n c) ... -> n c ...", c=count) for name, leaf in entries.items()}

    def flippable(self, pictures: np.ndarray) -> np.ndarray:
        """bool [N]: pictures of whom no caption speaks of a side or of something that is read."""
        return self._flippable[pictures]


def batches(prepared: Prepared, text: Text, *, batch_size: int, scan_length: int, text_length: int, seed: int,
            start: int = 0, augment: Augment = Augment(), noise: int = 0, coupled: bool = True,
            whole: bool = False, choices: int = 0, tokenizer: Tokenizer | None = None, completed: Completed | None = None,
            rows: np.ndarray | None = None, prefetch: int = 2) -> Iterator[Batch]:
    """Endless stacks of K = `scan_length` batches, of each the B = len(rows) places that this process reads, all by default.

    `start`: global index of the first example, what a checkpoint holds; a stack moves it by batch_size * scan_length.
    Leaves: image uint8 [K, B, H, W, C]; the entries of `text`, such as tokens int32 and mask bool [K, B, L]; caption uint32
    [K, B], the number of the caption drawn; captions uint32 [K, B, C], the numbers of all captions of the picture, padded with
    0 (a caption is wrong for a picture if it is none of these); picture int32 [K, B], its number, completed ones after prepared ones;
    index uint32 [K, B], low 32 bits of the global example index;
    where `noise` is not 0, noise float32 [K, B, noise], standard normal, which if `coupled` chose the picture among its
    caption's (coupling.py); if `whole` the entries of `text` again, WHOLE before their names, of whole sentences: the caption
    itself where it stands for this picture alone, else the picture's most detailed one; of as many `choices` [K, B, choices, ...],
    CHOICE before their names, the same entries and noise of captions that stand for several pictures. An epoch shows `completed`
    pictures too (completion.py). What a place holds does not depend on which others are read beside it."""
    rows = np.arange(batch_size) if rows is None else rows
    examples = Examples(prepared, text, text_length, noise, tokenizer, coupled, whole, completed)
    stacks = _Stacks(examples, batch_size, scan_length, seed, start, augment, rows, choices)
    options = grain.ReadOptions(num_threads=1 if prefetch else 0, prefetch_buffer_size=prefetch)
    return iter(grain.MapDataset.source(stacks).to_iter_dataset(options))


def first(prepared: Prepared, text: Text, count: int, text_length: int) -> Batch:
    """A fixed sample for fits at stage entry and for grids: the first `count` examples of the order with seed 0, each
    with its most detailed caption. Leaves as in `batches`, [count, ...]; starts over where the data are fewer."""
    examples = Examples(prepared, text, text_length)
    index = np.arange(count, dtype=np.uint64)
    pictures = _pictures(len(examples), 0, index)
    return examples.gather(pictures, examples.captions(pictures)) | {"index": index.astype(np.uint32)}


def shown(prepared: Prepared, count: int) -> list[tuple[str, np.ndarray]]:
    """(caption, picture uint8 [H, W, C]) of the examples that `first` samples."""
    pictures = _pictures(len(prepared), 0, np.arange(count, dtype=np.uint64))
    captions = [prepared.words[picture]["captions"][-1] for picture in pictures]
    return list(zip(captions, prepared.images(pictures), strict=True))


class _Stacks:
    """Random access to stacks of batches by number: what Grain calls a source."""

    def __init__(self, examples: Examples, batch_size: int, scan_length: int, seed: int, start: int, augment: Augment,
                 rows: np.ndarray, choices: int):
        self._examples, self._seed, self._start, self._augment = examples, seed, start, augment
        self._shape, self._rows, self._choices = (scan_length, batch_size), rows, choices

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, number: int) -> Batch:
        scan, batch = self._shape
        begin = self._start + number * scan * batch
        index = np.uint64(begin) + np.arange(scan * batch, dtype=np.uint64)
        index = index.reshape(self._shape)[:, self._rows].ravel()
        pictures = _pictures(len(self._examples), self._seed, index)
        captions = self._examples.captions(pictures, uniform(bits(self._seed, "caption", index)))
        pictures, noise = self._examples.couple(pictures, captions, self._seed, index)
        data = self._examples.gather(pictures, captions) | noise
        data["image"] = augmentation.apply(self._augment, data["image"], self._examples.flippable(pictures),
                                           self._seed, index)
        data["index"] = index.astype(np.uint32)
        if self._choices:
            data |= self._examples.choices(self._choices, self._seed, index)
        return {name: rearrange(leaf, "(k b) ... -> k b ...", k=scan) for name, leaf in data.items()}


def _pictures(count: int, seed: int, index: np.ndarray) -> np.ndarray:
    """Which picture each global example index [N] shows: every epoch of `count` is a shuffle."""
    epochs, places = np.divmod(index, np.uint64(count))
    pictures = np.empty(len(index), np.int64)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        pictures[here] = _order(count, seed, int(epoch))[places[here]]
    return pictures


@lru_cache(maxsize=4)
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    return permutation(seed, epoch, count)
