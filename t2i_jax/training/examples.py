"""The pictures and captions of a config, ready to be trained on."""

from pathlib import Path

from jax.sharding import Mesh
from ml_collections import ConfigDict

from t2i_jax import config as configs
from t2i_jax.data.pipeline import Text
from t2i_jax.data.training import DataOptions, TrainingData, prepared_in
from t2i_jax.distributed import hosts
from t2i_jax.pretrained import captions
from t2i_jax.training import loop


def open_examples(config: ConfigDict, workdir: Path, text: Text | None = None) -> TrainingData:
    """Prepared in `workdir`, unless that was done before, which keeps a language model too.

    text: what reads captions in a run that goes on; else what the config names. Raises UserError where data or model are
    missing or do not fit.
    """
    options = configs.section(config, "data", DataOptions)
    directory = prepared_in(options, workdir)
    reader = captions.for_training(text or captions.opened(config), workdir, directory, options.text_length)
    return TrainingData(options, directory, reader)


def feed(config: ConfigDict, data: TrainingData, mesh: Mesh) -> loop.Data:
    """What the training loop of a config reads of `data`, this process's share of each batch."""
    size = {"batch_size": config.batch_size, "scan_length": config.scan_length}
    rows = hosts.rows(mesh, config.batch_size)
    return loop.Data(lambda start: data.batches(start, seed=config.seed, rows=rows, **size), data.sample, **size)
