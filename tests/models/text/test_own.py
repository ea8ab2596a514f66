"""The text encoder: what a sentence depends on, and what it must not depend on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2i_jax.models.text import TextEncoder

ENCODER = TextEncoder(vocabulary=20, width=16, depth=2, heads=2, hidden=24)
TOKENS = jnp.array([[3, 7, 5, 0, 0], [7, 3, 5, 0, 0], [4, 0, 0, 0, 0], [3, 7, 5, 9, 2]], jnp.int32)
MASK = TOKENS != 0


@pytest.fixture(scope="module")
def params():
    return jax.jit(ENCODER.init)(jax.random.key(0), TOKENS, MASK)["params"]


@functools.partial(jax.jit, static_argnums=3)
def read(params, tokens, mask, encoder=ENCODER):
    return encoder.apply({"params": params}, tokens, mask)


def test_features_per_token_and_one_sentence(params):
    features, sentence = read(params, TOKENS, MASK)
    assert features.shape == (4, 5, 16) and sentence.shape == (4, 16)
    mean = np.asarray(features).sum(1) / np.asarray(MASK).sum(1, keepdims=True)
    np.testing.assert_allclose(sentence, mean / np.sqrt((mean**2).mean(-1, keepdims=True) + 1e-6), rtol=1e-4, atol=1e-5)


def test_padding_tokens_do_not_matter_by_a_bit(params):
    plain = read(params, TOKENS, MASK)
    other = read(params, jnp.where(MASK, TOKENS, 11), MASK)
    jax.tree.map(np.testing.assert_array_equal, other, plain)
    assert jnp.all(jnp.where(MASK[..., None], 0, plain[0]) == 0)
    assert jnp.all(jnp.any(plain[0] != 0, axis=-1) == MASK)


def test_rows_do_not_see_each_other(params):
    features, sentence = read(params, TOKENS, MASK)
    for row in range(4):
        alone = read(params, TOKENS[row : row + 1], MASK[row : row + 1])
        np.testing.assert_allclose(alone[0][0], features[row], atol=1e-6)
        np.testing.assert_allclose(alone[1][0], sentence[row], atol=1e-6)


def test_words_their_order_and_their_number_matter(params):
    _, sentence = read(params, TOKENS, MASK)
    distance = jnp.linalg.norm(sentence[:, None] - sentence[None], axis=-1) + 10 * jnp.eye(4)
    assert distance[0, 1] > 1e-2  # the same words in another order
    assert distance.min() > 1e-2
    # Places start near each other: another word moves a sentence further than another order.
    assert distance[0, 1] < distance[0, 2]


def test_bfloat16_is_close_and_parameters_stay_float32(params):
    half = TextEncoder(20, 16, 2, 2, 24, dtype=jnp.bfloat16)
    fresh = jax.eval_shape(half.init, jax.random.key(0), TOKENS, MASK)
    assert {p.dtype for p in jax.tree.leaves(fresh)} == {jnp.dtype("float32")}
    for exact, rough in zip(read(params, TOKENS, MASK), read(params, TOKENS, MASK, half), strict=True):
        assert exact.dtype == jnp.float32 and rough.dtype == jnp.bfloat16
        assert 1e-4 < jnp.abs(exact - rough).max() < 0.1


@pytest.mark.parametrize("bound", [False, True])
def test_only_a_bag_of_words_in_places_knows_their_order(bound):
    encoder = TextEncoder(vocabulary=9, width=16, depth=0, bound=bound)
    tokens = jnp.array([[3, 5, 7, 1], [7, 5, 3, 1]])
    mask = jnp.ones_like(tokens, bool)
    params = encoder.init(jax.random.key(0), tokens, mask)
    one, other = encoder.apply(params, tokens, mask)[1]
    assert (np.abs(one - other).max() > 0.05) == bound
