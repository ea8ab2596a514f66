"""25 Gaussians on a grid, the smallest data a GAN can lose modes of.

Relativistic pairing with R1 and R2 (R3GAN, Huang et al. 2024) must cover all of them; what the non-saturating loss
alone does with the same networks, optimizer and draws is reported beside it, as properties of the test and on stdout.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from t2i_jax import optimizer
from t2i_jax.objectives.adversarial import NON_SATURATING, RELATIVISTIC, Adversarial
from t2i_jax.objectives.penalty import gradient_penalty

CENTRES = jnp.stack(jnp.meshgrid(jnp.arange(-4.0, 5, 2), jnp.arange(-4.0, 5, 2)), axis=-1).reshape(25, 2)
DEVIATION = 0.1
STEPS, BATCH, SAMPLES = 8000, 256, 10_000
GAMMA, FINAL = 0.4, 0.01  # γ and the learning rate end at a hundredth of where they start
ADAM = dict(
    name="adam", learning_rate=6e-3, b1=0.0, b2=0.9, eps=1e-8, weight_decay=0.0, clip=0.0,
    warmup_images=0, decay="cosine", decay_start=0, decay_end=STEPS * BATCH, final=FINAL,
)  # fmt: skip


class Coverage(NamedTuple):
    modes: int  # centres with at least a tenth of their fair share of samples within 3 deviations
    high_quality: float  # share of samples within 3 deviations of a centre


def perceptron(key, inputs, outputs, width=64):
    sizes = (inputs, width, width, width, outputs)
    keys = jax.random.split(key, len(sizes) - 1)
    kernel = lambda key, fan_in, out: jax.random.normal(key, (fan_in, out)) * jnp.sqrt(2 / fan_in)
    return [(kernel(*fans), jnp.zeros((1, fans[-1]))) for fans in zip(keys, sizes, sizes[1:])]


def apply(layers, x):
    for kernel, bias in layers[:-1]:
        x = jax.nn.leaky_relu(x @ kernel + bias, 0.2)
    kernel, bias = layers[-1]
    return x @ kernel + bias


def real(key, count):
    which, where = jax.random.split(key)
    return CENTRES[jax.random.randint(which, (count,), 0, 25)] + DEVIATION * jax.random.normal(where, (count, 2))


def train(game: Adversarial, gamma: float, seed: int):
    """The generator after alternating turns."""
    key = jax.random.key(seed)
    adam = optimizer.build(ADAM)
    generator, discriminator = (perceptron(jax.random.fold_in(key, i), 2, outputs) for i, outputs in enumerate((2, 1)))

    def step(carry, index):
        (generator, generator_state), (discriminator, discriminator_state) = carry
        images = jnp.float32(index * BATCH)
        strength = gamma * (FINAL + (1 - FINAL) * optimizer.cosine(images, 0, STEPS * BATCH)) / 2
        keys = jax.random.split(jax.random.fold_in(key, 2 + index), 4)

        x, x_g = real(keys[0], BATCH), apply(generator, jax.random.normal(keys[1], (BATCH, 2)))

        def discriminator_loss(layers):
            critic = lambda u: apply(layers, u)[:, 0]
            penalty = gradient_penalty(critic, x) + gradient_penalty(critic, x_g) if gamma else 0.0
            return game.discriminator(critic(x), critic(x_g)) + strength * penalty

        gradient = jax.grad(discriminator_loss)(discriminator)
        updates, discriminator_state = adam.update(gradient, discriminator_state, discriminator, images=images)
        discriminator = optax.apply_updates(discriminator, updates)

        x, z = real(keys[2], BATCH), jax.random.normal(keys[3], (BATCH, 2))
        critic = lambda u: apply(discriminator, u)[:, 0]
        gradient = jax.grad(lambda layers: game.generator(critic(apply(layers, z)), critic(x)))(generator)
        updates, generator_state = adam.update(gradient, generator_state, generator, images=images)
        generator = optax.apply_updates(generator, updates)
        return ((generator, generator_state), (discriminator, discriminator_state)), None

    start = (generator, adam.init(generator)), (discriminator, adam.init(discriminator))
    ((generator, _), _), _ = jax.jit(lambda start: jax.lax.scan(step, start, jnp.arange(STEPS)))(start)
    return generator


def coverage(generator) -> Coverage:
    x = apply(generator, jax.random.normal(jax.random.key(99), (SAMPLES, 2)))
    distance = jnp.linalg.norm(x[:, None, :] - CENTRES[None, :, :], axis=-1)
    near = distance < 3 * DEVIATION
    return Coverage(int((near.sum(0) >= SAMPLES / 25 / 10).sum()), float(near.any(1).mean()))


def test_relativistic_pairing_with_r1_and_r2_covers_25_gaussians(record_property):
    regularised = coverage(train(RELATIVISTIC, GAMMA, seed=0))
    plain = coverage(train(NON_SATURATING, 0.0, seed=0))
    for name, figures in (("relativistic + R1 + R2", regularised), ("non-saturating alone", plain)):
        record_property(name, str(figures))
        print(f"25 Gaussians, {name}: {figures.modes} modes, {figures.high_quality:.1%} high quality")
    assert regularised.modes == 25
    assert regularised.high_quality > 0.5
