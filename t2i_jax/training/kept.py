"""What the stage under way keeps of every picture: computed once and looked up, instead of in every step anew."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from t2i_jax.distributed import hosts, sharding
from t2i_jax.systems import Stage
from t2i_jax.training import alternate
from t2i_jax.training.state import State


class Kept:
    """Holds one stage's entries of a batch, of all pictures, whole on every device."""

    def __init__(self, pictures: Callable[[], np.ndarray] | None, group: int, mesh: Mesh):
        """pictures: all, uint8 [N, H, W, C], asked for once by each stage that keeps something; None: nothing is kept.

        group: how many are computed at once, a number that the devices share evenly."""
        self._pictures, self._group, self._mesh = pictures, group, mesh
        self._stage, self._table = None, {}
        self._look_up = jax.jit(lambda table, numbers: jax.tree.map(lambda rows: rows[numbers], table),
                                out_shardings=sharding.stacked_batch(mesh))

    def beside(self, stage: Stage, state: State, batches: dict) -> dict:
        """`batches` [K, B, ...] with what the stage keeps of their pictures: computed from its `state` when it first asks."""
        if not self._keeps(stage):
            return batches
        if stage.name != self._stage:
            self._stage, self._table = stage.name, self._of_all(stage, state)
        return batches | self._look_up(self._table, batches["picture"])

    def expected(self, stage: Stage, state: State, batches: dict) -> dict:
        """Shapes and types of what `beside` gives, from such of both."""
        if not self._keeps(stage):
            return batches
        image = batches["image"]
        flat = jax.ShapeDtypeStruct((math.prod(image.shape[:2]), *image.shape[2:]), jnp.float32)
        entries = jax.eval_shape(stage.keeps, state.params, state.aux, flat)
        return batches | {name: jax.ShapeDtypeStruct((*image.shape[:2], *x.shape[1:]), x.dtype) for name, x in entries.items()}

    def _keeps(self, stage: Stage) -> bool:
        return stage.keeps is not None and self._pictures is not None

    def _of_all(self, stage: Stage, state: State) -> dict:
        images = self._pictures()
        keep = jax.jit(lambda params, aux, images: stage.keeps(params, aux, alternate.as_float(images)),
                       out_shardings=sharding.replicated(self._mesh))
        parts = []
        for begin in range(0, len(images), self._group):
            numbers = np.minimum(np.arange(begin, begin + self._group), len(images) - 1)  # the last again, in a group not full
            parts.append(keep(state.params, state.aux, hosts.place(images[numbers], sharding.batch(self._mesh))))
        return jax.tree.map(lambda *rows: jnp.concatenate(rows), *parts)
