"""A command run by several processes at once: they meet, JAX starts, and all end alike."""

import contextlib
import sys
import time
import traceback
from collections.abc import Iterator

from t2i_jax.distributed import together
from t2i_jax.distributed.cluster import Cluster
from t2i_jax.distributed.rendezvous import meet
from t2i_jax.distributed.watch import RESTART, Watch
from t2i_jax.errors import Interrupted, UserError

FAULT, PERSON = 1, 2  # exit codes


@contextlib.contextmanager
def joined(cluster: Cluster) -> Iterator[None]:
    """Inside, JAX sees the devices of all processes; whatever one of them raises ends all, with one line each.

    Nothing happens where there is one process. Raises Interrupted where not all come, UserError where they do not fit.
    """
    if cluster.count == 1:
        yield
        return
    meet(cluster)
    import jax

    # JAX's own limits come after ours, for it aborts where they pass.
    jax.distributed.initialize(
        cluster.coordinator, cluster.count, cluster.index, cluster.devices, cluster_detection_method="deactivate",
        initialization_timeout=int(cluster.wait) + 60, heartbeat_timeout_seconds=int(4 * cluster.lost) + 60,
    )
    together.enter(cluster)
    watch = Watch()
    try:
        yield
        together.gather("the end", seconds=0)
    except BaseException as error:
        if _of_the_runtime(error):
            time.sleep(cluster.lost + 10)  # most likely another process is gone: then the watch ends this one
        code, line = _code(error), str(error) or type(error).__name__
        if code == FAULT or "--debug" in sys.argv:
            traceback.print_exc()
        print(f"t2i: {line}", file=sys.stderr)
        watch.fail(code, line)
    watch.stop()
    together.enter(Cluster())
    jax.distributed.shutdown()


def _code(error: BaseException) -> int:
    match error:
        case Interrupted():
            return RESTART
        case UserError() | KeyboardInterrupt():
            return PERSON
        case OSError():
            return PERSON
    return FAULT


def _of_the_runtime(error: BaseException | None) -> bool:
    """Whether JAX raised it, or something that waited for other processes did."""
    import jax

    while error is not None:
        if isinstance(error, jax.errors.JaxRuntimeError | TimeoutError):
            return True
        error = error.__cause__ or error.__context__
    return False
