"""Settings every test shares: the CPU unless asked otherwise, no silent broadcasting over ranks, one tiny trained run."""

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
from jax.experimental.compilation_cache import compilation_cache
from running import CONFIGS, call, evaluate
from tiny_models import write_tiny

jax.config.update("jax_numpy_rank_promotion", "raise")
if os.environ["JAX_PLATFORMS"] != "cpu":  # GPUs multiply float32 rounded to 10 bits of mantissa, what tests compare with does not
    jax.config.update("jax_default_matmul_precision", "highest")


@pytest.fixture
def compiled_programs(tmp_path):
    """The directory of JAX's cache of compiled programs, empty at first, which keeps each however small."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs", "jax_persistent_cache_min_entry_size_bytes",
             "jax_enable_compilation_cache")
    before = {name: getattr(jax.config, name) for name in names}
    for name, value in zip(names, (str(tmp_path / "compiled"), 0, 0, True), strict=True):
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield tmp_path / "compiled"
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """A work directory in which `t2i train --config configs/quickstart.py:tiny` ran to its end; not to be changed."""
    workdir = tmp_path_factory.mktemp("runs") / "tiny"
    assert call("train", "--config", f"{CONFIGS / 'quickstart.py'}:tiny", "--workdir", workdir) == 0
    return workdir


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory):
    """The directory of a language model of random weights; not to be changed."""
    return write_tiny(tmp_path_factory.mktemp("encoders") / "bert", "bert")


@pytest.fixture(scope="session")
def lm_run(tiny_bert, tmp_path_factory):
    """A work directory in which `t2i train --config configs/lm_gan.py:tiny` ran to its end with `tiny_bert`; not to be
    changed."""
    workdir = tmp_path_factory.mktemp("runs") / "lm"
    encoder = f"--config.text.encoder={tiny_bert}"
    assert call("train", "--config", f"{CONFIGS / 'lm_gan.py'}:tiny", "--workdir", workdir, encoder) == 0
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
