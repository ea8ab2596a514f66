"""The data pipeline by itself: how fast batches come when nothing is done with them."""

import itertools
import time
from collections.abc import Iterator

from t2i_jax.measuring.figure import SHORTEST, Figure, Figures

AHEAD = 4  # stacks that prefetching may have made beforehand


def measure_pipeline(batches: Iterator[dict], images: int, repeats: int, shortest: float = SHORTEST) -> Figures:
    """Images per second; `batches` yields stacks of so many `images` for ever, and is read on the host."""
    for _ in itertools.islice(batches, AHEAD):
        pass
    begun = time.perf_counter()
    for _ in itertools.islice(batches, AHEAD):
        pass
    count = max(1, round(shortest / ((time.perf_counter() - begun) / AHEAD)))
    # Each repeat begins with as many stacks ready as it leaves behind, so what it took was made meanwhile.
    rates = []
    for _ in range(repeats):
        begun = time.perf_counter()
        for _ in itertools.islice(batches, count):
            pass
        rates.append(count * images / (time.perf_counter() - begun))
    return {"images_per_second": Figure("pipeline alone", "images/s", rates)}


def against(pipeline: Figure, stages: dict[str, Figure]) -> Figures:
    """How many times what each stage consumes the pipeline makes; both in images per second."""
    return {
        f"times/{name}": Figure(f"of what stage {name} consumes", "times", [made / used.median for made in pipeline.repeats])
        for name, used in stages.items()
    }
