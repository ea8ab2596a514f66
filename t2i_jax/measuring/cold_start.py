"""From the start of a process to the first picture of a saved run, as `t2i sample` draws it."""

import os
import subprocess
import sys
import time
from pathlib import Path

from t2i_jax.errors import UserError
from t2i_jax.measuring.figure import Figure, Figures

PACKAGES = Path(__file__).parents[2]  # where t2i_jax lies


def measure_cold_start(run: Path, scratch: Path, repeats: int) -> Figures:
    """Seconds until a process that draws one picture has ended: first with nothing compiled on disk, then with what the
    first one left there. Several processes, one after another; no device may be in use by this one."""
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(scratch / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": os.environ.get("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1"),
        "PYTHONPATH": os.pathsep.join([str(PACKAGES), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    first = _draw(run, scratch / "first.png", environment)
    again = [_draw(run, scratch / f"again-{number}.png", environment) for number in range(repeats)]
    return {
        "cold": Figure("process start to first picture, nothing compiled on disk", "s", [first]),
        "warm": Figure("process start to first picture", "s", again),
    }


def _draw(run: Path, picture: Path, environment: dict[str, str]) -> float:
    """Seconds. UserError where the process fails."""
    command = [sys.executable, "-m", "t2i_jax", "sample", "--workdir", str(run), "--prompt", "a red heart", "--out", str(picture)]
    begun = time.perf_counter()
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    took = time.perf_counter() - begun
    if ended.returncode or not picture.is_file():
        raise UserError(f"t2i sample --workdir {run} failed: {ended.stderr.strip().splitlines()[-1:] or ended.returncode}")
    return took
