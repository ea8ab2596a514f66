"""Looking words up: by hand, weights of words, and the generator and adapter that it serves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2i_jax.models.generators import AttendingGenerator
from t2i_jax.models.layers import WordAttention, emphasis
from t2i_jax.models.text.adapter import LanguageAdapter
from t2i_jax.paths import flat

rng = np.random.default_rng(0)
H, WORDS = rng.standard_normal((3, 8)).astype(np.float32), rng.standard_normal((3, 5, 6)).astype(np.float32)
MASK = np.arange(5) < np.array([[5], [2], [3]])
LOOK = WordAttention(heads=2, features=4)


@pytest.fixture(scope="module")
def params():
    return jax.jit(LOOK.init)(jax.random.key(0), H, WORDS, MASK)["params"]


def test_attention_to_words_is_its_formula(params):
    found = LOOK.apply({"params": params}, H, WORDS, MASK)
    params = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    dense = lambda name, x: np.asarray(x, np.float64) @ params[name]["kernel"] + params[name]["bias"]
    normal = H / np.sqrt((H**2).mean(-1, keepdims=True) + 1e-6)
    query, key, value = (dense(name, x).reshape(*x.shape[:-1], 2, 2) for name, x in
                         (("query", normal), ("key", WORDS), ("value", WORDS)))
    for b in range(3):
        heads = []
        for head in range(2):
            logits = np.exp(key[b, MASK[b], head] @ query[b, head] / np.sqrt(2))
            heads.append(logits @ value[b, MASK[b], head] / logits.sum())
        np.testing.assert_allclose(found[b], dense("out", np.concatenate(heads)), rtol=1e-4, atol=1e-5)


def test_a_words_weight_is_how_often_it_stands_there(params):
    apply = lambda words, mask: LOOK.apply({"params": params}, H, words, mask)
    twice = np.concatenate([WORDS, WORDS[:, :1]], axis=1)
    weights = np.ones((3, 5), np.float32)
    weights[:, 0] = 2
    np.testing.assert_allclose(apply(WORDS, weights), apply(twice, np.ones((3, 6), bool)), atol=1e-6)
    np.testing.assert_allclose(apply(WORDS, 0.3 * MASK.astype(np.float32)), apply(WORDS, MASK), atol=1e-6)
    assert np.isfinite(emphasis(jnp.zeros((1, 2)))).all() and emphasis(jnp.ones((1, 2), bool)).max() == 0


def test_the_generator_reads_noise_sentence_and_every_word_that_counts():
    generator = AttendingGenerator(latent=7, width=16, hidden=16, blocks=2, heads=2, attention=8)
    noise, sentence = rng.standard_normal((3, 4)).astype(np.float32), rng.standard_normal((3, 6)).astype(np.float32)
    inputs = {"noise": noise, "words": WORDS, "mask": MASK, "sentence": sentence}
    params = jax.jit(generator.init)(jax.random.key(0), *inputs.values())["params"]
    draw = jax.jit(lambda noise, words, mask, sentence: generator.apply({"params": params}, noise, words, mask, sentence))
    latents = draw(**inputs)
    assert latents.shape == (3, 7)
    change = lambda **new: np.abs(draw(**inputs | new) - latents).max(axis=1)
    for name, x in (("noise", noise), ("sentence", sentence)):
        moved = x.copy()
        moved[1] += 1
        assert change(**{name: moved})[1] > 1e-3 and change(**{name: moved})[[0, 2]].max() < 1e-6
    seen, unseen = WORDS.copy(), WORDS.copy()
    seen[1, 1] += 1
    unseen[1, 2] += 1  # padding
    assert change(words=seen)[1] > 1e-4 and change(words=unseen).max() == 0
    recomputing = jax.eval_shape(generator.clone(remat=True).init, jax.random.key(0), *inputs.values())["params"]
    assert {path: x.shape for path, x in flat(recomputing).items()} == {path: x.shape for path, x in flat(params).items()}


def test_the_adapter_makes_one_size_and_scale_of_any_language_models_features():
    adapter = LanguageAdapter(10)
    sentence = rng.standard_normal((3, 9)).astype(np.float32)
    params = jax.jit(adapter.init)(jax.random.key(0), WORDS, sentence)
    words, said = adapter.apply(params, WORDS, sentence)
    assert words.shape == (3, 5, 10) and said.shape == (3, 10)
    np.testing.assert_allclose(np.mean(np.square(said), axis=-1), 1, atol=1e-3)
    for factor in (0.01, 100):
        again = adapter.apply(params, factor * WORDS, factor * sentence)
        np.testing.assert_allclose(again[0], words, atol=2e-2)
        np.testing.assert_allclose(again[1], said, atol=2e-2)
