"""What a checkpoint costs: how long saving holds the loop up, and when it is on disk."""

import time
from pathlib import Path

import jax

from t2i_jax.measuring.figure import Figure, Figures
from t2i_jax.training.checkpoint import Checkpoints, Run
from t2i_jax.training.state import State


def measure_saving(state: State, run: Run, workdir: Path, repeats: int) -> Figures:
    """Save `state` into `workdir` again and again, after one save that is not counted."""
    checkpoints = Checkpoints(workdir, keep=1)
    blocked, done = [], []
    for number in range(repeats + 1):
        jax.block_until_ready(state)
        begun = time.perf_counter()
        checkpoints.save(state, number, run)
        blocked.append(time.perf_counter() - begun)
        checkpoints.wait()
        done.append(time.perf_counter() - begun)
    newest = checkpoints.directory / f"{repeats:012d}"
    size = sum(file.stat().st_size for file in newest.rglob("*") if file.is_file())
    return {
        "blocks": Figure("saving blocks the loop for", "s", blocked[1:]),
        "on_disk": Figure("on disk, verified sums and all, after", "s", done[1:]),
        "bytes": Figure("size", "MiB", [size / 2**20]),
    }


def against(blocks: Figure, chunks: dict[str, Figure]) -> Figures:
    """The time that a save blocks, in chunks of each stage, given their seconds."""
    return {
        f"chunks/{name}": Figure(f"blocked, in chunks of stage {name}", "chunks", [s / chunk.median for s in blocks.repeats])
        for name, chunk in chunks.items()
    }
