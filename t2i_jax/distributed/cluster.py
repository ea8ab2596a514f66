"""Which of how many processes this is: read from options, or from TPU pods, Slurm and Kubernetes. No device is touched."""

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from t2i_jax.errors import UserError


class Cluster(NamedTuple):
    """This process among all that train together."""

    index: int = 0
    count: int = 1
    coordinator: str = ""  # host:port at which process 0 listens
    devices: tuple[int, ...] | None = None  # those of this machine's that this process takes, None for all
    wait: float = 300.0  # seconds that processes wait for each other where all ought to come soon
    lost: float = 30.0  # seconds of silence after which a process counts as lost

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.index == 0


def named(coordinator: str, processes: int, process: int, **limits: float) -> Cluster:
    """The cluster that options describe. Raises UserError where they do not fit."""
    host, colon, port = coordinator.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise UserError(f"--coordinator: {coordinator!r} is not HOST:PORT, for example 10.0.0.1:8476")
    if processes < 1 or not 0 <= process < processes:
        raise UserError(f"--process: {process} of --processes {processes} is impossible; accepted: 0 up to {processes - 1}")
    return Cluster(process, processes, coordinator, **limits)


def detected(**limits: float) -> Cluster:
    """The cluster that this machine belongs to, as JAX finds it; one process where there is none.

    Raises UserError where JAX cannot read what a Slurm step, a Kubernetes job or a TPU pod says of itself.
    """
    if not (in_slurm(os.environ) or in_kubernetes(os.environ) or has_tpu(os.environ)):
        return Cluster(**limits)
    from jax._src import clusters  # finds the address without connecting, which nothing public does

    detect = clusters.ClusterEnv.auto_detect_unset_distributed_params
    try:
        address, count, index, devices = detect(None, None, None, None, None, int(limits.get("wait", 300)))
    except Exception as error:  # whatever a metadata server or the API of Kubernetes makes it raise
        raise UserError(f"cluster: JAX cannot tell which process this is ({error}); give --coordinator, --processes and "
                        "--process") from error
    if address is None or count is None or index is None or count == 1:
        return Cluster(**limits)
    return Cluster(index, count, address, None if devices is None else tuple(devices), **limits)


def in_slurm(environment: Mapping[str, str]) -> bool:
    """Whether `srun` started this as one of several tasks."""
    return "SLURM_STEP_NODELIST" in environment and int(environment.get("SLURM_NTASKS", 1)) > 1


def in_kubernetes(environment: Mapping[str, str]) -> bool:
    """Whether this is a pod of an indexed Job."""
    return "KUBERNETES_SERVICE_HOST" in environment and "JOB_COMPLETION_INDEX" in environment


def has_tpu(environment: Mapping[str, str]) -> bool:
    """Whether this machine has TPU chips that JAX may use."""
    wanted = environment.get("JAX_PLATFORMS", "")
    chips = [*Path("/dev").glob("accel*"), *Path("/dev/vfio").glob("[0-9]*")]
    return (not wanted or "tpu" in wanted) and bool(chips) and importlib.util.find_spec("libtpu") is not None
