"""Trains the tiny latent GAN on as many simulated devices as JAX_NUM_CPU_DEVICES says: `device_worker.py FSDP OUT [REFERENCE]`.

Writes to the folder OUT: `double.npz`, losses and parameters after 50 steps of either stage in float64, and
`single_<n>.npz`, what one float32 step makes of the state `state_<n>.npz` of REFERENCE, which the run without a
REFERENCE writes as it goes.
"""

import dataclasses
import sys
from pathlib import Path

import jax
import numpy as np
import synthetic

from t2i_jax.distributed import sharding
from t2i_jax.distributed.mesh import make_mesh
from t2i_jax.paths import flat
from t2i_jax.training import alternate
from t2i_jax.training.state import create

jax.config.update("jax_numpy_rank_promotion", "raise")
sharding.SMALLEST_SHARDED = 2**8  # so that the tiny networks are split at all
BATCH, STEPS, SCAN = 16, 50, 10


def cast(state, dtype):
    single_or_double = lambda x: x.dtype in (np.float32, np.float64)
    return jax.tree.map(lambda x: x.astype(dtype) if single_or_double(x) else x, state)


def enter(stage, state, mesh):
    """As the loop does it, over the fixed sample."""
    sample = jax.device_put(synthetic.examples(99, 64), sharding.replicated(mesh))
    start = lambda state, sample: stage.enter(state, alternate.as_float(sample))
    return jax.jit(start, out_shardings=sharding.parameters(state, mesh))(state, sample)


def compiled(system, stage, state, mesh, scan):
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), synthetic.examples(0, BATCH))
    return alternate.compile_update(system, stage, state, one, scan, mesh)


def placed_batch(seed, mesh, scan):
    return jax.device_put(synthetic.examples(seed, scan, BATCH), sharding.stacked_batch(mesh))


def arrays(state):
    """Parameters, their averages and statistics by path."""
    return jax.device_get(flat({"params": state.params, "ema": state.ema, "aux": state.aux}))


def double(system, mesh):
    """{"stage/params/path": array, "stage/losses": [chunks, terms]} of 50 steps of either stage, one after the other."""
    state = cast(create(system, jax.random.key(0)), np.float64)
    state = jax.device_put(state, sharding.parameters(state, mesh))
    seen = {}
    for stage in system.stages:
        state = enter(stage, state, mesh)
        update, losses = compiled(system, stage, state, mesh, SCAN), []
        for seed in range(STEPS // SCAN):
            state, report = update.run(state, placed_batch(seed, mesh, SCAN))
            losses.append(report)
        seen |= {f"{stage.name}/{path}": array for path, array in arrays(state).items()}
        seen[f"{stage.name}/losses"] = np.stack(jax.device_get(losses))
    return seen


def single(system, mesh, out, reference, steps=5):
    """One float32 step from each of the reference's states: `steps` of either stage."""
    state = create(system, jax.random.key(0))
    key = state.key
    state = jax.device_put(state, sharding.parameters(state, mesh))
    for stage in system.stages:
        if reference is None:
            state = enter(stage, state, mesh)
        update = compiled(system, stage, state, mesh, 1)
        for number in range(steps):
            name = f"{stage.name}_{number}.npz"
            plain = dataclasses.replace(state, key=np.zeros(()))
            leaves, structure = jax.tree.flatten(plain)
            if reference is None:
                np.savez(out / f"state_{name}", *jax.device_get(leaves))
            else:
                with np.load(reference / f"state_{name}") as saved:
                    leaves = [saved[f"arr_{n}"] for n in range(len(leaves))]
                state = dataclasses.replace(jax.tree.unflatten(structure, leaves), key=key)
                state = jax.device_put(state, sharding.parameters(state, mesh))
            state, report = update.run(state, placed_batch(number, mesh, 1))
            np.savez(out / f"single_{name}", losses=jax.device_get(report), **arrays(state))


if __name__ == "__main__":
    import time
    fsdp, out = int(sys.argv[1]), Path(sys.argv[2])
    reference = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    mesh = make_mesh(fsdp)
    system = synthetic.system("stages.autoencoder=800", "stages.gan=800")
    t = time.time()
    with jax.enable_x64(True):
        np.savez(out / "double.npz", **double(system, mesh))
    print("double", time.time() - t); t = time.time()
    single(system, mesh, out, reference)
    print("single", time.time() - t)
