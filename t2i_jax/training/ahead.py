"""What a run needs next, made ready beside what it does now: its first batches, and the compiled update of each stage."""

import concurrent.futures
import contextlib
from collections.abc import Callable, Iterator

import jax
from jax.sharding import Mesh

from t2i_jax.systems import Stage, System
from t2i_jax.training import alternate
from t2i_jax.training.state import State


@contextlib.contextmanager
def compiling(*programs: Callable[[], jax.stages.Lowered]) -> Iterator[None]:
    """While the block runs a thread compiles these, for JAX to find them in its cache on disk when they are wanted.

    One that is not begun when the block ends is left out; where there is no such cache, all. What goes wrong is left to those who
    want a program, and meet it again.
    """
    if not (jax.config.jax_enable_compilation_cache and jax.config.jax_compilation_cache_dir):
        yield
        return
    pool = concurrent.futures.ThreadPoolExecutor(1, "compile")
    try:
        for program in programs:
            pool.submit(lambda program=program: program().compile())
        yield
    finally:
        pool.shutdown(cancel_futures=True)


def lower(system: System, number: int, state: State, batches: dict, mesh: Mesh) -> tuple[alternate.Update, jax.stages.Lowered]:
    """The update of stage `number`, and its program for arrays such as `state` and `batches` [K, B, ...].

    Raises UserError where the phases cannot run as configured.
    """
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), batches)
    update = alternate.compile_update(system, system.stages[number], state, one, jax.tree.leaves(batches)[0].shape[0], mesh)
    return update, update.run.lower(state, batches)


class Programs:
    """Compiles one stage at a time, in a thread beside the loop: the next one's while one trains."""

    def __init__(self, system: System, mesh: Mesh,
                 expected: Callable[[Stage, State, dict], dict] = lambda stage, state, batches: batches):
        """expected: (stage, state, batches as they are read) -> batches as the stage's update takes them, of shapes and types."""
        self._system, self._mesh, self._expected = system, mesh, expected
        self._pool = concurrent.futures.ThreadPoolExecutor(1, "compile")
        self._begun: dict[int, concurrent.futures.Future[alternate.Update]] = {}

    def begin(self, number: int, state: State, batches: Iterator[dict]) -> Iterator[dict]:
        """`batches`, of which the first is read at once, while the state is made; then stage `number` is compiled for it.

        state: its shapes and types will do.
        """
        first = self._pool.submit(next, batches)
        self._begun[number] = self._pool.submit(lambda: self._compile(number, *_shapes((state, first.result()))))

        def again() -> Iterator[dict]:
            yield first.result()
            yield from batches

        return again()

    def prepare(self, number: int, state: State, batches: dict) -> None:
        """Begin to compile stage `number`, unless there is none or that was done, for arrays such as `state` and `batches`
        [K, B, ...]."""
        if number < len(self._system.stages) and number not in self._begun:
            self._begun[number] = self._pool.submit(self._compile, number, *_shapes((state, batches)))

    def update(self, number: int, state: State, batches: dict) -> alternate.Update:
        """That of stage `number`, compiled now unless it was. Raises UserError where the phases cannot run as configured."""
        self.prepare(number, state, batches)
        self._begun = {stage: program for stage, program in self._begun.items() if stage >= number}  # the others are done
        return self._begun[number].result()

    def close(self) -> None:
        """Nothing more is compiled; what is being compiled ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _compile(self, number: int, state: State, batches: dict) -> alternate.Update:
        batches = self._expected(self._system.stages[number], state, batches)
        update, lowered = lower(self._system, number, state, batches, self._mesh)
        return update._replace(run=lowered.compile())


def _shapes(arrays):
    """A tree of arrays as shapes and types."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), arrays)
