"""What drawing costs: milliseconds for a picture, and the parameters that are read for it."""

import statistics
import time
from collections.abc import Sequence

import jax
import numpy as np

from t2i_jax.inference.export import read_of
from t2i_jax.inference.pipeline import BUCKET, TextToImage
from t2i_jax.paths import flat, nested


def milliseconds_per_picture(model: TextToImage, prompts: Sequence[str], repeats: int = 5) -> float:
    """Time of one picture where BUCKET are drawn at once, as always, from captions to pictures on the host.

    The median of `repeats` calls after one that is not counted, which compiles; prompts are repeated or cut to BUCKET.
    """
    prompts = [prompts[i % len(prompts)] for i in range(BUCKET)]
    times = []
    for number in range(repeats + 1):
        started = time.perf_counter()
        np.asarray(model.generate(prompts, key=jax.random.key(number)))
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times[1:]) / BUCKET


def parameters_read(model: TextToImage) -> int:
    """How many of the model's parameters its drawing reads; the others only served training."""
    text = model.system.encode(["a prompt"])
    keys, options = jax.random.split(jax.random.key(0), 1), model.system.options
    draw = lambda paths: model.system.generate(nested(paths), model.aux, text, keys, **options)
    return sum(array.size for array in read_of(draw, flat(model.params)).values())
