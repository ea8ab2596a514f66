"""Counting in a compiled program: loops, transfers, padding; on programs compiled for TPUs that are not there."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from t2i_jax.planning import hlo
from t2i_jax.planning.compiling import mesh_of
from t2i_jax.planning.counts import _valid, count

pytest.importorskip("libtpu", reason="plans need the TPU compiler: pip install 't2i_jax[plan]'")
DEPTH, WIDTH, BATCH = 6, 256, 512


@functools.cache
def compiled(unrolled: bool):
    mesh = mesh_of("v5e:2x2", 4)
    split, rows = NamedSharding(mesh, PartitionSpec(None, "fsdp")), NamedSharding(mesh, PartitionSpec(("data", "fsdp")))

    def loss(weights, x):
        x, _ = jax.lax.scan(lambda x, w: (jnp.tanh(jax.lax.with_sharding_constraint(x, rows) @ w), None), x, weights,
                            unroll=DEPTH if unrolled else 1)
        return jnp.mean(x**2)

    array = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.float32)
    step = jax.jit(jax.grad(loss), in_shardings=(split, rows), out_shardings=split)
    return step.lower(array(DEPTH, WIDTH, WIDTH), array(BATCH, WIDTH)).compile(
        compiler_options={"xla_jf_spmd_threshold_for_windowed_einsum_mib": "1000000"})


def test_operations_of_a_loop_are_those_by_hand_and_those_xla_counts_unrolled():
    found = count(hlo.parse(compiled(False).as_text()))
    by_hand = 3 * DEPTH * 2 * (BATCH / 4) * WIDTH**2  # forward, and two products back; the first has no input's slope
    by_hand -= 2 * (BATCH / 4) * WIDTH**2 if found.flops < by_hand * 0.97 else 0
    assert found.flops == pytest.approx(by_hand, rel=0.05)
    once = compiled(False).cost_analysis()["flops"]
    assert once < 0.5 * found.flops  # what has to be corrected: bodies counted once
    unrolled = compiled(True)
    assert count(hlo.parse(unrolled.as_text())).flops == pytest.approx(found.flops, rel=0.06)
    assert unrolled.cost_analysis()["flops"] == pytest.approx(found.flops, rel=0.06)


def test_weights_are_gathered_and_slopes_scattered_once_for_every_turn():
    for unrolled in (False, True):
        found = count(hlo.parse(compiled(unrolled).as_text()))
        whole = WIDTH**2 * 4 * 3 / 4  # bytes that a chip hands on for one layer
        sent = sum(each.sent for each in found.transfers)
        # Forward and back, a gather each (not again for the last), and one reduction; half precision may halve any.
        assert 0.4 * 3 * DEPTH * whole < sent < 2.2 * 3 * DEPTH * whole, (unrolled, found.transfers)
        assert found.cycles > 0 and found.bytes > 0


def test_products_that_fall_on_padding_do_not_count():
    rng = np.random.default_rng(0)
    for _ in range(50):
        length, kernel, out, stride, dilation, spread = rng.integers(1, 6, 6)
        low = int(rng.integers(-2, 4))
        line = np.zeros((length - 1) * dilation + 1)
        line[::dilation] = 1
        padded = {index - low: value for index, value in enumerate(line, start=low)}
        met = sum(padded.get(place * stride + tap * spread - low, 0) for place in range(out) for tap in range(kernel))
        assert _valid(length, kernel, out, low, stride, dilation, spread) == met


def test_a_line_is_read_with_its_tuple_layout_and_memory():
    text = """HloModule m
%body (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  %p = (s32[]{:T(128)}, f32[8]{0:T(128)S(1)}) parameter(0)
  ROOT %all-reduce.1 = (s32[]{:T(128)}, /*index=1*/f32[8]{0:T(128)S(1)}) all-reduce(%p), channel_id=3, replica_groups=[4,2]<=[8]
}
"""
    program = hlo.parse(text)
    line = program.computations["body"]["all-reduce.1"]
    assert line.opcode == "all-reduce" and line.operands == ("p",)
    assert line.shapes == (hlo.Shape("s32", (), False), hlo.Shape("f32", (8,), True)) and line.bytes == 4
