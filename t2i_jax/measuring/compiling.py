"""How long a program takes to compile: with nothing on disk, and from what JAX kept there."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from jax.experimental.compilation_cache.compilation_cache import reset_cache

KEPT = ("jax_compilation_cache_dir", "jax_enable_compilation_cache", "jax_persistent_cache_min_compile_time_secs")


@contextlib.contextmanager
def kept_in(directory: Path) -> Iterator[None]:
    """Inside, JAX keeps what it compiles in `directory` and finds there alone what was compiled before."""
    before = {name: getattr(jax.config, name) for name in KEPT}
    for name, value in zip(KEPT, (str(directory), True, 0.0), strict=True):
        jax.config.update(name, value)
    reset_cache()  # it remembers where it looked first
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        reset_cache()


def compiled(function: Any, *arguments) -> tuple[jax.stages.Compiled, float]:
    """(program, seconds that tracing and compiling took) of a jitted function that was not called before."""
    begun = time.perf_counter()
    program = function.lower(*arguments).compile()
    return program, time.perf_counter() - begun
