"""`device_worker.py FSDP STARTS OUT JOB...`: trains tiny systems on JAX_NUM_CPU_DEVICES simulated devices of each of
T2I_PROCESSES processes, of which it is T2I_PROCESS.

A job is a precision and a stage of the latent GAN: "double autoencoder" and "double gan" are 50 steps in float64,
"single gan" ten times one in float32. They start from the states in the folder STARTS, which the job "starts" writes.
"double dcgan" is 50 steps of the dcgan, whose generator normalizes by the batch. Results are OUT/<job>.npz, for single
steps OUT/<job> <n>.npz: what the steps reported and the arrays of the state by path.
"""

import dataclasses
import functools
import os
import sys
from pathlib import Path

import jax
import numpy as np
import playing
import synthetic

from t2i_jax.distributed import hosts, sharding
from t2i_jax.distributed.cluster import Cluster, named
from t2i_jax.distributed.mesh import make_mesh
from t2i_jax.distributed.runtime import joined
from t2i_jax.distributed.together import here
from t2i_jax.paths import flat
from t2i_jax.training import alternate
from t2i_jax.training.state import create

BATCH, STEPS, SCAN, SINGLE_STEPS = 16, 50, 10, 10


@functools.cache  # made once JAX has started
def latent():
    return synthetic.system("stages.autoencoder=800", "stages.imitation=0", "stages.gan=800")  # its loss is in the GAN's


def cast(state, dtype):
    return jax.tree.map(lambda x: x.astype(dtype) if x.dtype in (np.float32, np.float64) else x, state)


def save(file, state):
    np.savez(file, *jax.device_get(jax.tree.leaves(dataclasses.replace(state, key=np.zeros(())))))


def load(file, dtype, mesh):
    """A saved state, placed as the loop places it."""
    structure = jax.tree.structure(jax.eval_shape(lambda: create(latent(), jax.random.key(0))))
    with np.load(file) as saved:
        leaves = [saved[f"arr_{number}"] for number in range(structure.num_leaves)]
    state = dataclasses.replace(cast(jax.tree.unflatten(structure, leaves), dtype), key=jax.random.key(0))
    return hosts.place(state, sharding.parameters(state, mesh))


def enter(stage, state):
    sample = alternate.as_float(synthetic.examples(99, 64))
    return jax.jit(stage.enter)(state, sample)


def stepper(system, stage, state, scan, mesh):
    """(state, seed) -> (state, report): one compiled chunk, whose batches are the same on any devices."""
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), synthetic.examples(0, BATCH))
    update = alternate.compile_update(system, stage, state, one, scan, mesh)
    placed = lambda seed: hosts.place(synthetic.examples(seed, scan, BATCH), sharding.stacked_batch(mesh))
    return lambda state, seed: update.run(state, placed(seed))


def write(file, state, reports, mesh):
    arrays = flat({"params": state.params, "aux": state.aux, "ema": state.ema})
    split = sum(not array.is_fully_replicated for array in arrays.values())
    arrays = jax.device_get(hosts.whole(arrays, mesh))
    if here().first:
        np.savez(file, reports=np.stack(jax.device_get(reports)), split=split, **arrays)


def double(name, system, stage, state, out, mesh):
    step, reports = stepper(system, stage, state, SCAN, mesh), []
    for seed in range(STEPS // SCAN):
        state, report = step(state, seed)
        reports.append(report)
    write(out / f"double {name}.npz", state, reports, mesh)
    return state


def single(stage, state, starts, out, mesh):
    """Each step starts from the state that the first worker to come by got to: the same for all."""
    step = stepper(latent(), stage, state, 1, mesh)
    for number in range(SINGLE_STEPS):
        start = starts / f"single {stage.name} {number}.npz"
        if not start.exists():
            save(start, state)
        state, report = step(load(start, np.float32, mesh), number)
        write(out / f"single {stage.name} {number}.npz", state, [report], mesh)


def main(fsdp, starts, out, *jobs):
    starts, out, mesh = Path(starts), Path(out), make_mesh(int(fsdp))
    autoencoder, gan = latent().stages  # imitation is left out: the GAN stage freezes the latents
    with jax.enable_x64(True):
        if "starts" in jobs:
            state = cast(jax.jit(lambda: create(latent(), jax.random.key(0)))(), np.float64)
            save(starts / "autoencoder.npz", enter(autoencoder, state))
        if "double autoencoder" in jobs:
            state = load(starts / "autoencoder.npz", np.float64, mesh)
            state = double("autoencoder", latent(), autoencoder, state, out, mesh)
        if "starts" in jobs:
            save(starts / "gan.npz", enter(gan, state))
        if "double gan" in jobs:
            double("gan", latent(), gan, load(starts / "gan.npz", np.float64, mesh), out, mesh)
        if "double dcgan" in jobs:
            plain = ("text.depth=0", "losses.gamma=0.0", "losses.gamma_fake=0.0", "losses.augment=0.0")
            system = playing.system("dcgan", "stages.gan=800", *plain)
            state = cast(playing.state_of(system), np.float64)
            state = hosts.place(state, sharding.parameters(state, mesh))
            double("dcgan", system, system.stages[0], state, out, mesh)
    if "single gan" in jobs:
        single(gan, load(starts / "gan.npz", np.float32, mesh), starts, out, mesh)


if __name__ == "__main__":
    jax.config.update("jax_numpy_rank_promotion", "raise")
    sharding.SMALLEST_SHARDED = 2**8  # otherwise `fsdp` splits nothing of networks this small
    address = os.environ.get("T2I_COORDINATOR")
    among = named(address, int(os.environ["T2I_PROCESSES"]), int(os.environ["T2I_PROCESS"])) if address else Cluster()
    with joined(among):
        main(*sys.argv[1:])
