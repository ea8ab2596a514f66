"""Token likelihoods and codebook losses by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from t2i_jax.objectives import tokens


def test_token_likelihood_is_the_product_over_the_sequence():
    logits, chosen = np.random.default_rng(0).normal(size=(2, 3, 4)), np.array([[0, 3, 1], [2, 2, 0]])
    probability = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = -np.log(np.take_along_axis(probability, chosen[..., None], -1)[..., 0].prod(1))
    with jax.enable_x64(True):
        np.testing.assert_allclose(tokens.token_nll(jnp.array(logits), jnp.array(chosen)), expected, rtol=1e-12)


def test_codebook_follows_the_encoder_and_the_encoder_commits():
    encoded, quantised = jnp.array([[1.0, 2.0]]), jnp.array([[0.0, 2.5]])
    loss = lambda e, q: tokens.codebook_loss(e, q, commitment_weight=0.25)
    np.testing.assert_allclose(loss(encoded, quantised), 1.25 * (1 + 0.25) / 2)
    to_encoder, to_codebook = jax.grad(loss, (0, 1))(encoded, quantised)
    np.testing.assert_allclose(to_codebook, [[-1.0, 0.5]])
    np.testing.assert_allclose(to_encoder, [[0.25, -0.125]])


def test_commitment_moves_the_encoder_alone():
    encoded, quantised = jnp.array([[1.0, 2.0]]), jnp.array([[0.0, 2.5]])
    np.testing.assert_allclose(tokens.commitment_loss(encoded, quantised), 1.25 / 2)
    to_encoder, to_codebook = jax.grad(tokens.commitment_loss, (0, 1))(encoded, quantised)
    np.testing.assert_allclose(to_encoder, [[1.0, -0.5]])
    np.testing.assert_array_equal(to_codebook, [[0.0, 0.0]])
