"""The compiled update: every phase of a step in turn, K steps in one jitted function."""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.sharding import Mesh

from t2i_jax import keys
from t2i_jax.distributed import sharding
from t2i_jax.distributed.activations import spread_over
from t2i_jax.distributed.mesh import compiler_options
from t2i_jax.errors import UserError
from t2i_jax.objectives.precision import at_least_float32
from t2i_jax.optimizer import ema_decay
from t2i_jax.paths import below, flat, merge, nested, select
from t2i_jax.systems import Made, Phase, Stage, System, Turn
from t2i_jax.training.state import State, averaged, count_images


class Update(NamedTuple):
    """K steps of one stage as one compiled function, and how to read what it reports."""

    run: Callable[[State, dict], tuple[State, Array]]  # (state, batches [K, B, ...]) -> (state, report); donates state
    terms: tuple[str, ...]  # "phase/term", sorted, then "ema_distance/prefix"
    scan_length: int


class Report(NamedTuple):
    """What one chunk of K steps said."""

    means: dict[str, float]
    bad: tuple[int, str] | None  # (first bad step within the chunk, its term), None while all is finite


def compile_update(system: System, stage: Stage, state: State, batch: dict, scan_length: int, mesh: Mesh) -> Update:
    """The one compilation of a stage. `state` and `batch` (one global batch [B, ...]) may be ShapeDtypeStructs.

    Raises UserError where the phases cannot run as configured.
    """
    check(system, stage, len(jax.tree.leaves(batch)[0]), scan_length)
    cycle = cycle_length(stage)
    names = jax.eval_shape(lambda s, b: step(system, stage, 0, s, b)[1], state, batch)
    terms = tuple(sorted(names))
    moving = {path for phase in stage.phases for path in select(state.params, phase.trains)}
    prefixes = tuple(prefix for prefix in system.ema if any(map(below(prefix), moving)))

    def chunk(state: State, batches: dict) -> tuple[State, Array]:
        cycles = jax.tree.map(lambda x: x.reshape(scan_length // cycle, cycle, *x.shape[1:]), batches)

        def body(state: State, batches: dict):
            reports = []
            for position in range(cycle):
                with spread_over(mesh):
                    state, metrics = step(system, stage, position, state, jax.tree.map(lambda x: x[position], batches))
                reports.append(jnp.stack([at_least_float32(jnp.asarray(metrics.get(name, jnp.nan))) for name in terms]))
            return state, jnp.stack(reports)

        state, values = jax.lax.scan(body, state, cycles)
        ran = np.array([[runs(stage, name, position) for name in terms] for position in range(cycle)])
        ran = np.tile(ran, (scan_length // cycle, 1))
        return state, summarize(state, values.reshape(scan_length, len(terms)), ran, prefixes)

    shardings = sharding.parameters(state, mesh)
    run = jax.jit(
        chunk,
        in_shardings=(shardings, sharding.stacked_batch(mesh)),
        out_shardings=(shardings, sharding.replicated(mesh)),
        donate_argnums=0,
        compiler_options=compiler_options(mesh),
    )
    return Update(run, terms + tuple(f"ema_distance/{prefix}" for prefix in prefixes), scan_length)


def cycle_length(stage: Stage) -> int:
    """Steps after which the phases' turns repeat."""
    return math.lcm(*(phase.every for phase in stage.phases))


def check(system: System, stage: Stage, batch_size: int, scan_length: int) -> None:
    """Raise UserError where the phases of a stage cannot run as configured."""
    chunk, cycle = batch_size * scan_length, cycle_length(stage)
    if scan_length % cycle:
        raise UserError(f"config: scan_length = {scan_length} must be a multiple of {cycle} (phases of {stage.name!r})")
    if stage.images % chunk or not stage.images:
        nearest = max(1, round(stage.images / chunk)) * chunk
        raise UserError(
            f"config: stage {stage.name!r} has {stage.images} images; accepted: a multiple of batch_size x scan_length "
            f"= {chunk}, for example {nearest}"
        )
    for phase in stage.phases:
        if phase.optimizer not in system.optimizers:
            raise UserError(f"phase {phase.name!r} names no optimizer of the system: {phase.optimizer!r}")
        if phase.accumulate > 1 and (phase.whole_batch or stage.makes is not None or batch_size % phase.accumulate):
            raise UserError(
                f"phase {phase.name!r} cannot accumulate {phase.accumulate} micro-batches of {batch_size}: its loss "
                "compares the examples of a batch, or the batch does not divide"
            )


def step(system: System, stage: Stage, position: int, state: State, batch: dict) -> tuple[State, dict[str, Array]]:
    """Every phase in turn, then averages and counters. `position` is the static place in the cycle of phases."""
    high, low = state.images.astype(jnp.float32)
    images = high * 2.0**32 + low
    batch = as_float(batch)
    size = len(jax.tree.leaves(batch)[0])
    step_key = jax.random.fold_in(keys.named(state.key, "step"), state.step)
    turn = lambda key, made=None: Turn(state.params, state.aux, state.ema, batch, keys.per_example(key, size), images, made)
    made = share(stage, turn(keys.named(step_key, "makes"))).made
    metrics = {}
    for number, phase in enumerate(stage.phases):
        if position % phase.every:
            continue
        # Stages end on whole steps, so (step, phase) names every draw of a run.
        state, terms = run_phase(system, phase, state, turn(jax.random.fold_in(step_key, number), made))
        metrics |= {f"{phase.name}/{name}": value for name, value in terms.items()}
    state = dataclasses.replace(
        state,
        ema=average(system, stage, state, size),
        step=state.step + 1,
        images=count_images(state.images, size),
    )
    return state, metrics


def share(stage: Stage, turn: Turn) -> Turn:
    """`turn` with what its stage makes once a step, where it makes something."""
    if stage.makes is None:
        return turn
    trained = select(turn.params, lambda path: any(phase.pulls and phase.trains(path) for phase in stage.phases))
    make = lambda trained: stage.makes(turn._replace(params=merge(turn.params, trained)))
    return turn._replace(made=Made(*jax.vjp(make, trained)))


def run_phase(system: System, phase: Phase, state: State, turn: Turn) -> tuple[State, dict[str, Array]]:
    """One player's update: gradients of its loss with respect to what it trains, one optimizer step."""

    def loss(trained: dict[str, Array], turn: Turn, made=None):
        if made is not None:
            turn = turn._replace(made=turn.made._replace(arrays=made))
        value, (aux, terms) = phase.loss(turn._replace(params=merge(turn.params, trained)))
        if set(aux) - set(phase.writes):
            raise ValueError(f"phase {phase.name!r} wrote aux entries it does not declare: {set(aux) - set(phase.writes)}")
        return value, (turn.aux | aux, terms | {"loss": value})

    trained = select(turn.params, phase.trains)
    gradient = jax.grad(loss, has_aux=True)
    if phase.pulls:
        (grads, by_made), (aux, terms) = jax.grad(loss, (0, 2), has_aux=True)(trained, turn, turn.made.arrays)
        (pulled,) = turn.made.pull(by_made)
        grads = {path: gradient + pulled[path] for path, gradient in grads.items()}
    elif phase.accumulate == 1:
        grads, (aux, terms) = gradient(trained, turn)
    else:
        grads, aux, terms = accumulate(gradient, trained, turn, phase.accumulate)
    updates, opt_state = system.optimizers[phase.optimizer].update(
        grads, state.opt_state[phase.optimizer], trained, images=turn.images
    )
    state = dataclasses.replace(
        state,
        params=merge(state.params, optax.apply_updates(trained, updates)),
        aux=aux,
        opt_state=state.opt_state | {phase.optimizer: opt_state},
    )
    return state, terms | {"gradient_norm": optax.tree.norm(grads)}


def accumulate(gradient: Callable, trained: dict, turn: Turn, count: int) -> tuple[dict, dict, dict]:
    """Mean gradients and terms over `count` micro-batches, `aux` handed from one to the next."""
    # Micro-batch i holds examples i::count, so that each still spans all devices.
    split = lambda x: jnp.swapaxes(x.reshape(x.shape[0] // count, count, *x.shape[1:]), 0, 1)
    parts = jax.tree.map(split, (turn.batch, turn.keys))

    def body(aux, part):
        batch, example_keys = part
        grads, (aux, terms) = gradient(trained, turn._replace(aux=aux, batch=batch, keys=example_keys))
        return aux, (grads, terms)

    aux, (grads, terms) = jax.lax.scan(body, turn.aux, parts)
    mean = lambda x: jnp.mean(x, axis=0)
    return jax.tree.map(mean, grads), aux, jax.tree.map(mean, terms)


def average(system: System, stage: Stage, state: State, size: int) -> dict:
    """Exponential moving averages of what this stage moves: decay 0.5^(batch / half-life), both in images."""
    moves = lambda path: any(phase.trains(path) for phase in stage.phases)
    writes = {name for phase in stage.phases for name in phase.writes}

    def toward(mean: dict, value: dict, moving: Callable[[str], bool]) -> dict:
        value = flat(value)
        return nested({
            path: old + (1 - ema_decay(averaged(system.ema, path), size)) * (value[path] - old) if moving(path) else old
            for path, old in flat(mean).items()
        })

    return {
        "params": toward(state.ema["params"], state.params, moves),
        "aux": toward(state.ema["aux"], state.aux, lambda path: path.split("/")[0] in writes),
    }


def ema_distance(state: State, prefix: str) -> Array:
    """`‖θ̄ - θ‖ / ‖θ‖` of the parameters θ below `prefix` and their average θ̄: how far they move in a half-life."""
    mean, now = (select(tree, below(prefix)) for tree in (state.ema["params"], state.params))
    return optax.tree.norm(jax.tree.map(jnp.subtract, mean, now)) / (optax.tree.norm(now) + 1e-12)


def runs(stage: Stage, term: str, position: int) -> bool:
    """Whether the phase that reports `term` takes its turn at this place of the cycle."""
    return any(term.startswith(phase.name + "/") and position % phase.every == 0 for phase in stage.phases)


def summarize(state: State, values: Array, ran: np.ndarray, prefixes: tuple[str, ...]) -> Array:
    """[terms + prefixes + 2]: mean of each term over the steps that computed it, distance of the averages below each
    prefix at the end, then first bad step and term or -1, -1.

    `values` [K, terms]. The state itself is the last term: it can overflow while every loss is finite.
    """
    state_finite = jnp.stack([
        jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.inexact)
    ]).all()
    bad = jnp.concatenate([~jnp.isfinite(values) & ran, jnp.zeros((len(values), len(prefixes) + 1), bool)], axis=1)
    bad = bad.at[-1, -1].set(~state_finite)
    first = jnp.argmax(bad.ravel())  # row-major: the first step, then its first term
    where = jnp.where(bad.any(), jnp.stack(jnp.divmod(first, bad.shape[1])), -1)
    means = jnp.where(ran, values, 0).sum(0) / ran.sum(0)
    distances = [ema_distance(state, prefix).astype(means.dtype)[None] for prefix in prefixes]
    return jnp.concatenate([means, *distances, where.astype(means.dtype)])


def as_float(batch: dict) -> dict:
    """Pictures travel as uint8 and are computed with as floats in [-1, 1]; everything else is left alone."""
    return jax.tree.map(lambda x: x / 127.5 - 1 if x.dtype == jnp.uint8 else x, batch)


def read(update: Update, report: Array) -> Report:
    """Fetch a report: the one transfer out of the loop."""
    values = jax.device_get(report)
    step, term = int(values[-2]), int(values[-1])
    names = (*update.terms, "state")
    return Report(dict(zip(update.terms, map(float, values))), None if step < 0 else (step, names[term]))
