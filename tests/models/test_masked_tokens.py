"""The masked token transformer: hidden tokens stay hidden; noise, its level, caption and visible tokens matter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2i_jax.models.masked_tokens import MaskedTokenTransformer

B, N, V, Z, D, L = 3, 6, 5, 4, 8, 7
RNG = np.random.default_rng(0)
draw = lambda *shape: jnp.asarray(RNG.normal(size=shape), jnp.float32)
INPUTS = {
    "tokens": jax.nn.one_hot(jnp.asarray(RNG.integers(0, V, (B, N))), V),
    "known": jnp.asarray([[1, 0, 1, 0, 0, 1], [0] * 6, [1, 1, 1, 1, 0, 1]], bool),
    "noise": draw(B, N, Z),
    "level": jnp.asarray([0.3, 1.0, 0.6]),
    "condition": draw(B, D),
    "text": draw(B, L, D),
    "mask": jnp.arange(L)[None] < jnp.asarray([[4], [7], [0]]),
}


@pytest.fixture(scope="module", params=[True, False], ids=["words", "sentence"])
def predict(request):
    """Changed inputs -> logits [B, N, V]."""
    network = MaskedTokenTransformer(V, width=16, depth=2, heads=2, hidden=16, words=request.param)
    params = network.init(jax.random.key(0), **INPUTS)
    apply = jax.jit(lambda inputs: network.apply(params, **inputs))
    return lambda **changes: apply(INPUTS | changes)


def same(first, second):
    return np.all(np.asarray(first) == np.asarray(second), axis=(1, 2)).tolist()


def test_logits_do_not_depend_on_hidden_tokens(predict):
    for other in (INPUTS["tokens"][..., ::-1], jnp.full((B, N, V), jnp.nan), jnp.zeros((B, N, V))):
        replaced = jnp.where(INPUTS["known"][..., None], INPUTS["tokens"], other)
        np.testing.assert_array_equal(predict(tokens=replaced), predict())


def test_gradients_reach_every_visible_token_and_no_hidden_one(predict):
    weights = draw(B, N, V)
    slope = jax.grad(lambda tokens: jnp.sum(weights * predict(tokens=tokens)))(INPUTS["tokens"])
    touched = np.any(np.asarray(slope), axis=-1)
    np.testing.assert_array_equal(touched, INPUTS["known"])


def test_a_visible_token_changes_what_is_predicted_everywhere_in_its_picture_alone(predict):
    other = INPUTS["tokens"].at[0, 2].set(jnp.roll(INPUTS["tokens"][0, 2], 1))
    assert same(predict(tokens=other), predict()) == [False, True, True]
    assert np.all(np.any(np.asarray(predict(tokens=other)[0] != predict()[0]), axis=-1))


def test_noise_matters_at_hidden_places_alone_and_as_much_as_its_level_says(predict):
    other = draw(B, N, Z)
    at_visible = jnp.where(INPUTS["known"][..., None], other, INPUTS["noise"])
    np.testing.assert_array_equal(predict(noise=at_visible), predict())
    assert same(predict(noise=other), predict()) == [False] * 3
    silent = jnp.zeros(B)
    np.testing.assert_array_equal(predict(noise=other, level=silent), predict(level=silent))


def test_the_level_matters_by_itself(predict):
    quiet = {"noise": jnp.zeros((B, N, Z))}
    assert same(predict(**quiet, level=jnp.asarray([0.31, 1.0, 0.9])), predict(**quiet)) == [False, True, False]


def test_condition_matters_and_padding_does_not(predict):
    assert same(predict(condition=INPUTS["condition"] + 1), predict()) == [False] * 3
    padded = jnp.where(INPUTS["mask"][..., None], INPUTS["text"], 9.0)
    np.testing.assert_allclose(predict(text=padded), predict(), atol=1e-6)


def test_words_are_read_where_asked_for(request, predict):
    reads = "words" in request.node.callspec.id
    assert same(predict(text=-INPUTS["text"]), predict()) == [not reads, not reads, True]  # the last has no words
