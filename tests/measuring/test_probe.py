"""The probe counts what it multiplies."""

import jax.numpy as jnp
import numpy as np
import pytest

from t2i_jax.measuring import probe
from t2i_jax.planning.model_flops import matrix_flops


@pytest.mark.parametrize("side, count", [(8, 1), (16, 5)])
def test_flops_are_those_of_the_program(side, count):
    square = jnp.ones((side, side))
    assert probe.flops(side, count) == matrix_flops(lambda x: probe.products(x, x, count), square)


def test_products_are_multiplied_one_after_another():
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(2, 6, 6)).astype(np.float32)
    np.testing.assert_allclose(probe.products(left, right, 3), left @ right @ right @ right, rtol=1e-4, atol=1e-4)


def test_the_best_side_is_run_for_a_second(monkeypatch):
    asked = []

    def timed(side, count, dtype, repeats):
        asked.append((side, count, repeats))
        rate = {512: 1e10, 1024: 5e10, 2048: 4e10, 4096: 4e10}[side]
        return [probe.flops(side, count) / rate] * repeats

    monkeypatch.setattr(probe, "timed", timed)
    (found,) = probe.achievable(jnp.float32, 4).values()
    assert found.repeats == pytest.approx([50.0] * 4) and found.unit == "GFLOP/s"
    assert [side for side, _, _ in asked] == [512, 1024, 2048, 1024]  # 2048 took longer than LONGEST
    side, count, repeats = asked[-1]
    assert repeats == 4 and abs(probe.flops(side, count) / 5e10 - 1) < 0.05
