"""Counter-based random numbers in NumPy: every draw is a function of (seed, use, index), the same for ever.

SplitMix64: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators" (2014), figure 17.
"""

import zlib

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(values: np.ndarray) -> np.ndarray:
    """A bijection on 64-bit numbers that looks random: uint64 [...]."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def bits(seed: int, use: str, index: np.ndarray) -> np.ndarray:
    """64 random bits per index: uint64 [N]. Different uses of the same index are independent."""
    stream = np.array([seed % 2**64, zlib.crc32(use.encode())], np.uint64)
    key = _mix(_mix(stream[:1] + GOLDEN) + stream[1:])
    return _mix(_mix(index.astype(np.uint64) * GOLDEN + key))


def uniform(draws: np.ndarray) -> np.ndarray:
    """Random bits uint64 [N] as numbers in [0, 1): float64 [N]."""
    return (draws >> np.uint64(11)) * 2.0**-53


def permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    """A shuffle of 0 .. count-1 for one epoch: int64 [count]."""
    return np.argsort(bits(seed, f"order of epoch {epoch}", np.arange(count)), kind="stable")
