"""Discriminators judge every example by itself, on the latent and on the caption."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2i_jax.models.discriminators import LatentDiscriminator, PatchDiscriminator
from t2i_jax.models.layers import ResidualStack

SIZE = {"width": 16, "hidden": 24, "blocks": 2, "embedding": 6}
CRITIC = LatentDiscriminator(**SIZE)
LATENTS, SENTENCE = (jax.random.normal(jax.random.key(n), (6, n)) for n in (10, 8))


@pytest.fixture(scope="module")
def params():
    return jax.jit(CRITIC.init)(jax.random.key(0), LATENTS, SENTENCE)["params"]


@functools.partial(jax.jit, static_argnums=3)
def judge(params, latents, sentence, critic=CRITIC):
    return critic.apply({"params": params}, latents, sentence)


def test_logits_and_embeddings_do_not_depend_on_the_rest_of_the_batch(params):
    together = judge(params, LATENTS, SENTENCE)
    assert [x.shape for x in together] == [(6,), (6, 6), (6, 6)]
    changed = judge(params, LATENTS.at[1:].multiply(9), SENTENCE.at[1:].multiply(-9))
    alone = judge(params, LATENTS[:1], SENTENCE[:1])
    for a, b, c in zip(together, changed, alone, strict=True):
        np.testing.assert_allclose(a[:1], b[:1], atol=1e-6)
        np.testing.assert_allclose(a[:1], c, atol=1e-6)


def test_the_logit_is_a_judgement_plus_the_projection_on_the_caption(params):
    logits, embed_latent, embed_sentence = judge(params, LATENTS, SENTENCE)
    stack = ResidualStack(16, 24, 2)
    h = np.asarray(jax.jit(stack.apply)({"params": params["ResidualStack_0"]}, LATENTS))
    params = jax.tree.map(np.asarray, params)
    dense = lambda x, name: np.asarray(x) @ params[name]["kernel"] + params[name]["bias"]
    matches = (dense(h, "project") * dense(SENTENCE, "condition")).sum(-1) / np.sqrt(6)
    assert np.abs(matches).min() > 1e-3
    np.testing.assert_allclose(logits, dense(h, "logit")[:, 0] + matches, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(embed_latent, dense(h, "embed_latent"), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(embed_sentence, dense(SENTENCE, "embed_sentence"), rtol=1e-4, atol=1e-5)


def test_bfloat16_and_recomputation(params):
    half, remat = LatentDiscriminator(**SIZE, dtype=jnp.bfloat16), LatentDiscriminator(**SIZE, remat=True)
    fresh = jax.eval_shape(half.init, jax.random.key(0), LATENTS, SENTENCE)
    assert {p.dtype for p in jax.tree.leaves(fresh)} == {jnp.dtype("float32")}
    exact = judge(params, LATENTS, SENTENCE)
    for a, b in zip(exact, judge(params, LATENTS, SENTENCE, half), strict=True):
        assert b.dtype == jnp.bfloat16 and 1e-4 < jnp.abs(a - b).max() < 0.1
    # Second derivatives too: penalties differentiate a gradient.
    slope = lambda p, critic: jnp.sum(jax.grad(lambda z: judge(p, z, SENTENCE, critic)[0].sum())(LATENTS) ** 2)
    derivative = jax.jit(jax.value_and_grad(slope), static_argnums=1)
    (value, grads), (value_r, grads_r) = (derivative(params, critic) for critic in (CRITIC, remat))
    np.testing.assert_allclose(value_r, value, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), grads_r, grads)


@pytest.mark.parametrize("shape", [(16, 24, 3), (64, 64, 1)])
def test_every_patch_of_every_picture_is_judged_by_itself(shape):
    critic = PatchDiscriminator(width=8)
    images = jax.random.uniform(jax.random.key(1), (3, *shape), minval=-1)
    params = jax.jit(critic.init)(jax.random.key(0), images)["params"]
    judge = jax.jit(lambda images: critic.apply({"params": params}, images))
    logits = judge(images)
    assert logits.shape == (3, shape[0] // 8, shape[1] // 8)
    after = judge(images.at[1, 8:16, 8:16].multiply(-1))
    touched = np.abs(np.asarray(after - logits)) > 1e-6
    assert touched[1, 1, 1] and touched.sum() == 1
    np.testing.assert_allclose(judge(images[2:]), logits[2:], atol=1e-6)
