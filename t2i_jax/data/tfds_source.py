"""TFDS data sets as sources: OpenMoji, drawn into a temporary folder, and any set with pictures and words."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial

import absl.logging
import tensorflow_datasets as tfds

from t2i_jax.data.sources import Example, Source
from t2i_jax.errors import UserError


@contextmanager
def openmoji(languages: tuple[str, ...], limit: int) -> Iterator[Source]:
    """OpenMoji pictures with captions in the given languages; tags "cut" and "family" as in openmoji_splits.Picture."""
    from t2i_jax.data import openmoji as builders
    from t2i_jax.data import openmoji_captions

    openmoji_captions.check(languages)
    tfds.disable_progress_bar()  # its nested bars; the builder shows its own
    absl.logging.set_verbosity(absl.logging.ERROR)  # TFDS warns of every configuration that is not its own
    with tempfile.TemporaryDirectory() as folder:
        builder = builders.Openmoji(data_dir=folder, config=builders.config(languages, limit),
                                    file_format="array_record")
        with redirect_stdout(None):  # it speaks of downloads; there are none
            builder.download_and_prepare()
        yield _source(builder, "openmoji", builders.LICENCE, "{}", spoken="languages")


@contextmanager
def dataset(name: str, data_dir: str | None, template: str) -> Iterator[Source]:
    """Any TFDS set that has an image feature and a text or class label feature. Splits keep their names.

    UserError where TFDS does not know it, cannot prepare it here, or it lacks such features."""
    try:
        builder = tfds.builder(name, data_dir=data_dir, file_format="array_record")
        builder.download_and_prepare()
    except Exception as error:  # TFDS raises whatever a builder's own code raises
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise UserError(f"TFDS cannot open {name!r} (data_dir {data_dir or 'default'}): {reason}") from error
    licence = builder.info.redistribution_info.license if builder.info.redistribution_info else ""
    yield _source(builder, f"tfds:{name}", licence or f"see {builder.info.homepage or 'the data set'}", template)


def _source(builder: tfds.core.DatasetBuilder, name: str, licence: str, template: str, spoken: str = "") -> Source:
    """The builder as a source; `spoken` names the feature that holds the languages of captions, if there is one."""
    features = builder.info.features
    image = _first(features, tfds.features.Image)
    text, label = _text_key(features), _first(features, tfds.features.ClassLabel)
    if image is None or (text is None and label is None):
        raise UserError(f"{name} needs an image feature and a text or class label feature, not {', '.join(features)}")
    # Left encoded: the picture is decoded by cleaning, in its threads and with its checks.
    splits = sorted(builder.info.splits, key=lambda split: (split != "train", split))
    data = builder.as_data_source(split={split: split for split in splits},
                                  decoders={image: tfds.decode.SkipDecoding()})

    def captions(row) -> tuple[str, ...]:
        if text is None:
            return (template.replace("{}", features[label].int2str(int(row[label])).replace("_", " ")),)
        words = row[text] if isinstance(row[text], (list, tuple)) or getattr(row[text], "ndim", 0) else [row[text]]
        return tuple(map(_text, words))

    def examples() -> Iterator[Example]:
        for split in splits:
            for index in range(len(data[split])):
                row = data[split][index]
                name = row.get("name", f"{split}/{index}".encode())
                tags = {key: row[key].decode() for key in ("cut", "family") if isinstance(row.get(key), bytes)}
                languages = tuple(map(_text, row[spoken])) if spoken else ()
                yield Example(partial(_same, row[image]), captions(row), _text(name), split, tags, languages)

    return Source(name, licence, sum(len(data[split]) for split in splits), examples, ())


def _same(value):
    return value


def _text(value) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def _first(features, kind: type) -> str | None:
    return next((key for key in features if isinstance(features[key], kind)), None)


def _text_key(features) -> str | None:
    """The text feature that captions the picture: one called caption(s) or text before any other."""
    keys = [key for key in features if isinstance(getattr(features[key], "feature", features[key]), tfds.features.Text)]
    return min(keys, key=lambda key: (key not in ("captions", "caption", "text"), keys.index(key)), default=None)
