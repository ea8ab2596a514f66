"""Repeats and medians, with a clock that tests move."""

import pytest

from t2i_jax.measuring import figure
from t2i_jax.measuring.figure import Figure
from t2i_jax.measuring.table import number, record, text


@pytest.fixture
def clock(monkeypatch):
    """[seconds], what the clock shows."""
    now = [0.0]
    monkeypatch.setattr(figure.time, "perf_counter", lambda: now[0])
    return now


def test_slow_calls_are_timed_one_by_one_after_those_that_warm_up(clock):
    takes = iter([60.0, 2.0, 0.3, 0.5, 0.4])

    def call():
        clock[0] += next(takes)

    assert figure.seconds(call, 3) == pytest.approx([0.3, 0.5, 0.4])


def test_a_repeat_of_quick_calls_is_their_mean(clock):
    calls = []

    def call():
        calls.append(None)
        clock[0] += 0.004 if len(calls) % 2 else 0.006

    assert figure.seconds(call, 2, shortest=0.06) == pytest.approx([0.005, 0.005])
    assert len(calls) == 2 + 2 * 10  # 0.06 s of calls that took 0.006 s when tried


def test_the_table_keeps_order_and_says_median_and_spread():
    parts = {"stage gan": {"step": Figure("step", "ms", [3.0, 1.0, 2.5]), "compile": Figure("compiling", "s", [1234.4])},
             "data": {"rate": Figure("pipeline alone", "images/s", [0.004, 0.004])}}
    lines = text(parts).splitlines()
    assert [line.split() for line in lines] == [
        ["stage", "gan"], ["step", "2.5", "1", "–", "3", "ms"], ["compiling", "1,234", "s"],
        ["data"], ["pipeline", "alone", "0.00400", "0.00400", "–", "0.00400", "images/s"]]
    assert record(parts)["stage gan"]["step"] == {
        "what": "step", "unit": "ms", "median": 2.5, "least": 1.0, "most": 3.0, "repeats": [3.0, 1.0, 2.5]}


@pytest.mark.parametrize("value, shown", [(0, "0"), (12345.6, "12,346"), (99.44, "99.4"), (0.0123, "0.0123"), (0.00123, "0.00123")])
def test_numbers_are_written_without_powers_of_ten(value, shown):
    assert number(value) == shown
