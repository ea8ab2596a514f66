"""The state of a run: one frozen dataclass of arrays."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import Array

from t2i_jax import keys
from t2i_jax.errors import UserError
from t2i_jax.paths import below, flat, merge, nested, select
from t2i_jax.systems import System


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
    """Everything that training changes. Arrays only, so saving, sharding and donation need no special case."""

    step: Array  # int32 scalar
    images: Array  # uint32 [2], high and low word: runs pass 2^32 images
    params: dict  # {player: parameters}
    aux: dict  # {name: arrays}, not trained
    ema: dict  # {"params": ..., "aux": ...}, the averaged part of either
    opt_state: dict  # {optimizer: its state}
    key: Array  # typed PRNG key, constant over a run


def count_images(images: Array, more: int) -> Array:
    """`images + more` over two uint32 words."""
    low = images[1] + jnp.uint32(more)
    return jnp.stack([images[0] + (low < images[1]).astype(jnp.uint32), low])


def averaged(ema: Mapping[str, float], path: str) -> float | None:
    """The half-life in images of the average kept of `path`, or None."""
    return next((half_life for prefix, half_life in ema.items() if below(prefix)(path)), None)


def trained_by(system: System, optimizer: str) -> Callable[[str], bool]:
    """Whether any phase trains a path with this optimizer."""
    phases = [phase for stage in system.stages for phase in stage.phases if phase.optimizer == optimizer]
    return lambda path: any(phase.trains(path) for phase in phases)


def create(system: System, key: Array) -> State:
    """The state before the first stage; pure, so `jax.eval_shape` and `jax.jit` with shardings apply.

    Raises UserError where phases that share an optimizer do not train the same parameters, or train none.
    """
    params, aux = system.init(keys.named(key, "init"))
    for stage in system.stages:
        for phase in stage.phases:
            paths = set(select(params, phase.trains))
            if not paths or paths != set(select(params, trained_by(system, phase.optimizer))):
                raise UserError(
                    f"phase {stage.name}/{phase.name} trains {len(paths)} arrays with optimizer {phase.optimizer!r}; "
                    "phases that share an optimizer must train the same, at least one"
                )
    is_averaged = lambda path: averaged(system.ema, path) is not None
    return State(
        step=jnp.int32(0),
        images=jnp.zeros(2, jnp.uint32),
        params=params,
        aux=aux,
        # Copied: donated buffers must not appear twice in one state.
        ema=jax.tree.map(
            jnp.copy, {"params": nested(select(params, is_averaged)), "aux": nested(select(aux, is_averaged))}
        ),
        opt_state={
            name: optimizer.init(select(params, trained_by(system, name)))
            for name, optimizer in system.optimizers.items()
        },
        key=key,
    )


def drawing_weights(params: dict, aux: dict, ema: dict) -> tuple[dict, dict]:
    """(params, aux) with averages in place of what is averaged: what samples are drawn with."""
    return merge(params, flat(ema["params"])), merge(aux, flat(ema["aux"]))
