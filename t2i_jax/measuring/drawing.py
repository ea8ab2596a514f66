"""What drawing costs, of a model that is loaded: the wait for one picture, pictures a second, parameters that are read."""

from collections.abc import Sequence

import jax
import numpy as np

from t2i_jax.inference.export import read_of
from t2i_jax.inference.pipeline import BUCKET, TextToImage
from t2i_jax.measuring.figure import Figure, Figures, seconds
from t2i_jax.paths import flat, nested

BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)  # pictures drawn at once


def measure_drawing(model: TextToImage, prompts: Sequence[str], repeats: int) -> Figures:
    """Latency of one picture and images per second for each of BUCKETS, from prompts to pictures on the host."""
    figures = {"one": Figure(f"one picture, as always in a batch of {BUCKET}", "ms",
                             [1000 * s for s in seconds(lambda: model(prompts[0]), repeats)])}
    rates = {}
    for size in BUCKETS:
        sized = TextToImage(model.system, model.params, model.aux, model.name, bucket=size)
        asked = [prompts[i % len(prompts)] for i in range(size)]
        took = seconds(lambda: np.asarray(sized.generate(asked, key=jax.random.key(0))), repeats)
        if size == 1:
            figures["alone"] = Figure("one picture, in a batch of 1", "ms", [1000 * s for s in took])
        rates[size] = Figure(f"batch {size}", "images/s", [size / s for s in took])
    best = max(rates, key=lambda size: rates[size].median)
    rates[best] = Figure(f"batch {best}, the best", "images/s", rates[best].repeats)
    return figures | {f"batch/{size}": rate for size, rate in rates.items()}


def milliseconds_per_picture(model: TextToImage, prompts: Sequence[str], repeats: int = 5) -> float:
    """Time of one picture where BUCKET are drawn at once, as always, from captions to pictures on the host; the median.

    Prompts are repeated or cut to BUCKET.
    """
    asked = [prompts[i % len(prompts)] for i in range(BUCKET)]
    took = seconds(lambda: np.asarray(model.generate(asked, key=jax.random.key(0))), repeats, shortest=0)
    return 1000 * Figure("a picture", "ms", took).median / BUCKET


def parameters_read(model: TextToImage) -> int:
    """How many of the model's parameters its drawing reads; the others only served training."""
    text = model.system.encode(["a prompt"])
    keys, options = jax.random.split(jax.random.key(0), 1), model.system.options
    draw = lambda paths: model.system.generate(nested(paths), model.aux, text, keys, **options)
    return sum(array.size for array in read_of(draw, flat(model.params)).values())
