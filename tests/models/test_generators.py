"""The generator: what its outputs depend on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2i_jax.models.generators import LatentGenerator

SIZE = {"width": 16, "hidden": 24, "blocks": 2}
GENERATOR = LatentGenerator(latent=10, **SIZE)
NOISE, SENTENCE = (jax.random.normal(jax.random.key(n), (6, n)) for n in (4, 8))


@pytest.fixture(scope="module")
def params():
    return jax.jit(GENERATOR.init)(jax.random.key(0), NOISE, SENTENCE)["params"]


@functools.partial(jax.jit, static_argnums=3)
def draw(params, noise, sentence, generator=GENERATOR):
    return generator.apply({"params": params}, noise, sentence)


def test_every_latent_depends_on_its_noise_and_its_sentence_alone(params):
    latents = draw(params, NOISE, SENTENCE)
    assert latents.shape == (6, 10)
    for noise, sentence in [(NOISE.at[2].add(1), SENTENCE), (NOISE, SENTENCE.at[2].add(1))]:
        moved = jnp.abs(draw(params, noise, sentence) - latents).max(axis=-1)
        assert moved[2] > 1e-2 and jnp.all(moved.at[2].set(0) < 1e-6)
    np.testing.assert_allclose(draw(params, NOISE[4:5], SENTENCE[4:5]), latents[4:5], atol=1e-6)


def test_bfloat16_and_recomputation(params):
    exact = draw(params, NOISE, SENTENCE)
    half = LatentGenerator(latent=10, **SIZE, dtype=jnp.bfloat16)
    fresh = jax.eval_shape(half.init, jax.random.key(0), NOISE, SENTENCE)
    assert {p.dtype for p in jax.tree.leaves(fresh)} == {jnp.dtype("float32")}
    rough = draw(params, NOISE, SENTENCE, half)
    assert rough.dtype == jnp.bfloat16 and 1e-4 < jnp.abs(rough - exact).max() < 0.1
    grads = lambda generator: jax.jit(jax.grad(lambda p: jnp.sum(draw(p, NOISE, SENTENCE, generator) ** 2)))(params)
    remat = LatentGenerator(latent=10, **SIZE, remat=True)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), grads(remat), grads(GENERATOR))
