"""The state that a run, and each of its stages, begins with."""

from collections.abc import Callable
from pathlib import Path

import jax
from jax.sharding import Mesh

from t2i_jax.distributed import hosts, sharding
from t2i_jax.systems import Stage, System
from t2i_jax.training import alternate
from t2i_jax.training.checkpoint import load_state, newest_good
from t2i_jax.training.state import State, create


def fresh(system: System, key: jax.Array, mesh: Mesh) -> State:
    """The state before the first stage, placed."""
    made = lambda key: create(system, key)
    return jax.jit(made, out_shardings=sharding.parameters(jax.eval_shape(made, key), mesh))(key)


def entered(stage: Stage, state: State, sample: dict, mesh: Mesh) -> State:
    """`state` at the entry of a stage that fits something to the fixed `sample` [N, ...]."""
    enter = lambda state, sample: stage.enter(state, alternate.as_float(sample))
    sample = hosts.place(sample, sharding.replicated(mesh))
    return jax.jit(enter, out_shardings=sharding.parameters(state, mesh))(state, sample)


def start(system: System, workdir: Path, mesh: Mesh, key: jax.Array,
          warm_start: Callable[[State], State]) -> tuple[State, dict]:
    """(state, what its run.json says): from the newest whole checkpoint, or fresh, changed by `warm_start`, and {}."""
    found = newest_good(workdir)
    abstract = jax.eval_shape(lambda key: create(system, key), key)
    shardings = sharding.parameters(abstract, mesh)
    if found is None:
        return hosts.place(warm_start(fresh(system, key, mesh)), shardings), {}
    path, run = found
    placed = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), abstract, shardings)
    return load_state(path, placed), run.about
