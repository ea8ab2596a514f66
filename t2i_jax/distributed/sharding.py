"""Which part of which array lives on which device: rules over shapes, outside the models."""

import math

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from t2i_jax.distributed.mesh import AXES

SMALLEST_SHARDED = 2**16  # elements; below it, gathering costs more than the memory saved


def replicated(mesh: Mesh) -> NamedSharding:
    """One whole copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch(mesh: Mesh) -> NamedSharding:
    """Examples [B, ...] split over all devices."""
    return NamedSharding(mesh, PartitionSpec(AXES))


def stacked_batch(mesh: Mesh) -> NamedSharding:
    """K batches [K, B, ...]: every device holds its part of each."""
    return NamedSharding(mesh, PartitionSpec(None, AXES))


def parameters(tree, mesh: Mesh):
    """Shardings for a tree of parameters, EMA or optimizer state, given as arrays or ShapeDtypeStructs.

    An array of at least SMALLEST_SHARDED elements is split over `fsdp` along its longest axis that divides;
    everything else is replicated. The rule reads shapes only, so parameters and their moments are split alike.
    """
    size = mesh.shape["fsdp"]

    def rule(array) -> NamedSharding:
        if jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key) or math.prod(array.shape) < SMALLEST_SHARDED:
            return replicated(mesh)
        axes = [axis for axis, length in enumerate(array.shape) if length % size == 0]
        if size == 1 or not axes:
            return replicated(mesh)
        longest = max(axes, key=lambda axis: array.shape[axis])
        return NamedSharding(mesh, PartitionSpec(*(None,) * longest, "fsdp"))

    return jax.tree.map(rule, tree)
