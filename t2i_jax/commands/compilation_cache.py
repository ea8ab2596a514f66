"""Compiled programs kept on disk, so that the second start of anything is quick."""

import hashlib
import os
import platform
from pathlib import Path

import platformdirs

LARGEST = 2 * 2**30  # bytes; what was not used for longest goes first


def keep_compiled() -> None:
    """Tell JAX, before it is imported, to keep what it compiles in the user's cache directory.

    Nothing is changed where JAX_COMPILATION_CACHE_DIR is set; JAX_ENABLE_COMPILATION_CACHE=false keeps nothing. Each kind of
    processor has its own: a program compiled for one may crash on another that shares the home directory.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(platformdirs.user_cache_dir("t2i_jax")) / f"compiled-{machine()}")
        os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(LARGEST))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")


def machine() -> str:
    """A short name of what this processor can do."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        told = next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        told = platform.processor()
    return hashlib.sha256(f"{platform.machine()} {told}".encode()).hexdigest()[:12]
