"""Waits between chunks, of spans that are given."""

import pytest

from t2i_jax.measuring.idle import waits
from t2i_jax.training.clock import Span


def test_waits_are_told_from_the_one_across_a_checkpoint():
    spans = [Span(0, 1), Span(1.01, 2.01), Span(2.02, 3.02), Span(3.5, 4.8), Span(4.81, 5.91), Span(5.91, 6.91)]
    found = waits(spans, 3, writing=2.0)
    assert found["idle"].repeats == pytest.approx([10, 10, 10, 0])
    assert found["idle_share"].repeats == pytest.approx([1 / 1.01, 1 / 1.01, 1 / 1.11, 0])
    assert found["idle_saving"].repeats == pytest.approx([0.48])
    assert found["saving_costs"].repeats == pytest.approx([0.48 + 0.3 + 0.1])
    assert found["loop_chunk"].repeats == pytest.approx([1])  # the last, which began when the checkpoint was on disk
    assert waits(spans, 3, writing=9.0)["loop_chunk"].repeats == pytest.approx([1, 1])
