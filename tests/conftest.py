"""Settings every test shares: the CPU, no silent broadcasting over ranks, one tiny trained run."""

import atexit
import os
import shutil
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    # Most of the time goes into compiling the same tiny steps in many processes: compile each once.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="t2i-tests-")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

import jax
import pytest
from running import CONFIGS, call, evaluate

jax.config.update("jax_numpy_rank_promotion", "raise")



@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """A work directory in which `t2i train --config configs/quickstart.py:tiny` ran to its end; not to be changed."""
    workdir = tmp_path_factory.mktemp("runs") / "tiny"
    assert call("train", "--config", f"{CONFIGS / 'quickstart.py'}:tiny", "--workdir", workdir) == 0
    return workdir


@pytest.fixture(scope="session")
def tiny_evaluator(tmp_path_factory):
    """A work directory in which `t2i train --config configs/evaluator.py:tiny` ran to its end; not to be changed."""
    workdir = tmp_path_factory.mktemp("runs") / "evaluator"
    assert call("train", "--config", f"{CONFIGS / 'evaluator.py'}:tiny", "--workdir", workdir) == 0
    return workdir


@pytest.fixture(scope="session")
def tiny_card(tiny_run, tiny_evaluator, tmp_path_factory):
    """The directory of the card of `tiny_run`, 24 pictures of each group; not to be changed."""
    out = tmp_path_factory.mktemp("cards") / "tiny"
    assert evaluate("--workdir", tiny_run, "--evaluator", tiny_evaluator, "--num", 24, "--out", out) == 0
    return out
