"""Codebooks: nearest codes by loops, k-means against scikit-learn, averages by hand, codes that start again, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.cluster import KMeans

from t2i_jax.models import quantization

RNG = np.random.default_rng(0)


def test_nearest_and_lookup_by_loops():
    latents, codebook = RNG.normal(size=(2, 5, 3)).astype(np.float32), RNG.normal(size=(7, 3)).astype(np.float32)
    tokens = quantization.nearest(jnp.array(latents), jnp.array(codebook))
    expected = [[min(range(7), key=lambda k: ((z - codebook[k]) ** 2).sum()) for z in row] for row in latents]
    assert tokens.dtype == jnp.int32 and tokens.tolist() == expected
    chosen = quantization.lookup(jax.nn.one_hot(tokens, 7), jnp.array(codebook))
    np.testing.assert_allclose(chosen, codebook[np.array(expected)], rtol=1e-6)


def test_of_equally_near_codes_the_first_is_chosen():
    assert quantization.nearest(jnp.zeros((1, 2)), jnp.array([[3.0, 0], [0, 1], [1, 0]])).tolist() == [1]


def test_probabilities_look_up_their_mean_and_pass_gradients():
    codebook = jnp.array([[1.0, 0], [0, 2]])
    np.testing.assert_allclose(quantization.lookup(jnp.array([0.25, 0.75]), codebook), [0.25, 1.5])
    gradient = jax.grad(lambda p: quantization.lookup(p, codebook)[1])(jnp.array([0.5, 0.5]))
    np.testing.assert_allclose(gradient, [0, 2])


def test_straight_through_has_the_value_of_one_and_the_gradient_of_the_other():
    encoded, quantised = jnp.array([1.0, -2.0]), jnp.array([0.5, 4.0])
    value, back = jax.vjp(quantization.straight_through, encoded, quantised)
    np.testing.assert_allclose(value, quantised)
    for gradient, expected in zip(back(jnp.array([3.0, 5.0])), ([3.0, 5.0], [0.0, 0.0]), strict=True):
        np.testing.assert_array_equal(gradient, expected)


def blobs(centres, each, spread=0.05):
    latents = np.repeat(centres, each, axis=0) + RNG.normal(0, spread, (len(centres) * each, centres.shape[1]))
    return RNG.permutation(latents).astype(np.float32)


def test_k_means_finds_what_scikit_learn_finds():
    latents = blobs(RNG.normal(size=(6, 4)) * 3, 50)
    reference = KMeans(6, n_init=10, random_state=0).fit(latents)
    error = lambda vectors: ((latents[:, None] - vectors[None]) ** 2).sum(-1).min(1).sum()
    fitted = [np.asarray(quantization.fit_codebook(jnp.array(latents), 6, jax.random.key(seed), 20)) for seed in range(4)]
    np.testing.assert_allclose(min(map(error, fitted)), reference.inertia_, rtol=1e-4)
    assert np.median([error(vectors) for vectors in fitted]) < 3 * reference.inertia_


def test_k_means_with_more_codes_than_different_latents_stays_finite():
    latents = jnp.array([[1.0, 1], [2, 2], [1, 1], [2, 2]])
    vectors = quantization.fit_codebook(latents, 3, jax.random.key(0), 5)
    assert {(1.0, 1.0), (2.0, 2.0)} == set(map(tuple, vectors.tolist()))


def test_averages_by_hand():
    codebook = quantization.start_codebook(jnp.array([[0.0, 0], [1, 1]]))
    np.testing.assert_array_equal(codebook["counts"], [1, 1])
    latents, tokens = jnp.array([[1.0, 0], [3, 0], [2, 2], [5, 0]]), jnp.array([0, 0, 1, 0])
    moved = quantization.update_codebook(codebook, latents, tokens, 0.9, jax.random.key(0), 0.05)
    # The even share is 4 / 2 latents: code 0 was chosen 1.5 times that, code 1 half of it.
    np.testing.assert_allclose(moved["counts"], [0.9 + 0.1 * 1.5, 0.9 + 0.1 * 0.5], rtol=1e-6)
    np.testing.assert_allclose(moved["sums"], [[0.1 * 4.5, 0], [0.9 + 0.1, 0.9 + 0.1]], rtol=1e-6)
    np.testing.assert_allclose(moved["vectors"], moved["sums"] / moved["counts"][:, None], rtol=1e-6)


def test_an_unused_code_starts_again_at_a_latent_of_the_batch_and_then_lives():
    codebook = quantization.start_codebook(jnp.array([[0.0, 0], [100, 100]]))
    latents = jnp.array(blobs(np.array([[0.0, 0], [2, 2]]), 16))
    step = jax.jit(lambda codebook, key: quantization.update_codebook(
        codebook, latents, quantization.nearest(latents, codebook["vectors"]), 0.9, key, 0.05))
    jax.tree.map(np.testing.assert_array_equal, step(codebook, jax.random.key(0)), step(codebook, jax.random.key(0)))
    for number in range(60):
        codebook = step(codebook, jax.random.fold_in(jax.random.key(1), number))
    np.testing.assert_allclose(sorted(codebook["vectors"].tolist()), [[0, 0], [2, 2]], atol=0.1)
