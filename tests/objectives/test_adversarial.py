"""Adversarial losses against their formulas in NumPy, and the worked numbers of the DCGAN reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2i_jax.errors import UserError
from t2i_jax.objectives import adversarial

REAL = np.array([[2.0, -0.3], [0.7, 4.0], [-1.5, 0.2]])
FAKE = np.array([[-1.0, 0.4], [0.1, -3.0], [1.2, -0.6]])
sigmoid = lambda logits: 1 / (1 + np.exp(-logits))
logit = lambda probability: jnp.array([np.log(probability / (1 - probability))])

CROSS_ENTROPY = -np.log(sigmoid(REAL)).mean() - np.log(1 - sigmoid(FAKE)).mean()
EXPECTED = {
    "minimax": (CROSS_ENTROPY, np.log(1 - sigmoid(FAKE)).mean()),
    "non_saturating": (CROSS_ENTROPY, -np.log(sigmoid(FAKE)).mean()),
    "hinge": (np.maximum(0, 1 - REAL).mean() + np.maximum(0, 1 + FAKE).mean(), -FAKE.mean()),
    "wasserstein": (FAKE.mean() - REAL.mean(), -FAKE.mean()),
    "relativistic": (-np.log(sigmoid(REAL - FAKE)).mean(), -np.log(sigmoid(FAKE - REAL)).mean()),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_losses_are_their_formulas_and_their_gradients_are_finite_differences(name):
    game = adversarial.by_name(name)
    discriminator_loss, generator_loss = EXPECTED[name]
    with jax.enable_x64(True):
        real, fake = jnp.array(REAL), jnp.array(FAKE)
        np.testing.assert_allclose(game.discriminator(real, fake), discriminator_loss, rtol=1e-12)
        np.testing.assert_allclose(game.generator(fake, real), generator_loss, rtol=1e-12)
        for loss in game:
            for argument, at in ((0, (real, fake)), (1, (real, fake))):
                direction = jnp.sin(jnp.arange(6.0)).reshape(3, 2)
                moved = lambda step: loss(*(x + step * direction * (i == argument) for i, x in enumerate(at)))
                slope = jnp.sum(jax.grad(loss, argument)(*at) * direction)
                np.testing.assert_allclose(slope, (moved(1e-5) - moved(-1e-5)) / 2e-5, atol=1e-9)


@pytest.mark.parametrize("name", EXPECTED)
def test_losses_are_float32_scalars_also_for_extreme_bfloat16_logits(name):
    logits = jnp.array([80.0, -80.0, 1e4, -1e4], jnp.bfloat16)
    for loss in adversarial.by_name(name):
        value, gradient = jax.value_and_grad(loss)(logits, -logits)
        assert value.shape == () and value.dtype == jnp.float32
        assert jnp.isfinite(value) and jnp.all(jnp.isfinite(gradient))


def test_unknown_name_lists_the_accepted_ones():
    with pytest.raises(UserError, match="'lsgan'.*minimax, non_saturating, hinge, wasserstein, relativistic"):
        adversarial.by_name("lsgan")


def test_relativistic_pairing_refuses_logits_it_would_pair_crosswise():
    with pytest.raises(ValueError, match="equal shapes"):
        adversarial.RELATIVISTIC.discriminator(jnp.zeros((4, 1)), jnp.zeros((4, 4)))


def test_worked_numbers_of_the_dcgan_reference():
    real, fake = logit(0.9), logit(0.1)
    bce = adversarial.binary_cross_entropy
    np.testing.assert_allclose(bce(real, jnp.ones(1)), -np.log(0.9), rtol=1e-5)
    np.testing.assert_allclose(bce(fake, jnp.zeros(1)), -np.log(0.9), rtol=1e-5)
    generator = adversarial.NON_SATURATING.generator(fake, real)
    np.testing.assert_allclose(generator, -np.log(0.1), rtol=1e-5)
    total = bce(real, jnp.ones(1)) + 0.5 * generator
    np.testing.assert_allclose(total, -np.log(0.9) + 0.5 * -np.log(0.1), rtol=1e-5)


def test_binary_cross_entropy_with_soft_labels():
    labels = np.array([[0.9, 0.0], [1.0, 0.3], [0.5, 1.0]])
    expected = -(labels * np.log(sigmoid(REAL)) + (1 - labels) * np.log(1 - sigmoid(REAL))).mean()
    with jax.enable_x64(True):
        value = adversarial.binary_cross_entropy(jnp.array(REAL), jnp.array(labels))
        np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_matching_aware_counts_a_real_image_with_a_wrong_caption_as_fake():
    wrong = np.array([[0.9, 0.1], [-0.2, 0.3], [5.0, 7.0]])
    valid = np.array([True, True, False])
    with jax.enable_x64(True):
        logits = [jnp.array(x) for x in (REAL, FAKE, wrong)]
        loss = lambda valid: adversarial.matching_aware(
            adversarial.NON_SATURATING.discriminator, *logits, valid=jnp.array(valid)
        )
        reed = -np.log(sigmoid(REAL)).mean() - (np.log(1 - sigmoid(FAKE)) + np.log(1 - sigmoid(wrong))).mean() / 2
        np.testing.assert_allclose(loss(np.ones(3, bool)), reed, rtol=1e-12)
        stand_in = np.where(valid[:, None], wrong, FAKE)
        masked = -np.log(sigmoid(REAL)).mean() - (np.log(1 - sigmoid(FAKE)) + np.log(1 - sigmoid(stand_in))).mean() / 2
        np.testing.assert_allclose(loss(valid), masked, rtol=1e-12)
        np.testing.assert_allclose(loss(np.zeros(3, bool)), CROSS_ENTROPY, rtol=1e-12)


def test_matching_aware_ignores_what_is_not_valid_and_takes_several_mismatches():
    with jax.enable_x64(True):
        real, fake = jnp.array(REAL), jnp.array(FAKE)
        discriminator = adversarial.RELATIVISTIC.discriminator
        loss = lambda *wrong: adversarial.matching_aware(
            discriminator, real, fake, *wrong, valid=jnp.array([False, True, True])
        )
        gradient = jax.grad(loss)(real - 1)
        assert jnp.all(gradient[0] == 0) and jnp.all(gradient[1:] != 0)
        both = (discriminator(real, fake) + 2 * discriminator(real, fake)) / 3
        np.testing.assert_allclose(loss(fake, fake), both, rtol=1e-12)


def test_two_class_logits_are_the_softmax_probability_of_real():
    logits = np.array([[0.3, 1.2], [-2.0, 0.5]])  # fake, real
    softmax = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    probability = jax.nn.sigmoid(adversarial.two_class_logits(jnp.array(logits)))
    np.testing.assert_allclose(probability, softmax[:, 1], rtol=1e-6)


def test_accuracy_counts_sides_and_is_half_for_a_discriminator_without_opinion():
    np.testing.assert_allclose(adversarial.accuracy(jnp.array(REAL), jnp.array(FAKE)), (4 / 6 + 3 / 6) / 2, rtol=1e-6)
    assert adversarial.accuracy(jnp.zeros(3), jnp.zeros(3)) == 0.5
