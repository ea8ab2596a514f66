"""The program as tests call it."""

from pathlib import Path

import pytest

CONFIGS = Path(__file__).parents[1] / "configs"


def call(*arguments):
    """Exit code of `t2i` with these arguments."""
    from t2i_jax.cli import main

    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return end.value.code


def evaluate(*arguments):
    """Exit code of `t2i evaluate` with these arguments."""
    return call("evaluate", *arguments)
