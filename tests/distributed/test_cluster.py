"""How processes find out which they are, and meet."""

import threading

import pytest

from t2i_jax.distributed import cluster
from t2i_jax.distributed.cluster import Cluster
from t2i_jax.distributed.rendezvous import meet
from t2i_jax.errors import Interrupted, UserError
from processes import free_port
from running import call


def together(*clusters):
    """What `meet` raised in each process, None where it returned."""
    raised = [None] * len(clusters)

    def one(place):
        try:
            meet(clusters[place])
        except UserError as error:
            raised[place] = error

    threads = [threading.Thread(target=one, args=(place,)) for place in range(len(clusters))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_all_come():
    address = f"127.0.0.1:{free_port()}"
    assert together(*(Cluster(index, 4, address, wait=20) for index in range(4))) == [None] * 4


def test_who_is_missing_is_named_to_all():
    address = f"127.0.0.1:{free_port()}"
    raised = together(*(Cluster(index, 4, address, wait=1) for index in (0, 2)))
    assert all(type(error) is Interrupted and "processes 1, 3 of 4 did not come" in str(error) for error in raised)


@pytest.mark.parametrize("others, said", [
    ([(1, 3), (2, 4)], "process 2 was told of 4 processes and process 0 of 3"),
    ([(1, 3), (1, 3)], "two processes say that they are process 1"),
])
def test_processes_that_do_not_fit_are_refused(others, said):
    address = f"127.0.0.1:{free_port()}"
    raised = together(*(Cluster(index, count, address, wait=3) for index, count in [(0, 3), *others]))
    assert type(raised[0]) is UserError and said in str(raised[0])
    assert all(isinstance(error, UserError) for error in raised)


@pytest.mark.parametrize("arguments, said", [
    (["--coordinator", "nowhere"], "belong together"),
    (["--coordinator", "nowhere", "--processes", "2", "--process", "0"], "'nowhere' is not HOST:PORT"),
    (["--coordinator", "a:99999", "--processes", "2", "--process", "0"], "'a:99999' is not HOST:PORT"),
    (["--coordinator", "a:1", "--processes", "2", "--process", "2"], "--process: 2 of --processes 2 is impossible"),
])
def test_impossible_options_are_refused(arguments, said, tmp_path, capsys):
    assert call("sample", "--workdir", tmp_path, "--prompt", "x", *arguments) == 2
    assert said in capsys.readouterr().err


def test_slurm_is_found_by_what_srun_sets(monkeypatch):
    assert cluster.detected(wait=5) == Cluster(wait=5)
    for name, value in {"SLURM_JOB_ID": "4711", "SLURM_STEP_NODELIST": "node[003-004]", "SLURM_NTASKS": "8",
                        "SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_STEP_NUM_NODES": "2"}.items():
        monkeypatch.setenv(name, value)
    found = cluster.detected(wait=5)
    assert (found.index, found.count, found.devices) == (5, 8, (1,)) and found.coordinator.startswith("node003:")
    monkeypatch.setenv("SLURM_NTASKS", "1")
    assert not cluster.in_slurm({"SLURM_STEP_NODELIST": "node003", "SLURM_NTASKS": "1"}) and cluster.detected().count == 1


def test_kubernetes_asks_for_an_indexed_job():
    assert cluster.in_kubernetes({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"})
    assert not cluster.in_kubernetes({"KUBERNETES_SERVICE_HOST": "10.0.0.1"})


def test_a_tpu_is_not_looked_for_where_another_platform_is_asked_for():
    assert not cluster.has_tpu({"JAX_PLATFORMS": "cpu"})
