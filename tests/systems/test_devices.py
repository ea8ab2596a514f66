"""Results do not depend on how many devices and processes compute them, nor on how parameters are split among them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import processes
import pytest

WORKER = Path(__file__).with_name("device_worker.py")
WORKERS = {  # name: (processes, devices of each, fsdp, jobs); compiling is what takes long
    "one": (1, 1, 1, ["starts", "double autoencoder", "double gan", "double dcgan", "single gan"]),
    "eight": (1, 8, 1, ["double autoencoder", "double gan", "double dcgan", "single gan"]),
    "two processes": (2, 2, 1, ["double gan", "single gan"]),
    "four processes, parameters split in two": (4, 2, 2, ["double gan", "single gan"]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """{worker}/{job}.npz of all workers: the first alone, whose states the others start from, then two at a time."""
    folder = tmp_path_factory.mktemp("devices")

    def work(name):
        count, devices, fsdp, jobs = WORKERS[name]
        (folder / name).mkdir()
        among = {"T2I_COORDINATOR": f"127.0.0.1:{processes.free_port()}", "T2I_PROCESSES": str(count)} if count > 1 else {}
        command = [WORKER, fsdp, folder, folder / name, *jobs]
        started = [processes.begin(command, devices, T2I_PROCESS=str(index), **among) for index in range(count)]
        ended = processes.end(started, 600)
        assert [one.code for one in ended] == [0] * count, ended

    first, *others = WORKERS
    work(first)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, others))
    return folder


# Softmax does not see a constant added to all keys, nor relativistic pairing one added to all logits: the gradients of
# these are zero but for rounding, of which Adam makes steps as large as any. Nothing else depends on them.
UNDETERMINED = ("key/bias", "logit/bias")


def compare(folder, worker, job, tolerance, undetermined):
    """Against one device: ‖a - b‖ / ‖b‖ of each array and of what the steps reported; |a - b| of UNDETERMINED ones."""
    with np.load(folder / "one" / f"{job}.npz") as one, np.load(folder / worker / f"{job}.npz") as other:
        assert one.files == other.files and np.isfinite(one["reports"]).all()
        assert (other["split"] > 0) == (WORKERS[worker][2] > 1)
        wrong = {}
        for path in set(one.files) - {"split"}:
            a, b = other[path], one[path]
            assert a.dtype == b.dtype
            if path.endswith(UNDETERMINED):
                error, allowed = np.abs(a - b).max(), undetermined
            else:
                error, allowed = np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30), tolerance
            if not error <= allowed:
                wrong[path] = error
        assert not wrong


JOBS = [(worker, job) for worker, (*_, jobs) in WORKERS.items() if worker != "one" for job in jobs]


@pytest.mark.parametrize("worker, job", [case for case in JOBS if case[1].startswith("double")])
def test_fifty_steps_in_float64_agree_to_1e_9(folder, worker, job):
    compare(folder, worker, job, 1e-9, undetermined=1e-9)


@pytest.mark.parametrize("worker, job", [case for case in JOBS if case[1].startswith("single")])
def test_every_float32_step_from_the_same_state_agrees_to_1e_5(folder, worker, job):
    for number in range(10):
        compare(folder, worker, f"{job} {number}", 1e-5, undetermined=2 * 6e-4)  # two learning rates apart
