"""The pipeline's speed, by a clock that the stacks move."""

import pytest

from t2i_jax.measuring import pipeline
from t2i_jax.measuring.figure import Figure


def test_stacks_made_beforehand_do_not_count(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(pipeline.time, "perf_counter", lambda: now[0])

    def stacks():
        for number in range(10_000):
            now[0] += 0.05 if number >= pipeline.AHEAD else 0.0
            yield {}

    made = stacks()
    found = pipeline.measure_pipeline(made, images=100, repeats=3, shortest=0.2)["images_per_second"]
    assert found.repeats == pytest.approx([100 / 0.05] * 3)
    assert now[0] == pytest.approx(0.05 * (4 + 3 * 4))  # 0.2 s of stacks a repeat


def test_what_it_makes_is_held_against_what_stages_take():
    found = pipeline.against(Figure("", "images/s", [900, 1200]), {"gan": Figure("", "images/s", [200, 300, 310])})
    assert found["times/gan"].repeats == pytest.approx([3, 4])
