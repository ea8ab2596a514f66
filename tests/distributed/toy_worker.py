"""`toy_worker.py INDEX COUNT PORT WORKDIR ACTION`: one of COUNT processes that train the toy system to its end.

ACTION is what happens where, "NAME PROCESS EXAMPLE": "kill 1 384" kills process 1 (SIGKILL) when the batch that begins
with example 384 is due, once the checkpoint at 384 is finished. "interleaved": the devices of a process are no
neighbours in the mesh. Others are the functions below. Every process writes the examples it drew to
WORKDIR/drawn-COUNT-INDEX.json, {first example of the stack: {place: example}}, the places of its first batch alone.
"""

import json
import os
import resource
import shutil
import signal
import sys
import time
from pathlib import Path

import jax
import numpy as np
import toy
from jax.sharding import Mesh

from t2i_jax.distributed import hosts, together
from t2i_jax.distributed.cluster import Cluster
from t2i_jax.distributed.mesh import make_mesh
from t2i_jax.distributed.runtime import joined
from t2i_jax.errors import UserError
from t2i_jax.training import checkpoint, loop, state

index, count, port, workdir = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
name, process, example = words if len(words := sys.argv[5].split()) == 3 else ("", -1, -1)
BATCH = 16


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def term():
    os.kill(os.getpid(), signal.SIGTERM)


def full():
    """No file takes a byte more."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def vanish():
    """The next checkpoint's directory goes away between its arrays and its sums."""
    files = checkpoint.files

    def remove(path):
        shutil.rmtree(path)
        return files(path)

    checkpoint.files = remove


def block():
    """A file stands where the next checkpoint goes; permissions would not stop root."""
    (workdir / "checkpoints" / "000000000512").write_text("in the way")


def truncate():
    """The data cannot be read any more."""
    raise UserError("data/train.array_record is damaged: prepare the data again")


def main():
    mesh, drawn = make_mesh(), {}
    if sys.argv[5] == "interleaved":  # as the wiring of a TPU slice may want it
        mesh = Mesh(np.stack([mesh.devices[::2], mesh.devices[1::2]]).reshape(mesh.devices.shape), mesh.axis_names,
                    axis_types=mesh.axis_types)
    mine = hosts.rows(mesh, BATCH)

    def pause(start):
        if index == int(process) and start == int(example):
            while not (workdir / "checkpoints" / "000000000384" / "COMMITTED").exists():  # nothing is being written
                time.sleep(0.01)
            globals()[name]()

    def batches(start):
        for batch in toy.data(BATCH, pause=pause, rows=mine).batches(start):
            drawn[start] = dict(zip(mine.tolist(), batch["index"][0].tolist(), strict=True))
            start += batch["index"].shape[0] * BATCH
            yield batch

    data = toy.data(BATCH)._replace(batches=batches)
    options = loop.Options(checkpoint_every=128, keep=3, samples_every=256)
    seen = []

    def draw(now, images, log):
        weights = hosts.whole(state.drawing_weights(now.params, now.aux, now.ema), mesh)
        seen.append(float(np.abs(np.asarray(weights[0]["generator"]["kernel"])).sum()))

    result = loop.train(toy.system(), data, checkpoint.Run("{}", "{}", {}), workdir, mesh, jax.random.key(3), options,
                        draw=draw)
    (workdir / f"drawn-{count}-{index}.json").write_text(json.dumps(drawn))
    assert not seen or len(set(together.gather("drawn with", str(seen)))) == 1
    return 0 if result.finished else 75


if __name__ == "__main__":
    workdir.mkdir(parents=True, exist_ok=True)
    with joined(Cluster(index, count, f"127.0.0.1:{port}", wait=60, lost=6)):
        code = main()
    sys.exit(code)
