"""Any system's run, killed and run again. As a program, `killed.py EXAMPLE train ...` is `t2i train ...` that kills
itself (SIGKILL) instead of drawing the batch that begins with that example.
"""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
from running import call

from t2i_jax.training import checkpoint


def newest(workdir):
    """({path: decoded array}, run.json) of the newest checkpoint."""
    path, run = checkpoint.newest_good(workdir)
    state = checkpoint.ocp.load(path / "state")
    state["key"] = jax.random.key_data(state["key"])
    return {jax.tree_util.keystr(k): np.asarray(x) for k, x in jax.tree_util.tree_leaves_with_path(state)}, run.about


def train(config, workdir, *overrides):
    """Train to the end, or go on: `config` as in `--config configs/NAME.py:tiny`, overrides as "key=value"."""
    assert call(*arguments(config, workdir, *overrides)) == 0


def arguments(config, workdir, *overrides):
    return ["train", "--config", str(config), "--workdir", str(workdir), *(f"--config.{override}" for override in overrides)]


def dies_and_ends_in_the_same_bits(config, whole, workdir, *overrides):
    """Kill a run in `workdir` at a random chunk after its first checkpoint, run it again, and assert that it ends as the
    run `whole`, of the same config, did: same arrays bit for bit, same next example."""
    _, about = newest(whole)
    lines = (whole / "metrics.jsonl").read_text().splitlines()
    chunk = about["images"] // len(lines)
    where = chunk * random.SystemRandom().randrange(2, len(lines))
    overrides = (*overrides, f"data.path={whole / 'data'}")
    command = [sys.executable, __file__, str(where), *arguments(config, workdir, *overrides)]
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    _, left = newest(workdir)
    assert not left["finished"] and 0 <= left["images"] <= where
    train(config, workdir, *overrides)
    (mine, about), (theirs, expected) = newest(workdir), newest(whole)
    assert about["finished"] and about["next_example"] == expected["next_example"]
    assert mine.keys() == theirs.keys()
    for name in mine:
        np.testing.assert_array_equal(mine[name], theirs[name], err_msg=f"{name}, killed at example {where}")


if __name__ == "__main__":
    from t2i_jax.cli import main
    from t2i_jax.data.training import TrainingData

    untouched = TrainingData.batches

    def batches(self, start, *, batch_size, scan_length, **options):
        for chunk in untouched(self, start, batch_size=batch_size, scan_length=scan_length, **options):
            if start >= int(sys.argv[1]):
                os.kill(os.getpid(), signal.SIGKILL)
            yield chunk
            start += batch_size * scan_length

    TrainingData.batches = batches
    main(sys.argv[2:])
