"""Batches for training: order, captions and augmentation are functions of (seed, global example index) alone.

The global example index counts examples since the start of training; epoch e of N pictures is a shuffle of its own. A
checkpoint holds one number, the next index; nothing depends on how many processes share a batch.

Grain iterates and prefetches; one element of its data set is a whole stack of K batches, because work per picture in
Python would cost more than a small network's training step.
"""

from collections.abc import Iterator
from functools import lru_cache

import grain
import numpy as np
from einops import rearrange

from t2i_jax.data import augment as augmentation
from t2i_jax.data.augment import Augment
from t2i_jax.data.coupling import Coupling, normal
from t2i_jax.data.prepared import Prepared
from t2i_jax.data.randomness import bits, permutation, uniform
from t2i_jax.data.tokenizer import Tokenizer, caption_id

CACHE_BYTES = 512 * 2**20  # data sets up to this size stay in memory
ENDLESS = 2**48  # stacks of batches

Batch = dict[str, np.ndarray]


class Examples:
    """Prepared pictures and tokenized captions, ready to be gathered by number."""

    def __init__(self, prepared: Prepared, tokenizer: Tokenizer, text_length: int, noise: int = 0,
                 coupled: bool = True):
        self._prepared = prepared
        self._texts = list(dict.fromkeys(prepared.captions()))
        self._tokens, self._mask = tokenizer.encode(self._texts, text_length)
        self._ids = np.array([caption_id(text) for text in self._texts], np.uint32)
        number = {text: index for index, text in enumerate(self._texts)}
        rows = [[number[text] for text in row["captions"]] for row in prepared.words]
        self._counts = np.array([len(row) for row in rows], np.int64)
        self._captions = np.zeros((len(rows), self._counts.max()), np.int64)
        for row, numbers in zip(self._captions, rows, strict=True):
            row[: len(numbers)] = numbers
        real = np.arange(self._captions.shape[1]) < self._counts[:, None]
        self._all_ids = np.where(real, self._ids[self._captions], np.uint32(0))
        self._flippable = np.array([augmentation.may_flip(row["captions"]) for row in prepared.words])
        self._noise = noise
        self._coupling = Coupling(prepared, tokenizer, rows, noise) if noise and coupled else None
        size = len(prepared) * prepared.resolution**2 * prepared.channels
        self._pixels = prepared.images(range(len(prepared))) if size <= CACHE_BYTES else None

    def __len__(self) -> int:
        return len(self._prepared)

    def captions(self, pictures: np.ndarray, choice: np.ndarray | None = None) -> np.ndarray:
        """Numbers [N] of captions of the pictures [N]; `choice` [N] in [0, 1) picks, None the last, most detailed one."""
        counts = self._counts[pictures]
        return self._captions[pictures, counts - 1 if choice is None else (choice * counts).astype(np.int64)]

    def gather(self, pictures: np.ndarray, captions: np.ndarray) -> Batch:
        """A batch of the pictures [N] with captions of these numbers [N]."""
        images = self._prepared.images(pictures) if self._pixels is None else self._pixels[pictures]
        return {"image": images, "tokens": self._tokens[captions], "mask": self._mask[captions],
                "caption": self._ids[captions], "captions": self._all_ids[pictures]}

    def couple(self, pictures: np.ndarray, captions: np.ndarray, seed: int, index: np.ndarray) -> tuple[np.ndarray, Batch]:
        """Noise of the global example indices [N], and which of its caption's pictures each stands for."""
        if not self._noise:
            return pictures, {}
        noise = normal(seed, index, self._noise)
        if self._coupling is not None:
            pictures = self._coupling.choose(pictures, captions, noise)
        return pictures, {"noise": noise}

    def flippable(self, pictures: np.ndarray) -> np.ndarray:
        """bool [N]: pictures of whom no caption speaks of a side or of something that is read."""
        return self._flippable[pictures]


def batches(prepared: Prepared, tokenizer: Tokenizer, *, batch_size: int, scan_length: int, text_length: int, seed: int,
            start: int = 0, augment: Augment = Augment(), noise: int = 0, coupled: bool = True, process_index: int = 0,
            process_count: int = 1, prefetch: int = 2) -> Iterator[Batch]:
    """Endless stacks of K = `scan_length` batches; this process gets its B = `batch_size` / `process_count` of each.

    `start`: global index of the first example, what a checkpoint holds; a stack moves it by batch_size * scan_length.
    Leaves: image uint8 [K, B, H, W, C]; tokens int32 and mask bool [K, B, L]; caption uint32 [K, B], the number of the
    caption drawn; captions uint32 [K, B, C], the numbers of all captions of the picture, padded with 0 (a caption is
    wrong for a picture if it is none of these); index uint32 [K, B], low 32 bits of the global example index; where `noise`
    is not 0, noise float32 [K, B, noise], standard normal, which if `coupled` chose the picture among its caption's
    (coupling.py).
    The parts of all processes, put together along B in order, are the single-process batch."""
    if batch_size % process_count or not 0 <= process_index < process_count:
        raise ValueError(f"batch size {batch_size} over process {process_index} of {process_count}")
    stacks = _Stacks(Examples(prepared, tokenizer, text_length, noise, coupled), batch_size, scan_length, seed, start, augment,
                     process_index, process_count)
    options = grain.ReadOptions(num_threads=1 if prefetch else 0, prefetch_buffer_size=prefetch)
    return iter(grain.MapDataset.source(stacks).to_iter_dataset(options))


def first(prepared: Prepared, tokenizer: Tokenizer, count: int, text_length: int) -> Batch:
    """A fixed sample for fits at stage entry and for grids: the first `count` examples of the order with seed 0, each
    with its most detailed caption. Leaves as in `batches`, [count, ...]; starts over where the data are fewer."""
    examples = Examples(prepared, tokenizer, text_length)
    index = np.arange(count, dtype=np.uint64)
    pictures = _pictures(len(examples), 0, index)
    return examples.gather(pictures, examples.captions(pictures)) | {"index": index.astype(np.uint32)}


class _Stacks:
    """Random access to stacks of batches by number: what Grain calls a source."""

    def __init__(self, examples: Examples, batch_size: int, scan_length: int, seed: int, start: int, augment: Augment,
                 process_index: int, process_count: int):
        self._examples, self._seed, self._start, self._augment = examples, seed, start, augment
        self._shape = (scan_length, batch_size)
        share = batch_size // process_count
        self._share = slice(process_index * share, (process_index + 1) * share)

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, number: int) -> Batch:
        scan, batch = self._shape
        begin = self._start + number * scan * batch
        index = np.uint64(begin) + np.arange(scan * batch, dtype=np.uint64)
        index = index.reshape(self._shape)[:, self._share].ravel()
        pictures = _pictures(len(self._examples), self._seed, index)
        captions = self._examples.captions(pictures, uniform(bits(self._seed, "caption", index)))
        pictures, noise = self._examples.couple(pictures, captions, self._seed, index)
        data = self._examples.gather(pictures, captions) | noise
        data["image"] = augmentation.apply(self._augment, data["image"], self._examples.flippable(pictures),
                                           self._seed, index)
        data["index"] = index.astype(np.uint32)
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
