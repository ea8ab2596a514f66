"""The compiled update against updates computed by hand, and what a phase may touch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from t2i_jax import keys
from t2i_jax.distributed.mesh import make_mesh
from t2i_jax.errors import UserError
from t2i_jax.paths import flat
from t2i_jax.systems import Turn
from t2i_jax.training import alternate
from t2i_jax.training.state import create


def start(system):
    return create(system, jax.random.key(0))


def stacked(first, steps, size=16):
    return {k: x.reshape(steps, size, *x.shape[1:]) for k, x in toy.examples(first, steps * size).items()}


def same(a, b):
    assert flat(a).keys() == flat(b).keys()
    return {path for path in flat(a) if not np.array_equal(flat(a)[path], flat(b)[path])}


def test_one_step_is_adam_for_d_then_adam_for_g_against_the_new_d():
    system = toy.system()
    state = start(system)
    batch = toy.examples(0, 16)
    after, metrics = alternate.step(system, system.stages[1], 0, state, batch)

    images = np.asarray(batch["image"], np.float32) / 127.5 - 1
    step_key = jax.random.fold_in(keys.named(state.key, "step"), 0)
    turn = lambda params, number: Turn(
        params, state.aux, state.ema, {"image": jnp.asarray(images)},
        keys.per_example(jax.random.fold_in(step_key, number), 16), jnp.float32(0),
    )

    def adam(params, player, grads):  # first step: m / (1 - b1) = g, sqrt(v / (1 - b2)) = |g|
        new = {k: p - 1e-2 * grads[player][k] / (jnp.abs(grads[player][k]) + 1e-8) for k, p in params[player].items()}
        return params | {player: new}

    d_grads = jax.grad(lambda p: toy.discriminator(turn(p, 0))[0])(state.params)
    params = adam(state.params, "discriminator", d_grads)
    g_grads = jax.grad(lambda p: toy.generator(turn(p, 1))[0])(params)
    params = adam(params, "generator", g_grads)
    for path, expected in flat(params).items():
        np.testing.assert_allclose(flat(after.params)[path], expected, rtol=1e-4, atol=1e-6, err_msg=path)
    np.testing.assert_allclose(metrics["g/loss"], toy.generator(turn(adam(state.params, "discriminator", d_grads), 1))[0], rtol=1e-5)
    np.testing.assert_allclose(after.aux["mean"], 0.1 * images.reshape(16, 16).mean(0), rtol=1e-4, atol=1e-6)
    decay = 0.5 ** (16 / 64)
    moved = decay * state.params["generator"]["bias"] + (1 - decay) * after.params["generator"]["bias"]
    np.testing.assert_allclose(after.ema["params"]["generator"]["bias"], moved, rtol=1e-5)
    assert int(after.step) == 1 and after.images.tolist() == [0, 16]


@pytest.mark.parametrize("number, player, writes", [(0, "discriminator", {"mean", "count"}), (1, "generator", set())])
def test_a_phase_changes_what_it_trains_and_writes_and_nothing_else(number, player, writes):
    system = toy.system()
    state = start(system)
    phase = system.stages[1].phases[number]
    batch = alternate.as_float(toy.examples(0, 16))
    turn = Turn(state.params, state.aux, state.ema, batch, keys.per_example(state.key, 16), jnp.float32(0))
    after, _ = alternate.run_phase(system, phase, state, turn)
    assert {path.split("/")[0] for path in same(state.params, after.params)} == {player}
    assert same(state.aux, after.aux) == writes
    changed = {name for name in state.opt_state if not all(
        np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (state.opt_state[name], after.opt_state[name]))))}
    assert changed == {phase.optimizer}
    assert not same(state.ema["params"], after.ema["params"]) and int(after.step) == int(state.step)


def test_averages_of_players_outside_the_stage_do_not_move_by_a_bit():
    system = toy.system()
    state, _ = alternate.step(system, system.stages[1], 0, start(system), toy.examples(0, 16))
    state = dataclasses.replace(state, ema=jax.tree.map(lambda x: x + 0.1, state.ema))
    after, _ = alternate.step(system, system.stages[1], 0, state, toy.examples(16, 16))
    assert {path.split("/")[0] for path in same(state.ema["params"], after.ema["params"])} == {"generator"}


def test_writing_undeclared_statistics_is_refused():
    system = toy.system()
    stage = system.stages[1]
    stage = stage._replace(phases=(stage.phases[0]._replace(writes=("mean",)),))
    with pytest.raises(ValueError, match="count"):
        alternate.step(system, stage, 0, start(system), toy.examples(0, 16))


def drawn(turn):
    """Pictures of noise that all turns see alike."""
    generator = turn.params["generator"]
    return jnp.tanh(toy.pixels(turn)[:, :6] @ generator["kernel"] + generator["bias"][None])


def test_one_forward_pass_for_all_turns_gives_the_updates_of_a_pass_for_each():
    system = toy.system()
    seen = lambda shared, turn: turn.made.arrays if shared else drawn(turn)

    def stage(shared):
        def discriminator(turn):
            made = toy.logits(turn, jax.lax.stop_gradient(seen(shared, turn)))
            return jnp.mean(jax.nn.softplus(made) + jax.nn.softplus(-toy.logits(turn, toy.pixels(turn)))), ({}, {})

        def generator(turn):  # its parameters tell on the loss by the pictures and by themselves
            loss = jnp.mean(jax.nn.softplus(-toy.logits(turn, seen(shared, turn))))
            return loss + 0.3 * jnp.sum(turn.params["generator"]["kernel"] ** 2), ({}, {})

        losses = {"d": discriminator, "g": generator}
        phases = tuple(phase._replace(loss=losses[phase.optimizer], writes=(), pulls=shared and phase.optimizer == "g")
                       for phase in system.stages[1].phases)
        return system.stages[1]._replace(phases=phases, makes=drawn if shared else None)

    batch = toy.examples(0, 16)
    steps = [alternate.step(system, stage(shared), 0, start(system), batch) for shared in (False, True)]
    (expected, terms), (found, same_terms) = steps
    assert terms.keys() == same_terms.keys()
    for path, array in flat(expected.params).items():
        np.testing.assert_allclose(flat(found.params)[path], array, rtol=1e-5, atol=1e-7, err_msg=path)
    for name, term in terms.items():
        np.testing.assert_allclose(same_terms[name], term, rtol=1e-5, err_msg=name)
    tanhs = lambda shared: str(jax.make_jaxpr(lambda s, b: alternate.step(system, stage(shared), 0, s, b))(
        start(system), batch)).count(" tanh ")
    assert tanhs(True) == tanhs(False) - 1  # one drawing less
    split = stage(True)._replace(phases=tuple(phase._replace(accumulate=2) for phase in stage(True).phases))
    with pytest.raises(UserError, match="cannot accumulate"):
        alternate.check(system, split, 16, 4)


@pytest.mark.parametrize("every", [1, 2])
def test_scanned_steps_equal_single_turns_of_the_cycle_bit_for_bit(every):
    system = toy.system(every=every)
    stage = system.stages[1]
    update = alternate.compile_update(system, stage, start(system), toy.examples(0, 16), 4, make_mesh())
    scanned, report = update.run(start(system), stacked(0, 4))

    @jax.jit
    def cycle(state, batches):  # compiled as one, as in the scan: fusion across its steps may round differently
        g_losses = []
        for position, batch in enumerate(batches):
            state, metrics = alternate.step(system, stage, position, state, batch)
            g_losses += [metrics["g/loss"]] if "g/loss" in metrics else []
        return state, g_losses

    single, losses = start(system), []
    for number in range(4 // every):
        batches = [toy.examples(16 * (every * number + i), 16) for i in range(every)]
        single, g_losses = cycle(single, batches)
        losses += g_losses
    assert len(losses) == 4 // every
    for a, b in zip(jax.tree.leaves(scanned), jax.tree.leaves(single), strict=True):
        assert a.dtype == b.dtype and bool(jnp.all(a == b))
    means, bad = alternate.read(update, report)
    assert bad is None
    np.testing.assert_allclose(means["g/loss"], np.mean(losses), rtol=1e-6)
    assert update.run._cache_size() == 1


def test_the_distance_of_averages_is_relative_and_of_what_moves():
    system = toy.system()
    update = alternate.compile_update(system, system.stages[1], start(system), toy.examples(0, 16), 4, make_mesh())
    state, report = update.run(start(system), stacked(0, 4))
    assert update.terms[-1] == "ema_distance/generator" and "ema_distance/autoencoder" not in update.terms
    whole = lambda params: np.concatenate([x.ravel() for x in params["generator"].values()])
    now, mean = whole(state.params), whole(state.ema["params"])
    distance = np.linalg.norm(mean - now) / np.linalg.norm(now)
    np.testing.assert_allclose(alternate.read(update, report).means["ema_distance/generator"], distance, rtol=1e-5)


def test_accumulated_gradients_equal_those_of_the_whole_batch():
    whole, parts = (alternate.step(s, s.stages[1], 0, start(s), toy.examples(0, 16)) for s in (toy.system(), toy.system(accumulate=4)))
    np.testing.assert_allclose(whole[1]["d/loss"], parts[1]["d/loss"], rtol=1e-5)
    np.testing.assert_allclose(whole[1]["d/gradient_norm"], parts[1]["d/gradient_norm"], rtol=1e-4)
    assert int(parts[0].aux["count"]) == 4


def test_the_first_bad_step_and_term_are_named():
    system = toy.system()
    phase = system.stages[1].phases[0]

    def spoiled(turn):
        loss, (aux, terms) = phase.loss(turn)
        bad = jnp.any(turn.batch["index"] == 40)  # step 2 of 4
        return loss, (aux, terms | {"gap": jnp.where(bad, jnp.nan, terms["gap"])})

    stage = system.stages[1]._replace(phases=(phase._replace(loss=spoiled), system.stages[1].phases[1]))
    update = alternate.compile_update(system, stage, start(system), toy.examples(0, 16), 4, make_mesh())
    _, report = update.run(start(system), stacked(0, 4))
    assert alternate.read(update, report).bad == (2, "d/gap")


def test_a_state_that_overflows_while_losses_are_finite_is_bad():
    system = toy.system()
    state = start(system)
    state = dataclasses.replace(state, aux=state.aux | {"scale": jnp.float32(jnp.inf)})
    update = alternate.compile_update(system, system.stages[1], state, toy.examples(0, 16), 4, make_mesh())
    _, report = update.run(state, stacked(0, 4))
    assert alternate.read(update, report).bad == (3, "state")


def test_what_cannot_run_is_refused_by_name():
    system = toy.system(every=3)
    with pytest.raises(UserError, match="scan_length = 4 must be a multiple of 3"):
        alternate.check(system, system.stages[1], 16, 4)
    with pytest.raises(UserError, match="stage 'gan' has 512 images.*= 48"):
        alternate.check(system, system.stages[1], 16, 3)
    system = toy.system(accumulate=3)
    with pytest.raises(UserError, match="'d' cannot accumulate 3"):
        alternate.check(system, system.stages[1], 16, 4)
    stage = system.stages[1]
    shared = toy.system()._replace(stages=(stage._replace(phases=(stage.phases[0], stage.phases[1]._replace(optimizer="d"))),))
    with pytest.raises(UserError, match="share an optimizer"):
        start(shared)
