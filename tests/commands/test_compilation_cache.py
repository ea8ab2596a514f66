"""What is compiled once is kept on disk, for every command and every later start."""

import os
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[2]
PROGRAM = """
import contextlib
from t2i_jax.cli import main
with contextlib.suppress(SystemExit):
    main(["--version"])
import jax
import jax.numpy as jnp
events = []
jax.monitoring.register_event_listener(lambda name, **about: events.append(name))
jax.jit(jnp.linalg.svd)(jnp.ones((9, 9)))
print(sum(name.endswith("/cache_hits") for name in events))
"""


def hits(home, **settings):
    """How many compiled programs a process of its own finds after the command line has spoken."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_COMPILATION", "JAX_PERSISTENT"))}
    every = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}  # however quickly it compiles
    environment = kept | every | {"XDG_CACHE_HOME": str(home), "PYTHONPATH": str(PACKAGE)} | settings
    ended = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return int(ended.stdout.split()[-1])


def test_the_second_start_compiles_nothing_again(tmp_path):
    assert hits(tmp_path) == 0
    assert hits(tmp_path) > 0
    (directory,) = (tmp_path / "t2i_jax").iterdir()
    assert directory.name.startswith("compiled-")


def test_a_directory_of_the_users_own_is_taken(tmp_path):
    hits(tmp_path, JAX_COMPILATION_CACHE_DIR=str(tmp_path / "own"))
    assert list((tmp_path / "own").iterdir()) and not (tmp_path / "t2i_jax").exists()
