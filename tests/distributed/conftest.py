"""Makes the toy system importable from the tests here; one run of it by two processes."""

import sys
from pathlib import Path

import processes
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """The toy system's run by two processes with two devices each that nobody disturbed; not to be changed."""
    workdir = tmp_path_factory.mktemp("whole")
    ended = processes.toy(workdir)
    assert [one.code for one in ended] == [0, 0], ended
    return workdir
