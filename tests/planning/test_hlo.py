"""Counting in a compiled program: loops, transfers, padding; on programs compiled for TPUs that are not there."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from t2i_jax.planning import hlo
from t2i_jax.planning.compiling import mesh_of, refused
from t2i_jax.planning.counts import _valid, count, group_size

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
    product = 2 * (BATCH / 4) * WIDTH**2
    looped, unrolled = (count(hlo.parse(compiled(way).as_text())).flops for way in (False, True))
    assert looped == 3 * DEPTH * product  # forward, and two back for every layer
    assert unrolled == (3 * DEPTH - 1) * product  # nobody asks for the slope of the first layer's input
    assert compiled(True).cost_analysis()["flops"] == pytest.approx(unrolled, rel=0.05)  # XLA, elementwise work included
    assert compiled(False).cost_analysis()["flops"] < looped / 5  # what has to be corrected: bodies counted once


def test_weights_are_gathered_and_slopes_added_once_for_every_turn():
    whole = WIDTH**2 * 3 / 4  # numbers that a chip hands on to gather one layer, in half precision for the product
    for unrolled, gathers in ((False, 2 * DEPTH), (True, DEPTH)):  # a loop gathers again on its way back
        found = count(hlo.parse(compiled(unrolled).as_text()))
        sent = lambda kind: sum(each.sent for each in found.transfers if each.kind == kind)
        assert sent("all-gather") == gathers * whole * 2
        assert sent("reduce-scatter") == DEPTH * whole * 4 and not any(
            each.hidden for each in found.transfers if each.kind == "reduce-scatter")
        assert found.cycles > 0 and found.bytes > 0


def test_what_does_not_fit_is_told_from_other_errors():
    big = jax.ShapeDtypeStruct((49152, 32768), jnp.float32)
    whole = NamedSharding(mesh_of("v5e:2x2", 1), PartitionSpec())
    with pytest.raises(jax.errors.JaxRuntimeError) as caught:
        jax.jit(lambda x: (jnp.sin(x) @ x.T, jnp.cos(x)), in_shardings=whole, out_shardings=whole).lower(big).compile()
    refusal = refused(str(caught.value))
    assert refusal.limit == 15.75 * 2**30 < refusal.needed
    listed = """Ran out of memory in memory space hbm. Used 17.60G of 15.75G hbm.
  1. Size: 2.50G
     Operator: op_name="jit(chunk)/while/body/closed_call/player/dot_general"
     Shape: bf16[14,80,256,5632]{3,2,1,0}
"""
    refusal = refused(listed)
    assert refusal.needed == 17.6 * 2**30 and refusal.largest == (("bf16[14,80,256,5632] of player/dot_general", 2.5 * 2**30),)
    assert refused("an internal error") is None


@pytest.mark.parametrize("written, size", [
    ("replica_groups=mesh['a'=16,'b'=2], device_ids=([16,2]T(1,0)) {'a'}, dimensions={0}", 16),
    ("replica_groups=mesh['a'=4,'b'=2,'c'=3] {'a','c'}", 12), ("replica_groups=[4,8]<=[32]", 8),
    ("replica_groups={{0,1,2},{3,4,5}}", 3), ("source_target_pairs={{0,1},{1,0}}", 2),
])
def test_who_takes_part_is_read_in_every_way_it_is_written(written, size):
    line = lambda text: hlo.Instruction("i", (), "all-gather", (), f", channel_id=1, {text}")
    assert group_size(line(written)) == size
    with pytest.raises(ValueError, match="who takes part"):
        group_size(line("replica_groups=some"))


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
