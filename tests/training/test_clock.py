"""When devices were at work."""

import time

import jax
import jax.numpy as jnp

from t2i_jax.training.clock import Clock


class Report:
    """Ready so many seconds after somebody waits for it."""

    def __init__(self, seconds, error=None):
        self.seconds, self.error = seconds, error

    def block_until_ready(self):
        time.sleep(self.seconds)
        if self.error:
            raise self.error


def test_a_chunk_begins_when_it_is_dispatched_or_the_one_before_ends():
    clock = Clock()
    clock.dispatched(Report(0.05))
    clock.dispatched(Report(0.02))  # waits for the first
    time.sleep(0.2)
    clock.dispatched(Report(0.01))
    clock.stop()
    first, second, third = clock.spans
    assert second.began == first.ended and third.began > second.ended
    assert abs(clock.busy - sum(span.seconds for span in clock.spans)) < 1e-9
    assert first.seconds >= 0.05 and third.seconds >= 0.01
    assert clock.busy <= third.ended - first.began - (third.began - second.ended) + 1e-9


def test_a_chunk_that_fails_is_the_loops_business():
    clock = Clock()
    clock.dispatched(Report(0, jax.errors.JaxRuntimeError("out of memory")))
    clock.dispatched(jnp.zeros(3))
    clock.stop()
    assert len(clock.spans) == 1
