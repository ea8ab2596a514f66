"""The training loop: save, then draw the next batch, then step. The only file of training that holds state."""

import dataclasses
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from t2i_jax.distributed import hosts
from t2i_jax.distributed.together import here
from t2i_jax.errors import UserError
from t2i_jax.systems import System
from t2i_jax.training import alternate, best
from t2i_jax.training.ahead import Programs
from t2i_jax.training.checkpoint import Checkpoints, Run, newest_good
from t2i_jax.training.clock import Clock, Span
from t2i_jax.training.health import Monitor
from t2i_jax.training.kept import Kept
from t2i_jax.training.metrics import MetricsLog, Silence
from t2i_jax.training.start import abstract, entered, start
from t2i_jax.training.state import State
from t2i_jax.training.stop import StopRequest


@dataclasses.dataclass(frozen=True)
class Options:
    """The config section `run`: how a run is saved, logged, judged, kept well. Every cadence is in images; 0 = never.

    Raises UserError for values that exclude each other.
    """

    checkpoint_every: int
    keep: int = 2  # newest checkpoints kept
    keep_every: int = 0  # checkpoints at multiples of it are kept for ever
    log_every: int = 0  # 0 = every chunk
    samples_every: int = 0
    evaluate_every: int = 0  # and at the end
    evaluator: str = ""  # work directory of the trained evaluator that this takes
    best: str = ""  # "lowest evaluation/frechet" keeps the checkpoint best by it too; "highest ..." for scores
    rollbacks: int = 0  # times a diverged run may go back to its last healthy checkpoint and on, amended
    rollback_learning_rate: float = 0.5  # what a rollback multiplies every learning rate by
    rollback_gamma: float = 1.0  # what it multiplies losses.gamma and losses.gamma_final by

    def __post_init__(self):
        best.check(self.best)
        if self.best and not self.evaluate_every:
            raise UserError(f"config: run.best = {self.best!r} needs figures: set run.evaluate_every, in images")
        rate, gamma = self.rollback_learning_rate, self.rollback_gamma
        if self.rollbacks < 0 or not 0 < rate <= 1 or not gamma >= 1 or self.rollbacks and rate == gamma == 1:
            raise UserError(
                f"config: run.rollbacks = {self.rollbacks}, run.rollback_learning_rate = {rate}, run.rollback_gamma = "
                f"{gamma} do not fit; accepted: 0 or more, above 0 up to 1, 1 or more, and a rollback has to change one"
            )


class Data(NamedTuple):
    """What training reads."""

    batches: Callable[[int], Iterator[dict]]  # next example index -> [K, B, ...] batches for ever, of which this process
    # has the places `hosts.rows`
    sample: Callable[[], dict]  # the fixed examples [N, ...] that stages fit their starts to
    batch_size: int  # of all processes together
    scan_length: int
    pictures: Callable[[], np.ndarray] | None = None  # all that batches show, uint8 [N, H, W, C], by a batch's "picture"; None: too
    # many, or shown in more than one way


class Diverged(UserError):
    """The run is beyond help from its newest state; an earlier checkpoint is healthy."""


class NotFinite(Diverged):
    """A loss or the state stopped being finite; nothing of it was saved."""


class Result(NamedTuple):
    """How a call of `train` ended."""

    state: State
    images: int
    finished: bool  # False: saved after SIGTERM or SIGINT, the same call goes on
    chunks: tuple[Span, ...] = ()  # when each ran, the newest of them


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
    evaluate: Callable[[State, int], dict[str, float]] | None = None,
) -> Result:
    """Train through all stages, going on from the newest whole checkpoint in `workdir`.

    `draw` is handed the state every `samples_every` images and at the end, `evaluate` every `evaluate_every`: its
    figures {name: value} are logged as "evaluation/name". Neither may keep the state, whose buffers the next step
    reuses. `warm_start` changes a fresh state.
    Raises NotFinite, naming the first bad step and term, Diverged where health says so and `options.rollbacks` are
    asked for, and UserError where files cannot be written or read.
    """
    if options.evaluate_every and evaluate is None:
        raise UserError("config: run.evaluate_every is set, but nothing is given to evaluate with; set it to 0")
    started = time.monotonic()
    checkpoints = Checkpoints(workdir, options.keep, options.keep_every)
    newest = newest_good(workdir)
    found = newest[1].about if newest else {}
    images, last_entered = found.get("images", 0), found.get("stage_number", -1)
    best_so_far = found.get("best")
    if best_so_far and not checkpoints.has(best_so_far["images"]):
        best_so_far = None
    health = Monitor(found.get("streaks"))
    total = sum(stage.images for stage in system.stages)
    if here().first:
        checkpoints.remove_unfinished()
        log = MetricsLog(workdir, images, total)
        checkpoints.name_best(best_so_far)
    else:
        log = Silence()
    stop = StopRequest()
    clock, first = Clock(), images
    kept = Kept(data.pictures, data.batch_size, mesh)
    programs = Programs(system, mesh, kept.expected)
    batches = _placed(data, images, mesh)
    chunk = data.batch_size * data.scan_length

    def save(stage_number: int) -> None:
        about = {"images": images, "next_example": images, "stage": system.stages[stage_number].name,
                 "stage_number": stage_number, "finished": images == total, "healthy": health.healthy,
                 "streaks": health.streaks, "best": best_so_far}
        checkpoints.save(state, images, run._replace(about=run.about | about))

    def settle(pending: tuple[int, jax.Array] | None, update: alternate.Update, stage: str) -> None:
        """Read a chunk's report and log it; nothing is saved before its report has been read."""
        if pending is None:
            return
        seen, report = pending
        means, bad = alternate.read(update, stop.receive(jax.device_get(report)))
        if bad is not None:
            step = (seen - chunk) // data.batch_size + bad[0]
            raise NotFinite(
                f"training stopped: {bad[1]} is not finite at step {step} of stage {stage!r} (within images "
                f"{seen - chunk}-{seen}); the last checkpoint is intact: run again with lower "
                "optimizers.*.learning_rate, or with run.rollbacks = 2"
            )
        if _crosses(options.log_every, seen - chunk, seen) or not options.log_every or seen == total:
            speed = (seen - first) / (time.monotonic() - started)
            log.write(seen, stage, means | {"images_per_second": speed})
        log.advance(seen, stage, means)
        for finding in health.see(means):
            log.note(seen, stage, "warning", finding._asdict(), finding.text)
        if options.rollbacks and health.diverged:
            raise Diverged(f"training stopped: {health.diverged.text} (at {seen:,} images of stage {stage!r})")

    def judge(stage: str) -> None:
        nonlocal best_so_far
        figures = {f"evaluation/{name}": float(value) for name, value in evaluate(state, images).items()}
        log.write(images, stage, figures)
        log.say(f"{images:,} images: " + ", ".join(f"{name} {value:.4g}" for name, value in figures.items()))
        best_so_far = best.better(options.best, images, figures, best_so_far)

    try:
        for amendment in run.about.get("amendments", []):
            if amendment["images"] == images:
                text = f"{amendment['key']} = {amendment['new']!r} instead of {amendment['old']!r}"
                why = f" ({amendment['why']})" if "why" in amendment else ""
                log.note(images, system.stages[max(last_entered, 0)].name, "amendment", amendment, text + why)
        shapes = abstract(system, key)
        if images < total:
            batches = programs.begin(max(last_entered, 0), shapes, batches)
        state = start(system, shapes, newest and newest[0], mesh, key, warm_start)
        end = 0
        for number, stage in enumerate(system.stages):
            end += stage.images
            if images >= end and number <= last_entered:
                continue
            if number > last_entered:
                if stage.enter is not None:
                    state = entered(stage, state, data.sample(), mesh)
                if _crosses(options.evaluate_every, images - chunk, images):
                    judge(stage.name)
                save(number)
            saved, pending, update = images, None, None
            while images < end:
                judging = images > saved and _crosses(options.evaluate_every, images - chunk, images)
                saving = images > saved and _crosses(options.checkpoint_every, images - chunk, images)
                if stop.due or judging or saving:
                    settle(pending, update, stage.name)
                    pending = None
                    if judging:  # before the save, which records it: a run that goes on from there need not judge again
                        judge(stage.name)
                    if images > saved:
                        save(number)
                        saved = images
                    if stop.due:
                        checkpoints.wait()
                        return Result(state, images, finished=False)
                if _crosses(options.samples_every, images - chunk, images):
                    draw(state, images, log)
                batch = next(batches)
                update = programs.update(number, state, batch)
                whole = kept.beside(stage, state, batch)
                with jax.transfer_guard("disallow"):
                    state, report = update.run(state, whole)
                clock.dispatched(report)
                programs.prepare(number + 1, state, batch)
                images += chunk
                settle(pending, update, stage.name)
                pending = images, stop.send(report, mesh)
            settle(pending, update, stage.name)
        if images > first:
            if options.evaluate_every:
                judge(system.stages[-1].name)
            save(len(system.stages) - 1)
            draw(state, images, log)
        checkpoints.wait()
        clock.stop()
        log.say(_summary(images, images - first, time.monotonic() - started, clock.busy))
        return Result(state, images, True, tuple(clock.spans))
    finally:
        programs.close()
        clock.stop()
        stop.restore()
        log.close()
        checkpoints.wait()  # a good save under way is finished whatever ended the run


def _placed(data: Data, start: int, mesh: Mesh) -> Iterator[dict]:
    """The batches of all processes from example `start` on; nothing is read before the first is asked for."""
    mine = hosts.rows(mesh, data.batch_size)
    for batch in data.batches(start):
        yield hosts.join_batch(batch, mine, data.batch_size, mesh)


def _crosses(every: int, before: int, after: int) -> bool:
    """Whether a multiple of `every` lies in (before, after]."""
    return every > 0 and after // every > max(before, 0) // every


def _summary(images: int, done: int, seconds: float, busy: float) -> str:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    speed = f", {done / seconds:,.0f} images/s, {1 - busy / seconds:.1%} of the time outside compiled chunks" if done else ""
    return f"done: {images:,} images; this call {done:,} in {seconds / 60:.1f} min{speed}; peak memory {peak:.1f} GiB"
