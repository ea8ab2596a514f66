"""What is known of TPU chips: published figures, and what planning assumes where nothing is published."""

import math
import re
from typing import NamedTuple

from t2i_jax.errors import UserError


class Chip(NamedTuple):
    """One chip. Peak, memory and bandwidth: its page in the Cloud TPU documentation (cloud.google.com/tpu/docs/<name>)."""

    peak: float  # bfloat16 operations a second
    memory: float  # bytes of HBM, of v5e what the compiler may use of 16 GiB
    bandwidth: float  # bytes of HBM a second
    interconnect: float  # bytes a second that a collective hands on: two links of a ring, one way each; assumed
    clock: float  # cycles a second: peak / (2 x multiply-accumulate units), so that XLA's cycles become seconds
    price: float  # US dollars a chip-hour, on demand; assumed, prices differ by region and change


# Interconnect: those pages give 1600, 4800 and 3584 Gbit/s a chip, one way over all its 4, 6 and 4 links, that is 50, 100 and
# 112 GB/s a link; 45, 90 and 90 are assumed to arrive. A collective is priced at two links, a ring round one side of the
# slice, whatever sides it spans.
CHIPS = {
    "v5e": Chip(197e12, 15.75 * 2**30, 819e9, 90e9, 1.50e9, 1.20),
    "v5p": Chip(459e12, 95e9, 2765e9, 180e9, 1.75e9, 4.20),
    "v6e": Chip(918e12, 32e9, 1640e9, 180e9, 1.75e9, 2.70),
}


def chip_of(topology: str) -> tuple[Chip, int]:
    """The chip of a slice such as "v5e:16x16", and how many of them. UserError for a name that is not one."""
    name, _, shape = topology.partition(":")
    if name not in CHIPS or not re.fullmatch(r"\d+(x\d+){1,2}", shape):
        raise UserError(f"topology {topology!r} is unknown; give a chip ({', '.join(CHIPS)}) and a shape, for example v5e:4x4")
    return CHIPS[name], math.prod(map(int, shape.split("x")))
