"""The training loop: save, then draw the next batch, then step. The only file of training that holds state."""

import dataclasses
import resource
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
from jax.sharding import Mesh

from t2i_jax.distributed import sharding
from t2i_jax.errors import UserError
from t2i_jax.systems import System
from t2i_jax.training import alternate
from t2i_jax.training.checkpoint import Checkpoints, Run, load_state, newest_good
from t2i_jax.training.metrics import MetricsLog
from t2i_jax.training.state import State, create


@dataclasses.dataclass(frozen=True)
class Options:
    """How a run is saved and logged. Every cadence is in images; 0 = never."""

    checkpoint_every: int
    keep: int = 2  # newest checkpoints kept
    keep_every: int = 0  # checkpoints at multiples of it are kept for ever
    log_every: int = 0  # 0 = every chunk
    samples_every: int = 0


class Data(NamedTuple):
    """What training reads."""

    batches: Callable[[int], Iterator[dict]]  # next example index -> this process's part of [K, B, ...] batches, for ever
    sample: Callable[[], dict]  # the fixed examples [N, ...] that stages fit their starts to
    batch_size: int  # of all processes together
    scan_length: int


class NotFinite(UserError):
    """A loss or the state stopped being finite; nothing of it was saved."""


class Result(NamedTuple):
    """How a call of `train` ended."""

    state: State
    images: int
    finished: bool  # False: saved after SIGTERM or SIGINT, the same call goes on


def train(
    system: System,
    data: Data,
    run: Run,
    workdir: Path,
    mesh: Mesh,
    key: jax.Array,
    options: Options,
    warm_start: Callable[[State], State] = lambda state: state,
    draw: Callable[[State, int, MetricsLog], None] = lambda state, images, log: None,
) -> Result:
    """Train through all stages, going on from the newest whole checkpoint in `workdir`.

    `draw` is handed the state every `samples_every` images and at the end; `warm_start` changes a fresh state.
    Raises NotFinite, naming the first bad step and term, and UserError where files cannot be written or read.
    """
    checkpoints = Checkpoints(workdir, options.keep, options.keep_every)
    state, images, entered = _start(system, workdir, mesh, key, warm_start)
    checkpoints.remove_unfinished()
    total = sum(stage.images for stage in system.stages)
    log = MetricsLog(workdir, images, total)
    stop = _StopRequest()
    started, first = time.monotonic(), images
    state_sharding = sharding.parameters(state, mesh)
    batches = data.batches(images)
    chunk = data.batch_size * data.scan_length

    def save(stage_number: int) -> None:
        about = {"images": images, "next_example": images, "stage": system.stages[stage_number].name,
                 "stage_number": stage_number, "finished": images == total}
        checkpoints.save(state, images, run._replace(about=run.about | about))

    def settle(pending: tuple[int, jax.Array] | None, update: alternate.Update, stage: str) -> None:
        """Read a chunk's report and log it; nothing is saved before its report has been read."""
        if pending is None:
            return
        seen, report = pending
        means, bad = alternate.read(update, report)
        if bad is not None:
            step = (seen - chunk) // data.batch_size + bad[0]
            raise NotFinite(
                f"training stopped: {bad[1]} is not finite at step {step} of stage {stage!r} (within images "
                f"{seen - chunk}-{seen}); the last checkpoint is intact: run again with, say, a lower learning rate"
            )
        if _crosses(options.log_every, seen - chunk, seen) or not options.log_every or seen == total:
            speed = (seen - first) / (time.monotonic() - started)
            log.write(seen, stage, means | {"images_per_second": speed})
        log.advance(seen, stage, means)

    try:
        end = 0
        for number, stage in enumerate(system.stages):
            end += stage.images
            if images >= end and number <= entered:
                continue
            if number > entered:
                if stage.enter is not None:
                    sample = jax.device_put(data.sample(), sharding.replicated(mesh))
                    enter = lambda state, sample: stage.enter(state, alternate.as_float(sample))
                    state = jax.jit(enter, out_shardings=state_sharding)(state, sample)
                save(number)
            saved, pending, update = images, None, None
            while images < end:
                if stop.requested or _crosses(options.checkpoint_every, images - chunk, images) and images > saved:
                    settle(pending, update, stage.name)
                    pending = None
                    if images > saved:
                        save(number)
                        saved = images
                    if stop.requested:
                        checkpoints.wait()
                        return Result(state, images, finished=False)
                if _crosses(options.samples_every, images - chunk, images):
                    draw(state, images, log)
                batch = _to_devices(next(batches), data.batch_size, mesh)
                if update is None:
                    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), batch)
                    update = alternate.compile_update(system, stage, state, one, data.scan_length, mesh)
                with jax.transfer_guard("disallow"):
                    state, report = update.run(state, batch)
                images += chunk
                settle(pending, update, stage.name)
                pending = images, report
            settle(pending, update, stage.name)
        if images > first:
            save(len(system.stages) - 1)
            draw(state, images, log)
        checkpoints.wait()
        log.say(_summary(images, images - first, time.monotonic() - started))
        return Result(state, images, finished=True)
    finally:
        stop.restore()
        log.close()
        checkpoints.wait()  # a good save under way is finished whatever ended the run


def _start(system: System, workdir: Path, mesh: Mesh, key: jax.Array, warm_start: Callable) -> tuple[State, int, int]:
    """(state, images, number of the stage that was entered): from the newest whole checkpoint, or fresh."""
    abstract = jax.eval_shape(lambda key: create(system, key), key)
    shardings = sharding.parameters(abstract, mesh)
    found = newest_good(workdir)
    if found is None:
        state = jax.jit(lambda key: create(system, key), out_shardings=shardings)(key)
        return jax.device_put(warm_start(state), shardings), 0, -1
    path, run = found
    placed = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), abstract, shardings)
    return load_state(path, placed), run.about["images"], run.about["stage_number"]


def _to_devices(batch: dict, batch_size: int, mesh: Mesh) -> dict:
    """This process's part of [K, B, ...] arrays as one global array each."""
    placed = sharding.stacked_batch(mesh)
    whole = lambda x: (x.shape[0], batch_size, *x.shape[2:])
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(placed, x, whole(x)), batch)


def _crosses(every: int, before: int, after: int) -> bool:
    """Whether a multiple of `every` lies in (before, after]."""
    return every > 0 and after // every > max(before, 0) // every


def _summary(images: int, done: int, seconds: float) -> str:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    speed = f", {done / seconds:,.0f} images/s" if done else ""
    return f"done: {images:,} images; this call {done:,} in {seconds / 60:.1f} min{speed}; peak memory {peak:.1f} GiB"


class _StopRequest:
    """SIGTERM or SIGINT asks the loop to save and stop; a second SIGINT stops at once."""

    def __init__(self):
        self.requested = False
        self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)}

    def _ask(self, number, frame) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True

    def restore(self) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
