"""Memory does not grow with steps."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from running import CONFIGS

STEPS = 10_000


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="resident memory is read where Linux tells it")
def test_ten_thousand_steps_keep_as_many_arrays_and_as_much_memory(tmp_path):
    worker = Path(__file__).with_name("long_run.py")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "MALLOC_ARENA_MAX": "2"}
    run = subprocess.run([sys.executable, str(worker), str(tmp_path / "run"), str(STEPS), str(CONFIGS / "quickstart.py:tiny")],
                         env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    seen = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    assert seen[-1]["step"] == STEPS and len(seen) >= 10
    inside = [each for each in seen[:-1] if each["step"] >= 2_000]  # the last one is drawn after the loop
    assert len({(each["arrays"], each["bytes"]) for each in inside}) == 1
    growth, _ = np.polyfit([each["step"] / 1000 for each in inside], [each["resident"] / 2**20 for each in inside], 1)
    assert growth < 1.0, f"{growth:.2f} MiB per 1,000 steps: {inside}"
