"""Captions by way of a language model: the text entries of a batch (`data.pipeline.Text`), and what a run keeps of it.

    text.kind = "cached"   frozen: features of every caption of the data lie beside the pictures (data/features.py), only
                           other prompts are read by the model
    text.kind = "tuned"    the model is part of the system: captions become its tokens
    WORKDIR/encoders/<sha256>/   the model's files, once; checkpoints only name the hash
"""

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from t2i_jax import config as configs
from t2i_jax.data import features
from t2i_jax.data.tokenizer import Tokenizer
from t2i_jax.errors import UserError
from t2i_jax.pretrained.language import LanguageModel, load_language_model

FEW = 8  # prompts read at once: as many as are drawn at once
OWN, CACHED, TUNED = KINDS = ("own", "cached", "tuned")


@dataclasses.dataclass(frozen=True)
class Language:
    """The config section `text` of kinds "cached" and "tuned"."""

    encoder: str  # a directory, a hub id, or the name of an installed model
    width: int = 128  # of the features that a trained layer makes of the model's
    tuned_layers: int = 0  # of the model's last ones, which train with the system
    stored: str = "float16"  # type of stored features


def kind_of(config: ConfigDict) -> str:
    """Who reads captions: "own", an encoder trained with the system from nothing, unless the section says otherwise."""
    if "text" not in config:
        raise UserError("config: section 'text' is missing")
    kind = config.text.get("kind", OWN)
    configs.require(kind in KINDS, "text.kind", kind, ", ".join(KINDS))
    return kind


def options(config: ConfigDict) -> Language:
    """The section `text` of a config that names a language model. Raises UserError where it does not fit."""
    kind = kind_of(config)
    rest = {name: value for name, value in config.text.items() if name != "kind"}
    found = configs.section(ConfigDict({"text": rest}), "text", Language)
    configs.require(found.width > 0, "text.width", found.width, "1 or more")
    if kind == CACHED:
        configs.require(found.tuned_layers == 0, "text.tuned_layers", found.tuned_layers, "0, for what text.kind = 'cached' "
                        "stores would no longer be what the model says; take text.kind = 'tuned'")
        configs.require(found.stored in features.DTYPES, "text.stored", found.stored, ", ".join(features.DTYPES))
    return found


class LanguageText:
    """What both kinds share."""

    def __init__(self, model: LanguageModel):
        self.model = model

    def to_json(self) -> str:
        """What a checkpoint keeps: which model it is."""
        return json.dumps({"encoder": self.model.name, "sha256": self.model.sha256}, indent=2)


class TunedText(LanguageText):
    """Captions as tokens of a language model."""

    def arrays(self, captions: Sequence[str], length: int) -> features.Entries:
        """{"tokens": int32 [N, L], "mask": bool [N, L]}; longer captions are cut with a warning."""
        return self.model.tokenize(captions, length)

    def rows(self, captions: Sequence[str], length: int) -> Callable[[np.ndarray], features.Entries]:
        """Function from positions [N] in `captions` to their entries."""
        whole = self.arrays(captions, length)
        return lambda positions: {name: array[positions] for name, array in whole.items()}


class CachedText(LanguageText):
    """Captions as features of a frozen language model: those stored with the data, others read by it now."""

    def __init__(self, model: LanguageModel, dtype: str, stored: features.Features | None = None):
        super().__init__(model)
        self._dtype, self._stored = dtype, stored

    def beside(self, directory: Path, length: int, encode: bool) -> "CachedText":
        """This with the features stored in `directory`; encode: make them where there are none.

        Raises UserError where there are none, or not those of this model.
        """
        kind = self._kind(length)
        if encode:
            features.write(directory, kind, self.model.encode)
        return CachedText(self.model, self._dtype, features.Features(directory, kind))

    def arrays(self, captions: Sequence[str], length: int) -> features.Entries:
        """{"words": [N, L, W], "words_mask": bool [N, L], "sentence": [N, S]}; longer captions are cut with a warning.

        Stored or read now, a caption has the same features up to rounding, in the type of the stored ones."""
        stored = self._stored
        if stored is not None and stored.kind == self._kind(length) and all(caption in stored for caption in captions):
            return stored.rows(captions)(np.arange(len(captions)))
        made = self.model.encode(captions, length, FEW)
        return {name: array if array.dtype == bool else array.astype(self._dtype) for name, array in made.items()}

    def rows(self, captions: Sequence[str], length: int) -> Callable[[np.ndarray], features.Entries]:
        """Function from positions [N] in `captions`, which must all be stored, to their entries."""
        if self._stored is None or self._stored.kind != self._kind(length):
            raise ValueError("captions of a data set are read from stored features: see `beside`")
        return self._stored.rows(captions)

    def _kind(self, length: int) -> features.Kind:
        return features.Kind(self.model.name, self.model.sha256, min(length, self.model.longest), self._dtype)


def opened(config: ConfigDict) -> LanguageText | None:
    """The language model that a config names, None where it names none. Raises UserError where it does not load."""
    return None if kind_of(config) == OWN else _of_model(config, load_language_model(options(config).encoder))


def of_run(config: ConfigDict, text: str, workdir: Path) -> LanguageText | Tokenizer:
    """What reads captions for the checkpoint of a run: `text` is its JSON, `workdir` where the run keeps its encoder.

    Raises UserError where the encoder is missing or is not the one that the checkpoint names.
    """
    if kind_of(config) == OWN:
        return Tokenizer.from_json(text)
    about = json.loads(text)
    directory = workdir / "encoders" / about["sha256"]
    if not directory.is_dir():
        raise UserError(f"the run's language model {about['encoder']!r} is missing: it was kept in {directory}; restore it")
    model = load_language_model(directory)
    if model.sha256 != about["sha256"]:
        raise UserError(f"{directory} does not hold the run's language model {about['encoder']!r}: its files have SHA-256 "
                        f"{model.sha256}; restore them")
    model.name = about["encoder"]
    return _of_model(config, model)


def for_training(text: LanguageText | Tokenizer | None, workdir: Path, data: Path,
                 length: int) -> LanguageText | Tokenizer | None:
    """What reads captions of the prepared `data` while a run trains in `workdir`, which keeps its language model.

    Frozen features are made now where the run prepared the data itself, else they must lie there. Raises UserError.
    """
    if isinstance(text, LanguageText):
        keep(text, workdir)
    if isinstance(text, CachedText):
        return text.beside(data, length, encode=data == workdir / "data")
    return text


def keep(text: LanguageText, workdir: Path) -> None:
    """Copy the model's files into the run's directory, unless they are there. Raises UserError where that fails."""
    directory = workdir / "encoders" / text.model.sha256
    if directory.is_dir():
        return
    partial = directory.with_suffix(".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        for name, path in text.model.files.items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, partial / name)
        partial.replace(directory)
    except OSError as error:
        raise UserError(f"cannot keep the language model in {directory}: {error.strerror or error}") from error
    print(f"t2i: keeping language model {text.model.name!r} in {directory}", file=sys.stderr)


def _of_model(config: ConfigDict, model: LanguageModel) -> LanguageText:
    chosen = options(config)
    return CachedText(model, chosen.stored) if kind_of(config) == CACHED else TunedText(model)
