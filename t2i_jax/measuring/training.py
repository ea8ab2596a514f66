"""A stage of training by itself: its compiled chunk and each of its phases, without what feeds them."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from t2i_jax.measuring.compiling import compiled, kept_in
from t2i_jax.measuring.figure import Figure, Figures
from t2i_jax.planning.model_flops import matrix_flops
from t2i_jax.systems import Stage, System
from t2i_jax.training import alternate
from t2i_jax.training.state import State

Chunk = Callable[[State, dict], tuple[State, Any]]


def measure_stage(system: System, stage: Stage, state: State, batches: dict, mesh: Mesh, repeats: int, cache: Path,
                  achievable: Figure) -> tuple[Figures, State]:
    """Figures of one stage, and `state`, which it donates, trained a little.

    batches: placed arrays [K, B, ...], the same for every repeat. cache: a directory where JAX may keep compiled programs and
    has kept none of this stage yet. achievable: GFLOP/s of a device.
    """
    steps, batch_size = jax.tree.leaves(batches)[0].shape[:2]
    images = steps * batch_size
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), batches)
    chunk = lambda phases: alternate.compile_update(system, stage._replace(phases=phases), state, one, steps, mesh).run
    with kept_in(cache):
        _, cold = compiled(chunk(stage.phases), state, batches)
        program, warm = compiled(chunk(stage.phases), state, batches)
    asked = matrix_flops(chunk(stage.phases), state, batches)
    memory = program.memory_analysis()
    took, state = chunk_seconds(program, state, batches, repeats)
    figures = {
        "compile": Figure("compiling the chunk", "s", [cold]),
        "compile_kept": Figure("the same, kept on disk", "s", [warm]),
        "images_per_second": Figure("training", "images/s", [images / s for s in took]),
        "chunk": Figure(f"chunk: {steps} steps of {batch_size} images", "s", took),
        "step": Figure("step", "ms", [1000 * s / steps for s in took]),
    }
    each = []
    for phase in stage.phases:
        if len(stage.phases) > 1:
            alone = chunk((phase,)).lower(state, batches).compile()
            phase_took, state = chunk_seconds(alone, state, batches, repeats)
        else:
            phase_took = took
        rarely = f", every {phase.every} steps, a step" if phase.every > 1 else ""
        each.append(Figure(f"phase {phase.name}{rarely}", "ms", [1000 * s / steps for s in phase_took]))
        figures[f"phases/{phase.name}"] = each[-1]
    achieved = [asked / s / 1e9 / mesh.size for s in took]
    share = [100 * sum(turns) / step for *turns, step in zip(*(f.repeats for f in each), figures["step"].repeats)]
    return figures | {
        "phases_sum": Figure("sum of phases, each compiled alone, of the step", "%", share),
        "flops_per_image": Figure("matrix products and convolutions of an image", "MFLOP", [asked / images / 1e6]),
        "flops": Figure("achieved on a device", "GFLOP/s", achieved),
        "flops_share": Figure("of what is achievable", "%", [100 * rate / achievable.median for rate in achieved]),
        "device_memory": Figure("memory of a device, by the compiler", "MiB",
                                [(memory.argument_size_in_bytes + memory.temp_size_in_bytes) / 2**20]),
    }, state


def chunk_seconds(run: Chunk, state: State, batches: dict, repeats: int) -> tuple[list[float], State]:
    """Seconds of each of `repeats` chunks after one that is not counted; the state after them."""
    found = []
    for _ in range(repeats + 1):
        jax.block_until_ready((state, batches))
        begun = time.perf_counter()
        state, report = run(state, batches)
        jax.block_until_ready((state, report))
        found.append(time.perf_counter() - begun)
    return found[1:], state
