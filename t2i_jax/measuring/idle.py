"""The training loop as it is: how long devices wait between chunks, and across a checkpoint."""

import statistics
from collections.abc import Sequence
from pathlib import Path

import jax
from jax.sharding import Mesh

from t2i_jax.measuring.compiling import kept_in
from t2i_jax.measuring.figure import Figure, Figures
from t2i_jax.systems import System
from t2i_jax.training import loop
from t2i_jax.training.checkpoint import Run
from t2i_jax.training.clock import Span

HALF = 4  # chunks of a stage before and after its checkpoint, at least


def run_loop(system: System, data: loop.Data, run: Run, workdir: Path, mesh: Mesh, repeats: int, stages: Sequence[str],
             cache: Path, writing: float) -> dict[str, Figures]:
    """Train a few chunks of these stages in the new directory `workdir`, with one checkpoint amid each; {stage: figures}.

    cache: where JAX kept the compiled chunks. writing: seconds until a checkpoint is on disk.
    """
    chunk, half = data.batch_size * data.scan_length, max(HALF, repeats)
    length = lambda stage: 2 * half * chunk if stage.name in stages else 0
    shortened = system._replace(stages=tuple(stage._replace(images=length(stage)) for stage in system.stages))
    options = loop.Options(checkpoint_every=half * chunk, keep=1)
    with kept_in(cache):
        spans = loop.train(shortened, data, run, workdir, mesh, jax.random.key(0), options).chunks
    ordered = [stage.name for stage in system.stages if stage.name in stages]
    return {name: waits(spans[2 * half * number : 2 * half * (number + 1)], half, writing) for number, name in enumerate(ordered)}


def waits(spans: Sequence[Span], saved: int, writing: float) -> Figures:
    """Of the chunks of one stage in a row, with a checkpoint before chunk number `saved`, written in so many seconds."""
    gaps = [after.began - before.ended for before, after in zip(spans, spans[1:])]
    across = gaps.pop(saved - 1)
    # Chunks share the machine with what writes the checkpoint: that is part of its price. Those before it shared it with the
    # compilation of the next stage, so the ones after are what is usual.
    beside = [span for span in spans[saved:] if span.began < spans[saved].began + writing]
    usual = [span.seconds for span in spans[saved + len(beside) :] or spans[1:saved]]
    slower = sum(span.seconds - statistics.median(usual) for span in beside)
    share = [100 * gap / (gap + span.seconds) for gap, span in zip(gaps, [*spans[1:saved], *spans[saved + 1 :]], strict=True)]
    return {
        "idle": Figure("device idle between chunks", "ms", [1000 * gap for gap in gaps]),
        "idle_share": Figure("of the loop's time", "%", share),
        "loop_chunk": Figure("chunk in the loop", "s", usual),
        "idle_saving": Figure("device idle across a checkpoint", "s", [across]),
        "saving_costs": Figure("checkpoint, with chunks slowed while it is written", "s", [max(0.0, across + slower)]),
    }
