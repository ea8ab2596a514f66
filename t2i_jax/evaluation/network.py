"""A network whose features pictures are compared in, and computing them: on all devices, in batches of one size."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from t2i_jax.distributed import hosts, sharding
from t2i_jax.errors import UserError
from t2i_jax.training.alternate import as_float

BATCH = 64  # pictures computed at once, all devices together


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureNetwork:
    """A network and all that must be stated beside a figure made with it."""

    name: str
    weights_sha256: str
    size: int  # pixels of a side that it sees
    filter: str  # how pictures of another size get there; "none" = they are refused
    normalisation: str  # what it is fed, in words
    dimension: int  # D of its features
    apply: Callable[[Any, Array], Array]  # (params, images float [B, size, size, C] in [-1, 1]) -> [B, D]; jit-able
    params: Any
    resize: Callable[[np.ndarray, int], np.ndarray] | None = None  # on the host: (uint8 [N, H, W, C], size) -> float
    # [N, size, size, channels] in [-1, 1]; None: pictures of another size are refused
    channels: int = 3


def features(
    network: FeatureNetwork, images: np.ndarray | Iterable[np.ndarray], mesh: Mesh, batch: int = BATCH
) -> np.ndarray:
    """Features float32 [N, D] of pictures, uint8 [N, H, W, C] in one array or several. Raises as `features_of`."""
    empty = np.zeros((0, network.dimension), np.float32)
    return np.concatenate([empty, *features_of(network, images, mesh, batch)])


def features_of(
    network: FeatureNetwork, images: np.ndarray | Iterable[np.ndarray], mesh: Mesh, batch: int = BATCH
) -> Iterator[np.ndarray]:
    """`features` a batch at a time, float32 [at most `batch`, D]: never holds more than that and the part it reads.

    In a run of several processes every process passes the same pictures and gets all features.
    Raises UserError where pictures are not uint8 [N, H, W, C], or of a size or channels the network cannot see.
    """
    parts = [images] if isinstance(images, np.ndarray) else images
    run, params = _placed(network, mesh)
    return in_batches(lambda part: run(params, part), (_seen(network, part) for part in parts), mesh, batch)


def in_batches(run: Callable[[Any], Array], parts: Iterable[Any], mesh: Mesh, batch: int) -> Iterator[np.ndarray]:
    """`run` over trees of host arrays [N, ...] handed on in batches of one size, split over all devices of the mesh.

    The last batch is filled up with copies of its last row, whose results are dropped: one compilation, and a row's
    result does not depend on how many stand beside it. `batch` is rounded up to a multiple of the device count.
    """
    pending = None
    for rows, count in _batches(parts, -(-batch // mesh.size) * mesh.size):
        # The next batch is on its way before the results of the one before are fetched.
        before, pending = pending, (run(hosts.place(rows, sharding.batch(mesh))), count)
        if before is not None:
            yield np.asarray(before[0])[: before[1]]
    if pending is not None:
        yield np.asarray(pending[0])[: pending[1]]


def _batches(parts: Iterable[Any], size: int) -> Iterator[tuple[Any, int]]:
    """([size, ...] trees, number of their real rows)."""
    rest = None
    for part in parts:
        rest = part if rest is None else jax.tree.map(lambda a, b: np.concatenate([a, b]), rest, part)
        while len(jax.tree.leaves(rest)[0]) >= size:
            yield jax.tree.map(lambda x: x[:size], rest), size
            rest = jax.tree.map(lambda x: x[size:], rest)
    count = 0 if rest is None else len(jax.tree.leaves(rest)[0])
    if count:
        yield jax.tree.map(lambda x: np.concatenate([x, np.repeat(x[-1:], size - count, axis=0)]), rest), count


def _seen(network: FeatureNetwork, images: np.ndarray) -> np.ndarray:
    """What is sent to the devices: uint8 pictures of the network's size, or resized ones as floats."""
    if images.dtype != np.uint8 or images.ndim != 4:
        raise UserError(f"{network.name}: pictures must be uint8 [N, H, W, C], not {images.dtype} {list(images.shape)}")
    wanted = (network.size, network.size, network.channels)
    if images.shape[1:] == wanted:
        return images
    if network.resize is None:
        raise UserError(f"{network.name} sees pictures of {list(wanted)} (height, width, channels) and these are "
                        f"{list(images.shape[1:])}: use a network made for them")
    return network.resize(images, network.size)


@functools.lru_cache(maxsize=8)
def _placed(network: FeatureNetwork, mesh: Mesh) -> tuple[Callable[[Any, Array], Array], Any]:
    """(compiled apply, parameters on the mesh)."""

    def apply(params: Any, images: Array) -> Array:
        # Devices that multiply in less than float32 by default would give figures of their own.
        with jax.default_matmul_precision("highest"):
            return network.apply(params, as_float(images)).astype(jnp.float32)

    shardings = sharding.parameters(network.params, mesh)
    placed = hosts.place(network.params, shardings)
    one = (shardings, sharding.batch(mesh))
    return jax.jit(apply, in_shardings=one, out_shardings=sharding.replicated(mesh)), placed
