"""Which part of which array lives on which device: rules over paths and shapes, outside the models."""

import math
import re

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from t2i_jax.distributed.mesh import AXES
from t2i_jax.errors import UserError

SMALLEST_SHARDED = 2**16  # elements; below it, gathering costs more than the memory saved

# (what is found in a path, the first axis that may be split); the first that fits decides, and something has to.
RULES = (
    (r"/blocks/", 1),  # blocks in a loop: the first axis counts them, and every turn of the loop needs its own whole
    (r"/(kernel|embedding)$", 0),
    (r"/(bias|scale|gain|mean|var|absent|nothing)$", 0),
    (r"/(places|gains|class_token|class_embedding|position_embeddings?|register_tokens)$", 0),
    (r"codebook/(vectors|sums|counts)$", 0),
)


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

    A small array, fewer than SMALLEST_SHARDED elements, is whole on every device. Of a larger one the first of RULES whose
    pattern is found in its path says which axes may be split; the longest of those that `fsdp` divides is, so that
    parameters, their averages and moments, whose paths end alike, are split alike.
    Raises UserError where no rule speaks of a large array.
    """
    size = mesh.shape["fsdp"]

    def rule(path: tuple, array) -> NamedSharding:
        if jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key) or math.prod(array.shape) < SMALLEST_SHARDED:
            return replicated(mesh)
        axes = [axis for axis in range(splittable(_joined(path), array.shape), array.ndim) if array.shape[axis] % size == 0]
        if size == 1 or not axes:
            return replicated(mesh)
        longest = max(axes, key=lambda axis: array.shape[axis])
        return NamedSharding(mesh, PartitionSpec(*(None,) * longest, "fsdp"))

    return jax.tree_util.tree_map_with_path(rule, tree)


def splittable(path: str, shape: tuple[int, ...]) -> int:
    """The first axis of a large array that may be split; UserError where no rule is for its path."""
    for pattern, first in RULES:
        if re.search(pattern, path):
            return first
    raise UserError(
        f"no rule says how {path} {list(shape)} is split over devices; add its name to RULES in t2i_jax/distributed/sharding.py"
    )


def _joined(path: tuple) -> str:
    """"params/generator/block_0/kernel" of a path in a tree of dataclasses, dicts and tuples."""
    return "/".join(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path)
