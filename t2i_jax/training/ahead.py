"""The compiled update of each stage: the next stage's is compiled while this one trains."""

import concurrent.futures

import jax
from jax.sharding import Mesh

from t2i_jax.systems import System
from t2i_jax.training import alternate
from t2i_jax.training.state import State


class Programs:
    """Compiles one stage at a time, in a thread beside the loop."""

    def __init__(self, system: System, scan_length: int, mesh: Mesh):
        self._system, self._scan_length, self._mesh = system, scan_length, mesh
        self._pool = concurrent.futures.ThreadPoolExecutor(1, "compile")
        self._begun: dict[int, concurrent.futures.Future[alternate.Update]] = {}

    def prepare(self, number: int, state: State, batches: dict) -> None:
        """Begin to compile stage `number`, unless there is none or that was done, for arrays such as `state` and `batches`
        [K, B, ...]."""
        if number < len(self._system.stages) and number not in self._begun:
            shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (state, batches))
            self._begun[number] = self._pool.submit(self._compile, number, *shapes)

    def update(self, number: int, state: State, batches: dict) -> alternate.Update:
        """That of stage `number`, compiled now unless it was. Raises UserError where the phases cannot run as configured."""
        self.prepare(number, state, batches)
        self._begun = {stage: program for stage, program in self._begun.items() if stage >= number}  # the others are done
        return self._begun[number].result()

    def close(self) -> None:
        """Nothing more is compiled; what is being compiled ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _compile(self, number: int, state: State, batches: dict) -> alternate.Update:
        one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), batches)
        stage = self._system.stages[number]
        update = alternate.compile_update(self._system, stage, state, one, self._scan_length, self._mesh)
        return update._replace(run=update.run.lower(state, batches).compile())
