"""What a run trains on: its source prepared once into the work directory, a tokenizer learnt from its captions."""

import dataclasses
import os
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from t2i_jax.data import pipeline
from t2i_jax.data.augment import Augment
from t2i_jax.data.completion import Completed, complete
from t2i_jax.data.prepare import prepare
from t2i_jax.data.prepared import Prepared, read_info
from t2i_jax.data.sources import open_source
from t2i_jax.data.tokenizer import Tokenizer
from t2i_jax.errors import UserError


# What of the section below decides which pictures and captions are prepared, beside the path.
PICTURES = ("source", "resolution", "channels", "languages", "template", "heldout_fraction", "limit", "denoise",
            "drop_near_duplicates")


@dataclasses.dataclass(frozen=True)
class DataOptions:
    """The config section `data`."""

    source: str  # openmoji, digits, folder or tfds:<name>
    resolution: int  # pixels of a side
    path: str = ""  # of a folder; a folder that `t2i data prepare` wrote is read in place
    channels: int = 3  # 1 = grey
    languages: tuple[str, ...] = ("en",)  # of OpenMoji's captions
    template: str = "{}"  # words a class name as a caption
    heldout_fraction: float = 0.05  # of a folder that has no held-out part of its own
    limit: int = 0  # OpenMoji pictures or digits a split, 0 = all
    denoise: bool = False  # 3x3 median before resizing
    drop_near_duplicates: bool = False
    flip: bool = False  # augmentation: mirrored, unless a caption speaks of a side
    rotate: float = 0.0  # up to so many degrees
    scale: float = 0.0  # up to so much smaller or larger, 0.1 = 10 %
    vocabulary: int = 4096  # tokens learnt from the training captions, at most
    text_length: int = 24  # tokens of a caption; longer ones are cut with a warning
    sample: int = 2048  # pictures that stages fit their starts to
    noise: int = 0  # dimensions of noise beside every example; 0: captions and pictures alone
    coupled: bool = True  # noise chooses among the pictures of one caption: fitted to all pictures when training begins
    whole: bool = False  # beside a caption of several pictures, the chosen picture's most detailed one: for generator.kind "choosing"
    choices: int = 0  # draws of noise beside each example, under captions of several pictures; `whole` alone. They show no picture
    complete: bool = False  # also pictures for captions that the data lack, where others tell them: see completion.py

    def __post_init__(self):
        if self.choices and not (self.whole and self.noise):
            raise UserError(f"config: data.choices = {self.choices} is impossible; accepted: 0 where data.whole is False or "
                            "data.noise 0, because noise chooses whole sentences")


Shape = tuple[tuple[int, ...], np.dtype]  # without the axes of a batch, and the type


def example_shapes(options: DataOptions, text: dict[str, Shape], captions: int) -> dict[str, Shape]:
    """What `pipeline.batches` gives of one example; text: the captions' entries, captions: how many the picture with most has."""
    shapes = {"image": ((options.resolution, options.resolution, options.channels), np.uint8), "index": ((), np.uint32),
              "caption": ((), np.uint32), "captions": ((captions,), np.uint32), "picture": ((), np.int32)}
    said = dict(text)
    if options.whole:
        said |= {pipeline.WHOLE + name: entry for name, entry in text.items()}
    if options.noise:
        said["noise"] = ((options.noise,), np.float32)
    if options.choices:
        shapes |= {pipeline.CHOICE + name: ((options.choices, *shape), kind) for name, (shape, kind) in said.items()}
    return shapes | said


class TrainingData:
    """The prepared pictures of a run and what turns its captions into text entries of a batch."""

    def __init__(self, options: DataOptions, directory: Path, text: pipeline.Text | None):
        """Read prepared data; learn a tokenizer where no `text` is given. UserError where the data do not fit."""
        self.options = options
        self._augment = Augment(options.flip, options.rotate, options.scale)
        self.train = Prepared(directory, "train")
        for key in ("resolution", "channels"):
            found, wanted = getattr(self.train, key), getattr(options, key)
            if found != wanted:
                raise UserError(f"config: data.{key} = {wanted}, but the prepared data in {directory} have {found}")
        self.heldout = {name: Prepared(directory, name) for name in self.train.info["splits"] if name != "train"}
        self.fingerprint, self.licence = self.train.fingerprint, self.train.licence
        # Noise chooses pictures by tokens of their captions, whatever reads them for the networks.
        self._tokenizer = text if isinstance(text, Tokenizer) else Tokenizer.train(self.train.captions(), options.vocabulary)
        self.text = text or self._tokenizer

    def batches(self, start: int, *, batch_size: int, scan_length: int, seed: int,
                rows: np.ndarray | None = None) -> Iterator[pipeline.Batch]:
        """Stacks of batches from global example `start` on; see `pipeline.batches`."""
        return pipeline.batches(
            self.train, self.text, batch_size=batch_size, scan_length=scan_length, seed=seed, start=start,
            text_length=self.options.text_length, rows=rows,
            augment=self._augment, noise=self.options.noise,
            tokenizer=self._tokenizer, coupled=self.options.coupled, whole=self.options.whole, choices=self.options.choices,
            completed=self._completed,
        )

    @property
    def few_and_fixed(self) -> bool:
        """Whether batches show the same pictures again and again, unaugmented, and no more than stay in memory."""
        return self._augment == Augment() and pipeline.fit_in_memory(self.train)

    def pictures(self) -> np.ndarray:
        """All that batches show where they are `few_and_fixed`, uint8 [N, H, W, C], by their numbers there."""
        images = self.train.images(range(len(self.train)))
        return images if self._completed is None else np.concatenate([images, self._completed.images])

    @cached_property
    def _completed(self) -> Completed | None:
        """Pictures for captions that the data lack, where the options ask for them."""
        if not self.options.complete:
            return None
        completed = complete(self.train)
        print(f"t2i: {len(completed.captions):,} pictures for captions that the data lack, told from others (data.complete)",
              file=sys.stderr)
        return completed

    def sample(self, split: str = "train", count: int = 0) -> pipeline.Batch:
        """The fixed examples of a split, `count` or as many as `data.sample` asks for and there are."""
        prepared = self._split(split)
        return pipeline.first(prepared, self.text, min(count or self.options.sample, len(prepared)), self.options.text_length)

    def shown(self, split: str, count: int) -> list[tuple[str, np.ndarray]]:
        """(most detailed caption, picture) of the first `count` of those examples."""
        prepared = self._split(split)
        return pipeline.shown(prepared, min(count, len(prepared)))

    def _split(self, name: str) -> Prepared:
        return self.train if name == "train" else self.heldout[name]


def is_prepared(path: str) -> bool:
    """Whether `data.path` names a folder that `t2i data prepare` wrote, to be read in place."""
    return bool(path) and os.path.isfile(os.path.join(path, "info.json"))


def prepared_in(options: DataOptions, workdir: Path) -> Path:
    """The folder of a run's prepared data: `data.path`, or `workdir`/data, prepared now unless that was done before.

    Raises UserError where the source is missing, empty or without captions; nothing is written then.
    """
    if is_prepared(options.path):
        read_info(options.path)
        return Path(options.path)
    directory = workdir / "data"
    if not directory.is_dir():
        with open_source(
            options.source, options.path or None, languages=options.languages, template=options.template,
            heldout_fraction=options.heldout_fraction, limit=options.limit,
        ) as source:
            report = prepare(
                source, directory, resolution=options.resolution, channels=options.channels, denoise=options.denoise,
                drop_near_duplicates=options.drop_near_duplicates,
            )
        counts = ", ".join(f"{count:,} {split}" for split, count in report.counts.items())
        print(f"t2i: prepared {counts} pictures in {directory} ({len(report.dropped)} dropped: report.md there says why)",
              file=sys.stderr)
    return directory


def open_data(options: DataOptions, workdir: Path, text: pipeline.Text | None = None) -> TrainingData:
    """The data of a run, prepared unless that was done before. Raises UserError as `prepared_in` and `TrainingData`."""
    return TrainingData(options, prepared_in(options, workdir), text)
