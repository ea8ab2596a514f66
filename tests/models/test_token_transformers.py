"""The token transformer: causality by gradients, cached drawing against uncached, what words and padding do, attention."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2i_jax.models.token_sampling import choose
from t2i_jax.models.token_transformers import Attention, TokenTransformer, draw

BATCH, LENGTH, CODES, WORDS = 3, 9, 11, 5
NETWORK = TokenTransformer(CODES, LENGTH, width=16, depth=2, heads=2, hidden=24)
RNG = np.random.default_rng(0)
TEXT = jnp.array(RNG.normal(size=(BATCH, WORDS, 6)), jnp.float32)
SENTENCE = jnp.array(RNG.normal(size=(BATCH, 6)), jnp.float32)
MASK = jnp.arange(WORDS)[None] < jnp.array([[2], [5], [3]])
TOKENS = jnp.array(RNG.integers(0, CODES, (BATCH, LENGTH)), jnp.int32)
CAPTION = (TEXT, MASK, SENTENCE)
GUMBEL = jax.random.gumbel(jax.random.key(3), (BATCH, LENGTH, CODES))


@pytest.fixture(scope="module")
def params():
    params = jax.jit(NETWORK.init)(jax.random.key(0), TOKENS, *CAPTION)["params"]
    return jax.tree.map(lambda x: x + 0.1 * jnp.asarray(RNG.normal(size=x.shape), x.dtype), params)


@pytest.fixture(scope="module")
def logits_of(params):
    return jax.jit(lambda tokens, *caption: NETWORK.apply({"params": params}, tokens, *caption))


def test_a_logit_depends_on_earlier_tokens_alone(params):
    """The slope of the logits of place i by the embedding of token j vanishes for j >= i, and for no j < i."""
    embedded = NETWORK.apply({"params": params}, TOKENS, method="embed")  # place i holds token i - 1
    judge = lambda h: NETWORK.apply({"params": params}, h, *CAPTION, method="judge")
    direction = jnp.array(RNG.normal(size=CODES), jnp.float32)
    slopes = jax.jit(jax.jacrev(lambda h: (judge(h)[1] * direction[None]).sum(-1)))(embedded)[:, 1]  # [place, place, width]
    steep = np.abs(slopes).max(-1)
    assert (steep[np.triu_indices(LENGTH, 1)] == 0).all() and (steep[np.tril_indices(LENGTH)] > 1e-5).all()


def test_place_i_holds_the_token_before_it(params, logits_of):
    for place in range(LENGTH):
        changed = TOKENS.at[1, place].set((TOKENS[1, place] + 1) % CODES)
        differs = np.abs(logits_of(changed, *CAPTION) - logits_of(TOKENS, *CAPTION)).max(-1) > 1e-5
        np.testing.assert_array_equal(differs[1], np.arange(LENGTH) > place)
        assert not differs[[0, 2]].any()


def test_steps_with_a_cache_give_the_logits_of_all_places_at_once(params, logits_of):
    apply = lambda method, *x: NETWORK.apply({"params": params}, *x, method=method)
    step = jax.jit(lambda last, place, cache: apply("step", last, place, cache, apply("read", TEXT, SENTENCE), MASK))
    cache, expected = apply("nothing_yet", BATCH), logits_of(TOKENS, *CAPTION)
    for place in range(LENGTH):
        logits, cache = step(TOKENS[:, place - 1], place, cache)
        np.testing.assert_allclose(logits, expected[:, place], atol=1e-5)


@pytest.mark.parametrize("temperature, top_k, top_p", [(1.0, 0, 1.0), (0.7, 4, 0.9), (0.0, 0, 1.0)])
def test_cached_drawing_draws_the_tokens_of_uncached_drawing(params, logits_of, temperature, top_k, top_p):
    uncached = jnp.zeros((BATCH, LENGTH), jnp.int32)
    for place in range(LENGTH):
        token = choose(logits_of(uncached, *CAPTION)[:, place], GUMBEL[:, place], temperature, top_k, top_p)
        uncached = uncached.at[:, place].set(token)
    cached = jax.jit(draw, static_argnums=(0, 7))(NETWORK, params, *CAPTION, GUMBEL, temperature, top_k, top_p)
    np.testing.assert_array_equal(cached, uncached)
    assert len(np.unique(cached)) > 3


def test_padding_is_not_read_and_words_and_sentence_are(logits_of):
    before = logits_of(TOKENS, *CAPTION)
    padded = jnp.where(MASK[..., None], TEXT, 100.0)
    np.testing.assert_array_equal(before, logits_of(TOKENS, padded, MASK, SENTENCE))
    for caption in ((TEXT.at[:, 1].add(1.0), MASK, SENTENCE), (TEXT, MASK, SENTENCE + 1)):
        assert (np.abs(logits_of(TOKENS, *caption) - before).max((1, 2)) > 1e-3).all()


def test_attention_is_flax_attention_with_the_same_weights():
    layer, reference = Attention(8, 2), nn.MultiHeadDotProductAttention(2, qkv_features=8, out_features=8)
    queries, keys = jnp.array(RNG.normal(size=(2, 3, 5)), jnp.float32), jnp.array(RNG.normal(size=(2, 4, 6)), jnp.float32)
    mask = jnp.array([[[[True, False, True, True]]], [[[False, False, True, True]]]])
    weights = reference.init(jax.random.key(0), queries, keys)["params"]
    weights = jax.tree.map(lambda x: x + jnp.asarray(RNG.normal(size=x.shape), x.dtype), weights)
    flat = {name: {"kernel": x["kernel"].reshape(-1, 8), "bias": x["bias"].reshape(8)} for name, x in weights.items()}
    attend = lambda layer, queries, keys: layer(queries, layer.remember(keys), mask)
    found = nn.apply(attend, layer)({"params": flat}, queries, keys)
    np.testing.assert_allclose(found, reference.apply({"params": weights}, queries, keys, mask=mask), atol=1e-5)


def test_bfloat16_and_rematerialisation_change_rounding_alone(params, logits_of):
    half = NETWORK.clone(dtype=jnp.bfloat16, remat=True)
    found = half.apply({"params": params}, TOKENS, *CAPTION)
    assert found.dtype == jnp.bfloat16
    expected = logits_of(TOKENS, *CAPTION)
    np.testing.assert_allclose(found.astype(jnp.float32), expected, atol=0.05 * float(jnp.abs(expected).max()))
    tokens = draw(half, params, *CAPTION, GUMBEL, 1.0, 0, 1.0)
    assert tokens.shape == (BATCH, LENGTH) and tokens.dtype == jnp.int32
