"""A run of the toy system that kills itself (SIGKILL) where it is told: `killed_run.py WORKDIR WHERE`."""

import os
import signal
import sys
from pathlib import Path

import jax
import toy

from t2i_jax.distributed.mesh import make_mesh
from t2i_jax.training import checkpoint, loop

workdir, where = Path(sys.argv[1]), sys.argv[2]
kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
data = toy.data()


def kill_at(index):
    return toy.data(pause=lambda start: kill() if start == index else None)


match where:
    case "middle of the first stage":
        data = kill_at(192)
    case "middle of the second stage":
        data = kill_at(640)
    case "between the stages":
        data = data._replace(sample=lambda: kill())
    case "while a checkpoint is written":
        save = checkpoint.ocp.save_async

        def save_and_die(path, state):
            response = save(path, state)
            if path.parent.name.endswith("384"):
                kill()  # Orbax is still writing
            return response

        checkpoint.ocp.save_async = save_and_die
    case "before its marker":
        describe = checkpoint.describe
        checkpoint.describe = lambda file: kill() if "0384" in str(file) and file.name == "run.json" else describe(file)

options = loop.Options(checkpoint_every=128, keep=3, samples_every=256)
loop.train(toy.system(), data, checkpoint.Run("{}", "{}", {}), workdir, make_mesh(), jax.random.key(3), options)
