"""The transformers of latent maps: what they read, what they do not, how they start, and rematerialisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2i_jax.models.latent_transformers import TransformerDiscriminator, TransformerGenerator

RNG = np.random.default_rng(0)
draw = lambda *shape: jnp.asarray(RNG.normal(size=shape), jnp.float32)
B, MAP, L = 3, (8, 4, 4), 5
SIZES = {"width": 16, "depth": 2, "heads": 2, "hidden": 24}
GENERATOR, DISCRIMINATOR = TransformerGenerator(MAP, **SIZES), TransformerDiscriminator(**SIZES, embedding=6)
NOISE, SENTENCE, WORDS, LATENTS = draw(B, 7), draw(B, 6), draw(B, L, 6), draw(B, *MAP)
MASK = jnp.arange(L)[None] < jnp.array([[5], [2], [3]])
INPUTS = {GENERATOR: (NOISE, SENTENCE, WORDS, MASK), DISCRIMINATOR: (LATENTS, SENTENCE)}


def fresh(network):
    return jax.jit(network.init)(jax.random.key(0), *INPUTS[network])["params"]


def moved(params):
    return jax.tree.map(lambda x: x + 0.2 * draw(*x.shape), params)


def apart(a, b):
    return np.abs(np.asarray(a) - np.asarray(b)).reshape(len(a), -1).max(1)


def test_a_picture_depends_on_its_noise_words_and_sentence_and_not_on_padding_or_neighbours():
    params = moved(fresh(GENERATOR))
    run = jax.jit(lambda *inputs: GENERATOR.apply({"params": params}, *inputs))
    before = run(NOISE, SENTENCE, WORDS, MASK)
    assert before.shape == (B, *MAP)
    np.testing.assert_array_equal(before, run(NOISE, SENTENCE, jnp.where(MASK[..., None], WORDS, 100.0), MASK))
    for number, changed in enumerate((NOISE.at[1].add(1), SENTENCE.at[1].add(1), WORDS.at[1, 0].add(1))):
        inputs = [NOISE, SENTENCE, WORDS]
        inputs[number] = changed
        difference = apart(run(*inputs, MASK), before)
        assert difference[1] > 1e-3 and difference[0] == difference[2] == 0
    assert np.ptp(before, axis=(1, 2)).min() > 1e-2  # places differ


def test_gates_start_near_zero_and_open():
    params = fresh(GENERATOR)
    run = jax.jit(lambda params, noise: GENERATOR.apply({"params": params}, noise, SENTENCE, WORDS, MASK))
    before = run(params, NOISE)
    influence = np.sqrt(np.mean((run(params, NOISE + 1) - before) ** 2) / np.mean(before**2))
    assert 0 < influence < 0.05
    slope = jax.jit(jax.grad(lambda params: jnp.mean((run(params, NOISE) - LATENTS) ** 2)))(params)
    for name in ("adapt", "words", "attention", "perceptron"):
        assert all(np.abs(x).max() > 0 for x in jax.tree.leaves(slope["blocks"][name])), name


def test_a_judgement_depends_on_its_own_latent_and_sentence():
    params = moved(fresh(DISCRIMINATOR))
    run = jax.jit(lambda *inputs: DISCRIMINATOR.apply({"params": params}, *inputs))
    before = run(LATENTS, SENTENCE)
    assert before.logits.shape == (B,) and before.embedding.shape == before.sentence.shape == (B, 6)
    for corner in ((0, 0), (-1, -1)):  # every place is seen
        difference = apart(run(LATENTS.at[1, *corner].add(1), SENTENCE).logits, before.logits)
        assert difference[1] > 1e-4 and difference[0] == difference[2] == 0
    other = run(LATENTS, SENTENCE.at[1].add(1))
    assert apart(other.logits, before.logits)[1] > 1e-4
    np.testing.assert_array_equal(other.embedding, before.embedding)
    turned = run(LATENTS[:, ::-1], SENTENCE)  # the same patches in other places
    assert apart(turned.logits, before.logits).min() > 1e-4


@pytest.mark.parametrize("network", [GENERATOR, DISCRIMINATOR], ids=["generator", "discriminator"])
@pytest.mark.parametrize("keep", [False, True])
def test_rematerialisation_changes_neither_results_nor_derivatives(network, keep):
    params = moved(fresh(network))

    def loss(network):
        total = lambda params: sum(jnp.sum(jnp.sin(x)) for x in jax.tree.leaves(network.apply({"params": params}, *INPUTS[network_])))
        return jax.jit(jax.value_and_grad(total))(params)

    network_ = network
    (value, slope), (again, again_slope) = loss(network), loss(network.clone(remat=True, keep=keep))
    np.testing.assert_allclose(value, again, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5), slope, again_slope)


def test_half_precision_judges_in_full():
    params = fresh(DISCRIMINATOR)
    judged = DISCRIMINATOR.clone(dtype=jnp.bfloat16).apply({"params": params}, LATENTS, SENTENCE)
    assert {x.dtype for x in judged} == {jnp.dtype("float32")}
    np.testing.assert_allclose(judged.logits, DISCRIMINATOR.apply({"params": params}, LATENTS, SENTENCE).logits, atol=0.05)
    made = GENERATOR.clone(dtype=jnp.bfloat16).apply({"params": fresh(GENERATOR)}, *INPUTS[GENERATOR])
    assert made.dtype == jnp.bfloat16 and np.isfinite(made.astype(jnp.float32)).all()
