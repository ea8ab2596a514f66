"""When devices were at work: each chunk from its dispatch, or the end of the one before, to its report."""

import collections
import queue
import threading
import time
from typing import NamedTuple

import jax

REMEMBERED = 10_000  # newest chunks; their sum goes on


class Span(NamedTuple):
    """One chunk, in seconds of `time.perf_counter`."""

    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """How long it ran."""
        return self.ended - self.began


class Clock:
    """Notes when chunks begin and end, without making anybody wait: a thread of its own waits for their reports."""

    def __init__(self):
        self.spans: collections.deque[Span] = collections.deque(maxlen=REMEMBERED)
        self.busy = 0.0  # seconds of all chunks so far
        self._dispatched: queue.SimpleQueue[tuple[float, jax.Array] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._watch, name="clock", daemon=True)
        self._thread.start()

    def dispatched(self, report: jax.Array) -> None:
        """A chunk was handed to the devices; `report` is ready when it is done."""
        self._dispatched.put((time.perf_counter(), report))

    def stop(self) -> None:
        """Until the last chunk is noted; no other comes."""
        self._dispatched.put(None)
        self._thread.join()

    def _watch(self) -> None:
        ended = 0.0
        for began, report in iter(self._dispatched.get, None):
            try:
                report.block_until_ready()
            except jax.errors.JaxRuntimeError:  # the loop reads the report too, and says what happened
                continue
            span = Span(max(began, ended), time.perf_counter())
            ended = span.ended
            self.spans.append(span)
            self.busy += span.seconds
