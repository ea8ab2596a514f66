"""Arrays that span processes: put together from what each has, and read where each needs them."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from t2i_jax.distributed import sharding
from t2i_jax.distributed.together import here


def place(tree, shardings):
    """`tree`, the same in every process, as global arrays; `shardings`: one for all, or a tree of them."""
    if here().count == 1:
        return jax.device_put(tree, shardings)

    def put(x, where: NamedSharding) -> jax.Array:
        if isinstance(x, jax.Array) and not x.is_fully_addressable:
            return jax.device_put(x, where)
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.make_array_from_callback(x.shape, where, lambda index: x[index])
        x = np.asarray(x)
        return jax.make_array_from_callback(x.shape, where, lambda index: x[index])

    if isinstance(shardings, NamedSharding):
        shardings = jax.tree.map(lambda x: shardings, tree)
    return jax.tree.map(put, tree, shardings)


def rows(mesh: Mesh, batch_size: int) -> np.ndarray:
    """The places [B] in a global batch that this process's devices hold, ascending: what it has to read.

    They need not be neighbours: a mesh follows the wiring of the chips, not the numbers of the processes.
    """
    mine = sharding.batch(mesh).addressable_devices_indices_map((batch_size,))
    return np.unique(np.concatenate([np.arange(batch_size)[index] for index in mine.values()]))


def join_batch(batch: dict, mine: np.ndarray, batch_size: int, mesh: Mesh) -> dict:
    """Global arrays [K, batch_size, ...] of [K, B, ...], which holds the places `mine` [B], as `rows` gives them."""
    placed = sharding.stacked_batch(mesh)

    def put(x: np.ndarray) -> jax.Array:
        def part(index: tuple) -> np.ndarray:
            begin, end, _ = index[1].indices(batch_size)
            start = np.searchsorted(mine, begin)
            return x[index[0], start : start + end - begin]

        return jax.make_array_from_callback((x.shape[0], batch_size, *x.shape[2:]), placed, part)

    return jax.tree.map(put, batch)


def whole(tree, mesh: Mesh):
    """The arrays of `tree` whole on this process's first device, where they span processes; all processes take part."""
    if here().count == 1:
        return tree
    gathered = jax.jit(lambda x: x, out_shardings=sharding.replicated(mesh))(tree)
    return jax.tree.map(lambda x: x.addressable_data(0), gathered)


def in_shares(count: int, work: Callable[[int], jax.Array]) -> list:
    """[work(0), ..., work(count - 1)], all of one shape and type, each done by one process and handed to all."""
    if here().count == 1:
        return [work(number) for number in range(count)]
    from jax.experimental import multihost_utils

    each = -(-count // here().count)
    # Processes without work of their own repeat some, for all have to hand over as much.
    mine = [work(min(here().index + turn * here().count, count - 1)) for turn in range(each)]
    mine = np.stack([np.asarray(x) for x in mine])
    gathered = multihost_utils.process_allgather(mine, tiled=False)  # [processes, each, ...]
    return [gathered[number % here().count, number // here().count] for number in range(count)]


def with_vote(report: jax.Array, flag: bool, mesh: Mesh) -> jax.Array:
    """`report` [N] and behind it whether any process raised its `flag`: [N + 1], not yet fetched.

    All processes read the same, at the same chunk, without waiting for each other."""
    split = NamedSharding(mesh, jax.sharding.PartitionSpec(mesh.axis_names))
    flags = jax.make_array_from_callback((mesh.size,), split, lambda index: np.full(1, flag))
    return _append(mesh)(report, flags)


@functools.lru_cache(maxsize=4)
def _append(mesh: Mesh) -> Callable[[jax.Array, jax.Array], jax.Array]:
    append = lambda report, flags: jnp.append(report, flags.any().astype(report.dtype))
    return jax.jit(append, out_shardings=sharding.replicated(mesh))
