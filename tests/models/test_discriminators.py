"""Discriminators judge every example by itself, on the latent or picture and on the caption."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2i_jax.models.discriminators import (
    ConvDiscriminator,
    DenseDiscriminator,
    LatentDiscriminator,
    PatchDiscriminator,
    SummedDiscriminator,
)
from t2i_jax.models.encoders import ConvEmbedder
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


IMAGES = jax.random.uniform(jax.random.key(4), (6, 8, 8, 3), minval=-1)
JUDGES = {
    "dense": DenseDiscriminator((16, 12), 6),
    "convolutional": ConvDiscriminator((4, 8), embedding=6),
    "with a hidden layer": ConvDiscriminator((4, 8), hidden=10, embedding=6),
    "of two classes": ConvDiscriminator((4, 8), embedding=6, classes=2),
    "summed": SummedDiscriminator(2, (4, 8), embedding=6),
}


@pytest.fixture(scope="module")
def picture_judges():
    """{name: (parameters, compiled function of parameters, images and sentences)}"""
    def random(module):
        shapes = jax.eval_shape(module.init, jax.random.key(0), IMAGES, SENTENCE)["params"]
        leaves, structure = jax.tree.flatten(shapes)
        keys = jax.random.split(jax.random.key(5), len(leaves))
        return jax.tree.unflatten(structure, [0.3 * jax.random.normal(k, x.shape) for k, x in zip(keys, leaves)])

    compiled = lambda module: jax.jit(lambda params, *x: module.apply({"params": params}, *x),
                                      compiler_options={"xla_backend_optimization_level": 0})  # quicker to compile
    return {name: (random(module), compiled(module)) for name, module in JUDGES.items()}


@pytest.mark.parametrize("name", JUDGES)
def test_a_picture_is_judged_by_itself_beside_its_caption(picture_judges, name):
    params, judge = picture_judges[name]
    together = judge(params, IMAGES, SENTENCE)
    classes = (2,) if name == "of two classes" else ()
    assert [x.shape for x in together] == [(6, *classes), (6, 6), (6, 6)]
    changed = judge(params, IMAGES.at[1:].multiply(-1), SENTENCE.at[1:].multiply(-2))
    for a, b in zip(together, changed, strict=True):
        np.testing.assert_allclose(a[:1], b[:1], atol=1e-6)
        assert np.abs(a[1:] - b[1:]).min(axis=0).max() > 1e-3
    logits, seen, said = judge(params, IMAGES, SENTENCE * 2)
    assert np.abs(logits - together[0]).max() > 1e-3  # the caption counts
    np.testing.assert_array_equal(seen, together[1])  # but not for what is seen, nor the picture for what is said
    np.testing.assert_array_equal(judge(params, -IMAGES, SENTENCE)[2], together[2])


@pytest.mark.parametrize("name", ["dense", "convolutional", "with a hidden layer", "of two classes"])
def test_heads_by_hand_on_the_features_of_the_layers_below(picture_judges, name):
    params, judge = picture_judges[name]
    logits, seen, said = judge(params, IMAGES, SENTENCE)
    leaky = lambda x: np.where(x > 0, x, 0.2 * x)
    params64 = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    dense = lambda x, layer: np.asarray(x, np.float64) @ params64[layer]["kernel"] + params64[layer]["bias"]
    if name == "dense":
        h = leaky(dense(leaky(dense(IMAGES.reshape(6, -1), "Dense_0")), "Dense_1"))
    else:  # an embedder of the same convolutions whose dense layer changes nothing
        convolutions = {layer: params[layer] for layer in ("Conv_0", "Conv_1")}
        through = {"kernel": jnp.eye(32), "bias": jnp.zeros(32)}
        h = jax.jit(ConvEmbedder(32, (4, 8)).apply)({"params": convolutions | {"Dense_0": through}}, IMAGES)
        if name == "with a hidden layer":
            h = leaky(dense(h, "Dense_0"))
    matches = (dense(h, "project") * dense(SENTENCE, "condition")).sum(-1) / np.sqrt(6)
    assert np.abs(matches).min() > 1e-3
    if name == "of two classes":  # (fake, real): a right caption speaks for "real" and not against "fake"
        expected = dense(h, "logit") + matches[:, None] * np.array([0, 1])
    else:
        expected = dense(h, "logit")[:, 0] + matches
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(seen, dense(h, "embed_image"), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(said, dense(SENTENCE, "embed_sentence"), rtol=1e-4, atol=1e-4)


def test_the_summed_discriminator_is_the_sum_of_one_for_each_scale(picture_judges):
    params, judge = picture_judges["summed"]
    part = picture_judges["convolutional"][1]
    halved = np.asarray(IMAGES).reshape(6, 4, 2, 4, 2, 3).mean((2, 4))
    parts = [part(params["scale_0"], IMAGES, SENTENCE), part(params["scale_1"], halved, SENTENCE)]
    assert params.keys() == {"scale_0", "scale_1"} and min(np.abs(logits).max() for logits, *_ in parts) > 0.01
    for found, *both in zip(judge(params, IMAGES, SENTENCE), *parts, strict=True):
        np.testing.assert_allclose(found, sum(both), rtol=1e-4, atol=1e-5)
