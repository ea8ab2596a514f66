"""`dcgan`: a convolutional GAN that is told what to draw.

    discriminator minimises    -log D(x, t) - ½ [log(1 - D(x_g, t)) + log(1 - D(x, t_wrong))] + λ₁ Σ|θ| + λ₂ Σθ² + ...
    generator, text minimise   -log D(x_g, t) + ...              x_g = G(z, t)
    reported                   L = L_D + λ_G L_G                 of L_D: x and x_g, without wrong captions and penalties

The other terms, off by default, stand in `_game.py`. Without wrong captions (losses.matching = False) L_D is binary
cross-entropy. Both turns of a step play with the same pictures, drawn once. The generator's batch normalization sees
the whole global batch, wherever it lies; its running statistics move in the generator's turn only, and samples are
drawn with them.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array
from ml_collections import ConfigDict

from t2i_jax import config as configs
from t2i_jax import keys
from t2i_jax.models.discriminators import ConvDiscriminator, DenseDiscriminator
from t2i_jax.models.generators import ConvGenerator, DenseGenerator
from t2i_jax.objectives.precision import at_least_float32
from t2i_jax.paths import below
from t2i_jax.systems import Phase, Stage, System, Turn, _game, _reading, optimizers_of, precision


@dataclasses.dataclass(frozen=True, kw_only=True)
class Losses(_game.GameLosses):
    """The config section `losses`."""

    generator: float = 1.0  # λ_G, of the reported total


@dataclasses.dataclass(frozen=True)
class Lengths:
    """The config section `stages`, in images."""

    gan: int


@dataclasses.dataclass(frozen=True)
class Turns:
    """The config section `turns`: each player's turn comes on every n-th step."""

    discriminator: int = 1
    generator: int = 1


def build(config: ConfigDict, tokenizer) -> System:
    """The system of a config with data, noise (its dimensions) and sections text, generator, discriminator, losses, turns,
    stages, optimizers, ema. Raises UserError where a section does not fit.
    """
    data, noise, dtype = config.data, config.noise, {"dtype": precision(config)}
    shape = (data.resolution, data.resolution, data.channels)
    losses, lengths = configs.section(config, "losses", Losses), configs.section(config, "stages", Lengths)
    turns = configs.section(config, "turns", Turns)
    for player, every in dataclasses.asdict(turns).items():
        configs.require(every > 0, f"turns.{player}", every, "1 or more steps")
    text = _reading.build(config, tokenizer, **dtype)
    generator = configs.choice(config, "generator", {"dense": DenseGenerator, "conv": ConvGenerator}, image_shape=shape,
                               **dtype)
    discriminator = configs.choice(config, "discriminator", {"dense": DenseDiscriminator, "conv": ConvDiscriminator},
                                   **dtype)
    _game.check(config, generator)
    game = _game.build(losses, lambda params, images, sentence: discriminator.apply(
        {"params": params["discriminator"]}, images, sentence))

    def init(key: Array) -> tuple[dict, dict]:
        sentence = text.nothing().sentence
        made = generator.init(keys.named(key, "generator"), jnp.zeros((1, noise)), sentence)
        judged = discriminator.init(keys.named(key, "discriminator"), jnp.zeros((1, *shape)), sentence)
        params = {
            "text": text.init(key),
            "generator": made["params"],
            "discriminator": judged["params"],
        }
        return params, {"generator": made.get("batch_stats", {})}

    def read(params: dict, batch: dict) -> Array:
        return text.read(params, batch).sentence

    def imagine(turn: Turn, sentence: Array) -> tuple[Array, dict]:
        """Images, and the running statistics after them."""
        variables = {"params": turn.params["generator"], "batch_stats": turn.aux["generator"]}
        z = keys.normal(keys.named(turn.keys, "noise"), (noise,))
        images, moved = generator.apply(variables, z, sentence, train=True, mutable=["batch_stats"])
        return at_least_float32(images), moved.get("batch_stats", {})

    def makes(turn: Turn) -> tuple[Array, Array, dict]:
        sentence = read(turn.params, turn.batch)
        images, statistics = imagine(turn, sentence)
        return images, sentence, jax.lax.stop_gradient(statistics)

    def discriminator_loss(turn: Turn):
        made, sentence, _ = turn.made.arrays
        loss, terms = game.discriminator(turn, made, sentence)
        return loss, ({}, terms)

    def generator_loss(turn: Turn):
        made, sentence, statistics = turn.made.arrays
        loss, terms = game.generator(turn, made, sentence)
        terms["total"] = terms["discriminator"] + losses.generator * terms["gan"]
        return loss, ({"generator": statistics}, terms)

    def generate(params: dict, aux: dict, batch: dict, example_keys: Array, truncation: Array | float = 1.0) -> Array:
        variables = {"params": params["generator"], "batch_stats": aux["generator"]}
        z = truncation * keys.normal(keys.named(example_keys, "noise"), (noise,))
        return at_least_float32(generator.apply(variables, z, read(params, batch)))

    phases = (
        Phase("discriminator", below("discriminator"), discriminator_loss, "discriminator", every=turns.discriminator,
              whole_batch=True),
        Phase("generator", below("generator", *text.trained), generator_loss, "generator", ("generator",), every=turns.generator,
              whole_batch=True, pulls=True),
    )
    stages = (Stage("gan", lengths.gan, phases, makes=makes),)
    return System(
        init=init,
        stages=stages,
        optimizers=optimizers_of(config, stages),
        ema={"generator": config.ema.generator, "text": config.ema.generator},
        encode=lambda captions: tokenizer.arrays(captions, data.text_length),
        generate=generate,
        options={"truncation": 1.0},
        image_shape=shape,
        blends=True,
    )
