"""Google Cloud tells a machine that it is about to be preempted or maintained: heard here, it is like SIGTERM.

Elsewhere, and in Kubernetes, whoever takes a machine away sends SIGTERM itself.
"""

import contextlib
import os
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path

HOST = "GCE_METADATA_HOST"  # as Google's own libraries have it: another address than the usual one
PAUSE = 5.0  # seconds between two questions; a preemption comes half a minute after its notice
QUESTIONS = {"preempted": "TRUE", "maintenance-event": "TERMINATE"}  # name: how the answer that counts begins


class Notice:
    """Asks the machine's metadata server until it is closed, and calls `heard` once, from a thread of its own."""

    def __init__(self, heard: Callable[[], None], pause: float = PAUSE):
        self._heard, self._pause = heard, pause
        self._closed = threading.Event()
        if on_google_cloud():
            threading.Thread(target=self._ask, name="notice", daemon=True).start()

    def close(self) -> None:
        """No more questions."""
        self._closed.set()

    def _ask(self) -> None:
        # A notice that stood when this began has led to a restart already: only one that comes now counts.
        before = {name for name in QUESTIONS if noticed(name)}
        while not self._closed.wait(self._pause):
            if any(noticed(name) for name in QUESTIONS.keys() - before):
                self._heard()
                return


def on_google_cloud() -> bool:
    """Whether this machine is one of Google Cloud's; asks nobody."""
    name = ""
    with contextlib.suppress(OSError):
        name = Path("/sys/class/dmi/id/product_name").read_text(encoding="utf-8")
    return HOST in os.environ or "Google" in name


def noticed(name: str) -> bool:
    """Whether the metadata server answers that it is so far; False where it does not answer."""
    address = f"http://{os.environ.get(HOST, 'metadata.google.internal')}/computeMetadata/v1/instance/{name}"
    request = urllib.request.Request(address, headers={"Metadata-Flavor": "Google"})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5) as answer:
            return answer.read(100).decode(errors="replace").startswith(QUESTIONS[name])
    except OSError:
        return False
