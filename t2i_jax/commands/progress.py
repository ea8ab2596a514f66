"""Sample grids during training: drawn pictures beside the real ones of the same captions."""

from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh
from PIL import Image

from t2i_jax.data.training import TrainingData
from t2i_jax.distributed import hosts
from t2i_jax.distributed.together import here
from t2i_jax.inference.grid import grid
from t2i_jax.inference.pipeline import TextToImage, to_pil
from t2i_jax.inference.prompts import literal
from t2i_jax.systems import System
from t2i_jax.training.metrics import MetricsLog
from t2i_jax.training.start import placed
from t2i_jax.training.state import State, drawing_weights

COLUMNS = 16


def drawing(system: System, shapes: State, mesh: Mesh) -> jax.stages.Lowered:
    """The program that a run's pictures are drawn with, of a state of such `shapes`."""
    state = placed(shapes, mesh)
    return TextToImage(system, *drawing_weights(state.params, state.aux, state.ema), "").lowered()


class Progress:
    """Draws, for the same captions of every split each time, real above generated into `workdir`/samples.

    Nothing where the system draws nothing."""

    def __init__(self, system: System, data: TrainingData, workdir: Path, mesh: Mesh):
        self._directory, self._mesh = workdir / "samples", mesh
        self._model = TextToImage(system, {}, {}, workdir.name) if system.generate else None
        splits = ("train", *data.heldout) if self._model else ()
        self._columns = {split: _columns(data, split) for split in splits}

    def draw(self, state: State, images: int, log: MetricsLog) -> None:
        """Write samples/SPLIT-IMAGES.png with averaged weights, and show them in TensorBoard."""
        if self._model is None:
            return
        weights = drawing_weights(state.params, state.aux, state.ema)
        self._model.params, self._model.aux = hosts.whole(weights, self._mesh)
        for split, columns in self._columns.items():
            drawn = self._model.generate([literal(caption) for caption, _ in columns], key=jax.random.key(0))
            if not here().first:
                continue
            page = grid(
                [(caption, [real, to_pil(made)]) for (caption, real), made in zip(columns, drawn, strict=True)]
            )
            self._directory.mkdir(parents=True, exist_ok=True)
            path = self._directory / f"{split}-{images:012d}.png"
            page.save(path)
            log.picture(images, split, np.asarray(page))
            log.say(f"{path}: real above generated")


def _columns(data: TrainingData, split: str) -> list[tuple[str, Image.Image]]:
    """(caption, real picture) of a split's first examples in its fixed shuffled order, captions most detailed."""
    pixels = lambda image: image[..., 0] if image.shape[-1] == 1 else image
    return [(caption, Image.fromarray(pixels(image))) for caption, image in data.shown(split, COLUMNS)]
