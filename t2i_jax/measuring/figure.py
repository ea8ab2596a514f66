"""A measured figure: every repeat is kept, the median speaks for them, least and most say how steady it was."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterable

SHORTEST = 0.1  # seconds of a repeat: what is quicker runs several times in one


@dataclasses.dataclass(frozen=True)
class Figure:
    """One line of the table."""

    what: str
    unit: str
    repeats: tuple[float, ...]

    def __init__(self, what: str, unit: str, repeats: Iterable[float]):
        object.__setattr__(self, "what", what)
        object.__setattr__(self, "unit", unit)
        object.__setattr__(self, "repeats", tuple(float(x) for x in repeats))

    @property
    def median(self) -> float:
        """Of the repeats."""
        return statistics.median(self.repeats)


Figures = dict[str, Figure]  # by a name for machines, "gan/images_per_second"


def seconds(call: Callable[[], object], repeats: int, shortest: float = SHORTEST) -> list[float]:
    """Seconds that one `call` takes, `repeats` times, after calls that are not counted and warm everything up.

    `call` returns when its work is done. A repeat is the mean over as many calls as take `shortest` seconds, so that neither
    the clock nor one interruption makes up the figure.
    """
    call()
    count = max(1, round(shortest / max(_mean(call, 1), 1e-9))) if shortest else 1
    return [_mean(call, count) for _ in range(repeats)]


def _mean(call: Callable[[], object], count: int) -> float:
    begun = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - begun) / count
