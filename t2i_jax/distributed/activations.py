"""Where activations live: models name the axes of an array, training says which mesh they are spread over.

Left alone, the compiler sometimes splits features of a batch instead of its examples, and computes much twice.
"""

import contextlib
import math
from collections.abc import Iterator
from contextvars import ContextVar

import jax
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from t2i_jax.distributed.mesh import AXES

_mesh: ContextVar[Mesh | None] = ContextVar("mesh of what is being traced", default=None)


@contextlib.contextmanager
def spread_over(mesh: Mesh) -> Iterator[None]:
    """What is traced inside has its activations spread over `mesh`."""
    token = _mesh.set(mesh)
    try:
        yield
    finally:
        _mesh.reset(token)


def by_example(x: Array) -> Array:
    """x [B, ...], told to the compiler to be split along B over all devices, and along nothing else.

    Left as it is outside `spread_over`, and where B does not divide.
    """
    mesh = _mesh.get()
    if mesh is None or x.shape[0] % math.prod(mesh.shape[axis] for axis in AXES):
        return x
    return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, PartitionSpec(AXES)))
