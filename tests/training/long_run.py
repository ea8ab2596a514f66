"""Trains a config's last stage for long and prints a JSON line per milestone: python long_run.py WORKDIR STEPS [SPEC]"""

import gc
import json
import os
import sys
from pathlib import Path

import jax

from t2i_jax import config as configs
from t2i_jax import systems
from t2i_jax.distributed.mesh import make_mesh
from t2i_jax.training import loop
from t2i_jax.training.checkpoint import Run
from t2i_jax.training.examples import feed, open_examples

MILESTONES = 10


def main(workdir: Path, steps: int, spec: str) -> None:
    config = configs.load(spec, ())
    data = open_examples(config, workdir)
    system = systems.build(config, data.text)
    images = steps * config.batch_size
    system = system._replace(stages=(system.stages[-1]._replace(images=images),))

    def draw(state, seen, log):
        gc.collect()
        live = jax.live_arrays()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        print(json.dumps({
            "step": seen // config.batch_size, "arrays": len(live), "bytes": sum(x.nbytes for x in live),
            "resident": pages * os.sysconf("SC_PAGE_SIZE"),
        }), flush=True)

    mesh = make_mesh()
    options = loop.Options(checkpoint_every=0, samples_every=images // MILESTONES)
    loop.train(system, feed(config, data, mesh), Run("{}", "{}", {}), workdir, mesh, jax.random.key(0), options, draw=draw)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
