"""The program as tests call it."""

from pathlib import Path

import pytest

CONFIGS = Path(__file__).parents[1] / "configs"


def evaluate(*arguments):
    """Exit code of `t2i evaluate` with these arguments."""
    from t2i_jax.cli import main

    with pytest.raises(SystemExit) as end:
        main(["evaluate", *(str(argument) for argument in arguments)])
    return end.value.code
