"""From counts to seconds: a roofline whose every term is stated. Nothing here is measured."""

import dataclasses

from t2i_jax.planning.chips import Chip
from t2i_jax.planning.compiling import Compiled


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Of one step."""

    compute: float  # seconds, XLA's estimate of every instruction, loop trips multiplied
    peak_compute: float  # seconds that the compiled operations take at the chip's peak
    memory: float  # seconds of HBM traffic at full bandwidth
    overlapped: float  # seconds of transfers that computation may hide
    exposed: float  # seconds of transfers that it waits for
    step: float  # max(compute, memory, overlapped) + exposed
    images_per_second: float
    utilisation: float  # the model's operations in this time, as a share of the peak: nothing computed twice counts

    @property
    def bound(self) -> str:
        """The term that the time comes of."""
        terms = {"compute": self.compute, "memory": self.memory, "interconnect": self.overlapped + self.exposed}
        return max(terms, key=terms.get)


def estimate(compiled: Compiled, chip: Chip, chips: int, steps: int, batch_size: int, model_flops: float) -> Estimate:
    """Of `steps` compiled steps of `batch_size` images on `chips` chips; model_flops: of one step, all chips together."""
    counts = compiled.counts
    transfer = lambda hidden: sum(each.sent for each in counts.transfers if each.hidden == hidden) / chip.interconnect / steps
    compute, memory = counts.cycles / chip.clock / steps, counts.bytes / chip.bandwidth / steps
    overlapped, exposed = transfer(True), transfer(False)
    step = max(compute, memory, overlapped) + exposed
    return Estimate(
        compute, counts.flops / chip.peak / steps, memory, overlapped, exposed, step,
        images_per_second=batch_size / step,
        utilisation=model_flops / (chips * chip.peak * step),
    )
