"""Drawing tokens: frequencies against probabilities, exclusion by rank and by mass in NumPy, limits, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2i_jax.models.token_sampling import choose, straight_through_sample

LOGITS = jnp.log(jnp.array([0.5, 0.04, 0.3, 0.15, 0.01]))
MANY = 20_000


def frequencies(temperature=1.0, top_k=0, top_p=1.0, logits=LOGITS):
    noise = jax.random.gumbel(jax.random.key(0), (MANY, 5))
    drawn = jax.jit(choose, static_argnums=3)(jnp.tile(logits, (MANY, 1)), noise, temperature, top_k, top_p)
    assert drawn.dtype == jnp.int32
    return np.bincount(drawn, minlength=5) / MANY


def close(found, expected):
    expected = np.array(expected) / np.sum(expected)
    assert np.all(found[expected == 0] == 0)
    np.testing.assert_allclose(found, expected, atol=4 * 0.5 / MANY**0.5)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_come_as_often_as_softmax_says(temperature):
    close(frequencies(temperature), np.exp(np.asarray(LOGITS) / temperature))


def test_temperature_0_takes_the_likeliest():
    close(frequencies(0.0), [1, 0, 0, 0, 0])
    close(frequencies(0.0, top_k=3, top_p=0.9), [1, 0, 0, 0, 0])


@pytest.mark.parametrize("top_k, kept", [(0, 5), (1, 1), (2, 2), (4, 4), (5, 5), (99, 5)])
def test_top_k_keeps_the_k_likeliest(top_k, kept):
    p = np.exp(np.asarray(LOGITS))
    close(frequencies(top_k=top_k), np.where(p >= np.sort(p)[-kept], p, 0))


@pytest.mark.parametrize("top_p, expected", [
    (0.0, [0.5, 0, 0, 0, 0]), (0.4, [0.5, 0, 0, 0, 0]), (0.6, [0.5, 0, 0.3, 0, 0]), (0.9, [0.5, 0, 0.3, 0.15, 0]),
    (0.97, [0.5, 0.04, 0.3, 0.15, 0]), (1.0, [0.5, 0.04, 0.3, 0.15, 0.01]),
])
def test_top_p_keeps_the_fewest_likeliest_that_reach_it(top_p, expected):
    close(frequencies(top_p=top_p), expected)


def test_top_p_counts_probabilities_at_the_temperature_and_among_the_top_k():
    # Squared: .68, .00, .25, .06, .00; the first alone falls short of .7.
    close(frequencies(0.5, top_p=0.7), [0.25, 0, 0.09, 0, 0])
    # Among the two likeliest the first has .625.
    close(frequencies(top_k=2, top_p=0.6), [1, 0, 0, 0, 0])
    close(frequencies(top_p=0.6), [0.5, 0, 0.3, 0, 0])


def test_with_all_kept_rounding_does_not_cost_unlikely_tokens():
    logits = jnp.array([0.0, -30.0, -30.0, -30.0, -30.0])
    noise = jnp.array([[0.0, 0, 0, 0, 40.0]])
    assert choose(logits[None], noise, 1.0, 0, 1.0).tolist() == [4]


def test_straight_through_is_a_draw_with_the_gradient_of_a_softmax():
    logits = jnp.array(np.random.default_rng(0).normal(size=(6, 5)), jnp.float32)
    noise = jax.random.gumbel(jax.random.key(1), (6, 5))
    drawn, back = jax.vjp(lambda l: straight_through_sample(l, noise, 0.7), logits)
    tokens = choose(logits, noise, 1.0, 0, 1.0)
    np.testing.assert_array_equal(drawn, np.eye(5)[tokens])
    towards = jnp.array(np.random.default_rng(1).normal(size=(6, 5)), jnp.float32)
    p = np.exp((logits + noise) / 0.7)
    p /= p.sum(-1, keepdims=True)
    expected = p * (towards - (p * towards).sum(-1, keepdims=True)) / 0.7
    np.testing.assert_allclose(back(towards)[0], expected, rtol=1e-4, atol=1e-6)
