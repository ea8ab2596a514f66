"""Several real processes on this machine, each with simulated devices."""

import dataclasses
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from t2i_jax.systems import System
from t2i_jax.training import checkpoint
from t2i_jax.training.state import create

HERE = Path(__file__).parent
PATHS = [HERE.parent, HERE, HERE / "distributed", HERE / "training", HERE / "systems"]


class Ended(NamedTuple):
    """How one process ended."""

    code: int
    said: str  # on stderr

    @property
    def lines(self) -> list[str]:
        """What t2i said, line by line."""
        return [line for line in self.said.splitlines() if line.startswith("t2i: ")]


def arrays(workdir: Path, system: System) -> tuple[dict[str, np.ndarray], dict]:
    """({path: decoded array}, run.json) of the newest checkpoint, whatever processes wrote it."""
    path, run = checkpoint.newest_good(workdir)
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = jax.eval_shape(lambda key: create(system, key), jax.random.key(0))
    placed = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), abstract)
    state = checkpoint.load_state(path, placed)
    state = dataclasses.replace(state, key=jax.random.key_data(state.key))
    return {jax.tree_util.keystr(k): np.asarray(x) for k, x in jax.tree_util.tree_leaves_with_path(state)}, run.about


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def begin(command, devices=2, **more) -> subprocess.Popen:
    """Start one process; `more` of its environment and, as `cwd`, where."""
    where = more.pop("cwd", None)
    # XLA's optimizations take most of the time and are not what is tested.
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(devices), "JAX_PLATFORMS": "cpu",
                                "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
                                "PYTHONPATH": os.pathsep.join(map(str, PATHS))} | more
    command = [sys.executable, *map(str, command)]
    return subprocess.Popen(command, env=environment, cwd=where, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def end(started: list[subprocess.Popen], seconds=120) -> list[Ended]:
    """How they ended. None may still run after `seconds`."""
    try:
        said = [process.communicate(timeout=seconds)[1] for process in started]
        return [Ended(process.returncode, text) for process, text in zip(started, said, strict=True)]
    finally:
        for process in started:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.communicate()


def t2i(index, count, port, command, *arguments, lost=6, wait=60):
    """The command line of one of `count` processes that run `t2i COMMAND` together."""
    own = ("--coordinator", f"127.0.0.1:{port}", "--processes", count, "--process", index, "--lost", lost, "--wait", wait)
    return ["-m", "t2i_jax", command, *arguments, *own]


def toy(workdir, count=2, devices=2, action="", last=()) -> list[Ended]:
    """`count` processes train the toy system in float64 in `workdir`; see toy_worker.py for what may happen meanwhile.

    last: {name: value} of the environment of the last of them alone."""
    port = free_port()
    commands = [[HERE / "distributed" / "toy_worker.py", index, count, port, workdir, action] for index in range(count)]
    return end([begin(command, devices, JAX_ENABLE_X64="1", **dict(last if command is commands[-1] else ()))
                for command in commands])
