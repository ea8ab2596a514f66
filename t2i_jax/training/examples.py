"""The pictures and captions of a config, ready to be trained on, and what they will look like."""

from pathlib import Path

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from t2i_jax import config as configs
from t2i_jax.data.pipeline import Text
from t2i_jax.data.training import DataOptions, TrainingData, example_shapes, prepared_in
from t2i_jax.distributed import hosts
from t2i_jax.pretrained import captions
from t2i_jax.systems import System
from t2i_jax.training import loop
from t2i_jax.training.ahead import lower
from t2i_jax.training.state import State


def open_examples(config: ConfigDict, workdir: Path, text: Text | None = None) -> TrainingData:
    """Prepared in `workdir`, unless that was done before, which keeps a language model too.

    text: what reads captions in a run that goes on; else what the config names. Raises UserError where data or model are
    missing or do not fit.
    """
    options = configs.section(config, "data", DataOptions)
    configs.require(not options.complete or captions.kind_of(config) != captions.CACHED, "data.complete", options.complete,
                    "False where text.kind is 'cached': features are stored of the captions that the data have")
    directory = prepared_in(options, workdir)
    reader = captions.for_training(text or captions.opened(config), workdir, directory, options.text_length)
    return TrainingData(options, directory, reader)


def feed(config: ConfigDict, data: TrainingData, mesh: Mesh) -> loop.Data:
    """What the training loop of a config reads of `data`, this process's share of each batch."""
    size = {"batch_size": config.batch_size, "scan_length": config.scan_length}
    rows = hosts.rows(mesh, config.batch_size)
    return loop.Data(lambda start: data.batches(start, seed=config.seed, rows=rows, **size), data.sample,
                     pictures=data.pictures if data.few_and_fixed else None, **size)


def first_update(config: ConfigDict, system: System, state: State, mesh: Mesh) -> jax.stages.Lowered:
    """The first stage's program, of a state of such shapes, before there are data.

    Raises ValueError where it depends on what only data decide: how many captions a picture has.
    """
    one, other = (lower(system, 0, state, _expected(config, system, count), mesh)[1] for count in (1, 2))
    if one.as_text() != other.as_text():
        raise ValueError("the first stage looks at all captions of a picture")
    return one


def _expected(config: ConfigDict, system: System, count: int) -> dict:
    """Shapes and types [K, B, ...] of what is read, of pictures with `count` captions."""
    text = {name: (entry.shape[1:], entry.dtype) for name, entry in system.encode(["a"]).items()}
    shapes = example_shapes(configs.section(config, "data", DataOptions), text, count)
    return {name: jax.ShapeDtypeStruct((config.scan_length, config.batch_size, *shape), dtype)
            for name, (shape, dtype) in shapes.items()}
