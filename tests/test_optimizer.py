"""Optimizers whose schedules count images: steps by hand, whatever the batch size."""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import pytest

from t2i_jax import optimizer
from t2i_jax.errors import UserError

PARAMS = {"kernel": jnp.array([[1.0, -2.0], [3.0, 0.5]]), "bias": jnp.array([0.2, -0.4])}
GRADIENTS = {"kernel": jnp.array([[0.3, -0.1], [0.0, 2.0]]), "bias": jnp.array([-1.0, 0.5])}


def config(**changes):
    fields = dict(
        name="adam", learning_rate=0.1, b1=0.5, b2=0.9, eps=1e-8, weight_decay=0.0, clip=0.0,
        warmup_images=0, decay="constant", decay_start=0, decay_end=0, final=1.0,
    )  # fmt: skip
    return ml_collections.FrozenConfigDict(fields | changes)


def run(transformation, steps=3, images=lambda step: jnp.float32(step * 64)):
    """Parameters after some compiled steps with the same gradients."""
    params, state = PARAMS, transformation.init(PARAMS)
    update = jax.jit(transformation.update)
    for step in range(steps):
        updates, state = update(GRADIENTS, state, params, images=images(step))
        params = optax.apply_updates(params, updates)
    return params


def assert_trees_close(actual, expected):
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-5), actual, expected)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("sgd", optax.sgd(0.1)),
        ("momentum", optax.sgd(0.1, momentum=0.5)),
        ("adam", optax.adam(0.1, b1=0.5, b2=0.9)),
        ("adamw", optax.adamw(0.1, b1=0.5, b2=0.9, weight_decay=0.01, mask={"kernel": True, "bias": False})),
    ],
)
def test_without_a_schedule_each_is_what_optax_calls_it(name, reference):
    weight_decay = 0.01 if name == "adamw" else 0.0
    actual = run(optimizer.build(config(name=name, weight_decay=weight_decay)))
    assert_trees_close(actual, run(optax.with_extra_args_support(reference)))


def test_schedule_by_hand():
    fields = config(learning_rate=2.0, warmup_images=100, decay="cosine", decay_start=200, decay_end=600, final=0.1)
    images = np.array([0, 50, 100, 200, 300, 400, 600, 900], np.float32)
    quarter = 0.1 + 0.9 * (1 + np.cos(np.pi / 4)) / 2
    expected = 2 * np.array([0, 0.5, 1, 1, quarter, 0.55, 0.1, 0.1])
    np.testing.assert_allclose([optimizer.schedule(fields, n) for n in images], expected, rtol=1e-6)


def test_learning_rate_follows_the_images_seen_since_its_stage_began():
    sgd = optimizer.build(config(name="sgd", warmup_images=100), begin=1000)
    step = lambda images: sgd.update(GRADIENTS, sgd.init(PARAMS), PARAMS, images=jnp.float32(images))[0]["bias"]
    for images, fraction in ((1000, 0.0), (1025, 0.25), (1100, 1.0), (5000, 1.0)):
        np.testing.assert_allclose(step(images), -0.1 * fraction * GRADIENTS["bias"], rtol=1e-6)


def test_b2_moves_with_the_decay():
    adam = optimizer.build(config(b2=0.9, b2_final=0.99, decay="cosine", decay_start=0, decay_end=100))
    for images, b2 in ((0, 0.9), (50, 0.945), (100, 0.99)):
        _, state = adam.update(GRADIENTS, adam.init(PARAMS), PARAMS, images=jnp.float32(images))
        (second_moment,) = [part.nu for part in state if hasattr(part, "nu")]
        np.testing.assert_allclose(second_moment["bias"], (1 - b2) * GRADIENTS["bias"] ** 2, rtol=1e-5)


def test_clip_bounds_the_norm_of_all_gradients_together():
    norm = np.sqrt(sum(float(jnp.sum(gradient**2)) for gradient in GRADIENTS.values()))
    sgd = optimizer.build(config(name="sgd", learning_rate=1.0, clip=0.5))
    updates, _ = sgd.update(GRADIENTS, sgd.init(PARAMS), PARAMS, images=jnp.float32(0))
    np.testing.assert_allclose(updates["bias"], -GRADIENTS["bias"] * 0.5 / norm, rtol=1e-6)
    assert_trees_close(run(optimizer.build(config(clip=100.0))), run(optimizer.build(config())))


def test_gradients_are_clipped_before_they_are_averaged():
    """With momentum ½ two clipped gradients of one direction add up to 1 + 1.5 of them."""
    once, twice = (run(optimizer.build(config(name="momentum", clip=0.5)), steps) for steps in (1, 2))
    moved = lambda params: params["bias"] - PARAMS["bias"]
    np.testing.assert_allclose(moved(twice), 2.5 * moved(once), rtol=1e-5)


def test_half_precision_parameters_keep_their_type():
    halves = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), PARAMS)
    adam = optimizer.build(config(warmup_images=10))
    updates, _ = adam.update(halves, adam.init(halves), halves, images=jnp.float32(5))
    assert all(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(updates))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(name="lion"), "'lion'.*sgd, momentum, adam, adamw"),
        (dict(decay="linear"), "'linear'.*constant, cosine"),
        (dict(decay="cosine", decay_start=100, decay_end=100), r"decay_end \(100\)"),
        (dict(weight_decay=0.1), "'adamw' only"),
    ],
)
def test_mistakes_are_named_when_it_is_built(changes, message):
    with pytest.raises(UserError, match=message):
        optimizer.build(config(**changes))


def test_an_average_halves_in_its_half_life_whatever_the_batch():
    for batch in (1, 50, 1000):
        np.testing.assert_allclose(optimizer.ema_decay(1000, batch) ** (1000 / batch), 0.5, rtol=1e-9)


def test_fields_that_are_unknown_or_missing_are_named():
    with pytest.raises(UserError, match="unknown: learning_rte; it takes name, learning_rate"):
        optimizer.build(config(learning_rte=1.0))
    with pytest.raises(UserError, match="missing: clip"):
        optimizer.build({name: value for name, value in config().items() if name != "clip"})
