"""The state that a run, and each of its stages, begins with."""

from collections.abc import Callable
from pathlib import Path

import jax
from jax.sharding import Mesh

from t2i_jax.distributed import hosts, sharding
from t2i_jax.systems import Stage, System
from t2i_jax.training import alternate
from t2i_jax.training.checkpoint import load_state
from t2i_jax.training.state import State, create


def abstract(system: System, key: jax.Array) -> State:
    """Shapes and types of its state."""
    return jax.eval_shape(lambda key: create(system, key), key)


def placed(shapes: State, mesh: Mesh) -> State:
    """`shapes`, and where their arrays lie."""
    shardings = sharding.parameters(shapes, mesh)
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings)


def making(system: System, key: jax.Array, mesh: Mesh) -> jax.stages.Lowered:
    """The program that makes the state before the first stage, placed, of such a `key`."""
    shardings = sharding.parameters(abstract(system, key), mesh)
    return jax.jit(lambda key: create(system, key), out_shardings=shardings).lower(key)


def fresh(system: System, key: jax.Array, mesh: Mesh) -> State:
    """The state before the first stage, placed."""
    return making(system, key, mesh).compile()(key)


def entered(stage: Stage, state: State, sample: dict, mesh: Mesh) -> State:
    """`state` at the entry of a stage that fits something to the fixed `sample` [N, ...]."""
    enter = lambda state, sample: stage.enter(state, alternate.as_float(sample))
    sample = hosts.place(sample, sharding.replicated(mesh))
    return jax.jit(enter, out_shardings=sharding.parameters(state, mesh))(state, sample)


def start(system: System, shapes: State, checkpoint: Path | None, mesh: Mesh, key: jax.Array,
          warm_start: Callable[[State], State]) -> State:
    """The state of such `shapes` that a run begins with: a checkpoint's, or a fresh one changed by `warm_start`."""
    if checkpoint is None:
        return hosts.place(warm_start(fresh(system, key, mesh)), sharding.parameters(shapes, mesh))
    return load_state(checkpoint, placed(shapes, mesh))
