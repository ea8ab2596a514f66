"""Stages are compiled once each, the next one while another trains."""

import threading

import jax
import numpy as np
import pytest
import toy

from t2i_jax.distributed.mesh import make_mesh
from t2i_jax.errors import UserError
from t2i_jax.training import alternate
from t2i_jax.training.ahead import Programs, compiling
from t2i_jax.training.start import fresh, making
from t2i_jax.training.state import create

SCAN = 4


def arrays(system):
    """A state and the batches of one chunk."""
    batch = toy.examples(0, 16)
    return create(system, jax.random.key(3)), jax.tree.map(lambda x: np.stack([x] * SCAN), batch)


def test_a_stage_is_compiled_once_beside_the_thread_that_asks(monkeypatch):
    where, compile_update = [], alternate.compile_update
    monkeypatch.setattr(alternate, "compile_update",
                        lambda system, stage, *rest: where.append((stage.name, threading.current_thread())) or
                        compile_update(system, stage, *rest))
    system = toy.system()
    state, batches = arrays(system)
    programs = Programs(system, make_mesh())
    first = programs.update(0, state, batches)
    for _ in range(2):
        programs.prepare(1, state, batches)
    programs.prepare(2, state, batches)  # there are two stages
    assert programs.update(1, state, batches) is programs.update(1, state, batches) is not first
    assert [name for name, _ in where] == ["autoencoder", "gan"]
    assert threading.current_thread() not in [thread for _, thread in where]


def test_it_computes_what_the_function_computes():
    system = toy.system()
    state, batches = arrays(system)
    one = jax.tree.map(lambda x: x[0], batches)
    plain = alternate.compile_update(system, system.stages[1], state, one, SCAN, make_mesh())
    wanted, _ = plain.run(jax.tree.map(lambda x: x.copy(), state), batches)
    found, _ = Programs(system, make_mesh()).update(1, state, batches).run(state, batches)
    for a, b in zip(jax.tree.leaves(wanted.params), jax.tree.leaves(found.params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_stage_that_cannot_run_says_so_when_it_is_asked_for():
    system = toy.system(every=3)
    state, batches = arrays(system)
    programs = Programs(system, make_mesh())
    programs.update(0, state, batches)
    programs.prepare(1, state, batches)
    with pytest.raises(UserError, match="must be a multiple of 3"):
        programs.update(1, state, batches)


def test_the_first_batches_are_read_beside_the_thread_that_asks_and_none_is_lost():
    system, readers = toy.system(), []
    state, batches = arrays(system)

    def read():
        for number in range(3):
            readers.append(threading.current_thread())
            yield jax.tree.map(lambda x: x + number, batches)

    shapes = jax.eval_shape(lambda: state)
    programs = Programs(system, make_mesh())
    found = [next(iter(batch.values())) for batch in programs.begin(1, shapes, read())]
    first = next(iter(batches.values()))
    np.testing.assert_array_equal(found, [first, first + 1, first + 2])
    assert [reader is threading.current_thread() for reader in readers] == [False, True, True]
    assert programs.update(1, state, batches) is programs.update(1, shapes, batches)  # compiled for the first
    programs.update(1, state, batches).run(state, batches)


def test_what_goes_wrong_in_reading_is_said_where_the_batch_is_asked_for():
    def read():
        raise UserError("data: gone")
        yield

    system = toy.system()
    state, _ = arrays(system)
    programs = Programs(system, make_mesh())
    batches = programs.begin(0, state, read())
    with pytest.raises(UserError, match="data: gone"):
        next(batches)
    with pytest.raises(UserError, match="data: gone"):
        programs.update(0, state, {})


def test_what_is_compiled_beside_a_block_is_found_again(compiled_programs):
    system, key, mesh = toy.system(), jax.random.key(3), make_mesh()
    programs = lambda: {path.name for path in compiled_programs.glob("jit__lambda*-cache")}
    begun, late = threading.Event(), []
    with compiling(lambda: begun.set() or making(system, key, mesh), lambda: late.append("begun")):
        assert begun.wait(60)
    kept = programs()
    assert len(kept) == 1 and not late
    state = fresh(toy.system(), jax.random.key(4), mesh)  # of another seed, and as good as another process
    assert programs() == kept
    wanted = create(system, jax.random.key(4))
    np.testing.assert_allclose(state.params["generator"]["kernel"], wanted.params["generator"]["kernel"], rtol=1e-6)


def test_nothing_is_compiled_for_want_of_a_cache(compiled_programs):
    jax.config.update("jax_enable_compilation_cache", False)
    asked = []
    with compiling(lambda: asked.append("program")):
        pass
    assert not asked


def test_a_program_that_cannot_be_made_is_left_to_who_wants_it(compiled_programs):
    with compiling(lambda: 1 / 0):
        done = True
    assert done
