"""Asked to stop from outside, a run saves first; of several processes all stop at one step, whichever was asked."""

import signal

import jax
import numpy as np
from jax.sharding import Mesh

from t2i_jax.distributed import hosts
from t2i_jax.distributed.notice import Notice
from t2i_jax.distributed.together import here


class StopRequest:
    """SIGTERM, SIGINT or a notice of the machine's end asks the loop to save and stop; a second SIGINT stops at once."""

    def __init__(self):
        self._requested = False  # of this process
        self._agreed = False  # all processes know of one that was asked
        self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)}
        self._notice = Notice(lambda: setattr(self, "_requested", True))

    @property
    def due(self) -> bool:
        """Whether to stop now: the same in all processes at the same step."""
        return self._requested if here().count == 1 else self._agreed

    def send(self, report: jax.Array, mesh: Mesh) -> jax.Array:
        """A chunk's report, with which the processes tell each other whether one was asked; waits for nobody."""
        return report if here().count == 1 else hosts.with_vote(report, self._requested, mesh)

    def receive(self, report: np.ndarray) -> np.ndarray:
        """The report as it was before `send`."""
        if here().count == 1:
            return report
        self._agreed = self._agreed or bool(report[-1])
        return report[:-1]

    def restore(self) -> None:
        """Give the signals back."""
        self._notice.close()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number, frame) -> None:
        if self._requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._requested = True
