"""All processes meet before JAX starts: JAX aborts without a word where one does not come, this says which.

Process 0 listens on the coordinator's port until every other process has named itself, tells them all how it ended,
and leaves the port to JAX.
"""

import socket
import time

from t2i_jax.distributed.cluster import Cluster
from t2i_jax.errors import Interrupted, UserError

GREETING = "t2i"
GO = "go"


def meet(cluster: Cluster) -> None:
    """Return once all processes are there.

    Raises Interrupted, naming who is missing, after `cluster.wait` seconds, UserError where two processes say they are
    the same or do not agree how many they are.
    """
    deadline = time.monotonic() + cluster.wait
    if cluster.first:
        _receive(cluster, deadline)
    else:
        _come(cluster, deadline)


def _receive(cluster: Cluster, deadline: float) -> None:
    port = int(cluster.coordinator.rpartition(":")[2])
    try:
        family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
        server = socket.create_server(("", port), family=family, dualstack_ipv6=socket.has_dualstack_ipv6())
    except OSError as error:
        raise UserError(f"coordinator: process 0 cannot listen on port {port}: {error.strerror}; give another "
                        "--coordinator, or end what listens there") from error
    arrived: dict[int, socket.socket] = {}
    refusal = ""
    with server:
        while len(arrived) < cluster.count - 1 and not refusal:
            server.settimeout(max(deadline - time.monotonic(), 0.01))
            try:
                guest, _ = server.accept()
            except TimeoutError:
                break
            match _line(guest, 5.0).split():
                case [word, index, count] if word == GREETING and index.isdigit() and count.isdigit():
                    refusal = _refusal(cluster, int(index), int(count), arrived)
                    arrived.setdefault(int(index), guest)
                case _:
                    guest.close()  # a stranger
        missing = sorted({*range(1, cluster.count)} - {*arrived})
        late = "" if refusal or not missing else _late(cluster, missing)
        for guest in arrived.values():
            with guest:
                guest.sendall(f"{refusal or late or GO}\n".encode())
    if refusal:
        raise UserError(refusal)
    if late:
        raise Interrupted(late)


def _refusal(cluster: Cluster, index: int, count: int, arrived: dict) -> str:
    if count != cluster.count:
        return f"cluster: process {index} was told of {count} processes and process 0 of {cluster.count}; start all alike"
    if index in arrived or not 0 < index < count:
        return f"cluster: two processes say that they are process {index}; give each its own --process"
    return ""


def _late(cluster: Cluster, missing: list[int]) -> str:
    return (f"cluster: {who(missing, cluster.count)} did not come to {cluster.coordinator} within {cluster.wait:g} s; see "
            "what became of it and run the same command again")


def _come(cluster: Cluster, deadline: float) -> None:
    host, _, port = cluster.coordinator.rpartition(":")
    reason = "no answer"
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=5) as connection:
                connection.sendall(f"{GREETING} {cluster.index} {cluster.count}\n".encode())
                answer = _line(connection, max(deadline - time.monotonic(), 0) + 5)
        except OSError as error:
            reason = error.strerror or str(error)
            time.sleep(0.2)
            continue
        if answer == GO:
            return
        if answer:
            raise (Interrupted if "did not come" in answer else UserError)(answer)
        time.sleep(0.2)  # it went away, or is not process 0 of ours
    raise Interrupted(
        f"cluster: process {cluster.index} of {cluster.count} found no process 0 at {cluster.coordinator} within "
        f"{cluster.wait:g} s ({reason}); see whether it runs and the address is right, and run the same command again"
    )


def _line(connection: socket.socket, seconds: float) -> str:
    """The next line, "" where none comes in time."""
    connection.settimeout(seconds)
    received = b""
    try:
        while not received.endswith(b"\n") and len(received) < 4096:
            part = connection.recv(4096)
            if not part:
                return ""
            received += part
    except OSError:
        return ""
    return received.decode(errors="replace").strip()


def who(missing: list[int], count: int) -> str:
    """ "process 2 of 4", "processes 1, 3 of 4"."""
    return f"process{'es' if len(missing) > 1 else ''} {', '.join(map(str, missing))} of {count}"
