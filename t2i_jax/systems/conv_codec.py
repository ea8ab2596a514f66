"""`conv_codec`: a convolutional encoder-decoder from a text embedding learnt before the game to pictures.

    stage 1, features         stage 2, correspondence         unlabelled pictures, then captions: see `_correspondence.py`
    stage 3, gan              the text embedding t and the embeddings e(x), P t stay as they are
        discriminator minimises   -log D(x, t) - log(1 - D(x_g, t)) + ...           D = softmax(l)_real = σ(l_real - l_fake)
        generator minimises       -log D(x_g, t) + w L_content + ...                x_g = G(z, t)

    L_content = 1/N Σ_i ‖P t_i - e(x_g,i)‖²  (unit vectors), or InfoNCE(e(x_g), P t)

The other terms of the game, off by default, stand in `_game.py`.
"""

import dataclasses

import jax.numpy as jnp
from jax import Array
from ml_collections import ConfigDict

from t2i_jax import config as configs
from t2i_jax import keys
from t2i_jax.models.discriminators import ConvDiscriminator
from t2i_jax.models.generators import TextCodec
from t2i_jax.objectives import adversarial
from t2i_jax.objectives.precision import at_least_float32
from t2i_jax.paths import below
from t2i_jax.systems import Phase, Stage, System, Turn, _correspondence, _game, _reading, optimizers_of, precision


@dataclasses.dataclass(frozen=True, kw_only=True)
class Losses(_game.GameLosses, _correspondence.ContentLosses):
    """The config section `losses`."""


@dataclasses.dataclass(frozen=True)
class Lengths:
    """The config section `stages`, in images."""

    features: int
    correspondence: int
    gan: int


def build(config: ConfigDict, tokenizer) -> System:
    """The system of a config with data, noise (its dimensions) and sections text, embedder, generator, discriminator,
    losses, stages, optimizers, ema. Raises UserError where a section does not fit.
    """
    data, noise, dtype = config.data, config.noise, {"dtype": precision(config)}
    shape = (data.resolution, data.resolution, data.channels)
    losses, lengths = configs.section(config, "losses", Losses), configs.section(config, "stages", Lengths)
    text = _reading.build(config, **dtype)
    generator = configs.section(config, "generator", TextCodec, image_shape=shape, **dtype)
    discriminator = configs.section(config, "discriminator", ConvDiscriminator, classes=2, **dtype)
    _game.check(config, generator)
    pooled = 2 ** len(generator.encoder)
    configs.require(generator.side > 0 and generator.side % pooled == 0, "generator.side", generator.side,
                    f"a multiple of {pooled}, which is what generator.encoder pools it by")
    known = _correspondence.build(config, shape, text, losses, **dtype)

    def judge(params: dict, images: Array, sentence: Array) -> tuple[Array, Array, Array]:
        classes, seen, said = discriminator.apply({"params": params["discriminator"]}, images, sentence)
        return adversarial.two_class_logits(classes), seen, said

    game = _game.build(losses, judge)

    def init(key: Array) -> tuple[dict, dict]:
        sentence = text.nothing().sentence
        inputs = {
            "generator": (generator, (jnp.zeros((1, noise)), sentence)),
            "discriminator": (discriminator, (jnp.zeros((1, *shape)), sentence)),
        }
        params = {name: net.init(keys.named(key, name), *x)["params"] for name, (net, x) in inputs.items()}
        return params | known.init(key) | {"text": text.init(key)}, {}

    def read(params: dict, batch: dict) -> Array:
        return text.read(params, batch).sentence

    def imagine(params: dict, z: Array, sentence: Array) -> Array:
        return at_least_float32(generator.apply({"params": params["generator"]}, z, sentence))

    def fresh(example_keys: Array) -> Array:
        return keys.normal(keys.named(example_keys, "noise"), (noise,))

    def discriminator_loss(turn: Turn):
        sentence = read(turn.params, turn.batch)
        loss, terms = game.discriminator(turn, imagine(turn.params, fresh(turn.keys), sentence), sentence)
        return loss, ({}, terms)

    def generator_loss(turn: Turn):
        sentence = read(turn.params, turn.batch)
        made = imagine(turn.params, fresh(turn.keys), sentence)
        loss, terms = game.generator(turn, made, sentence)
        terms["content"] = known.content(turn, made, sentence)
        return loss + losses.content * terms["content"], ({}, terms)

    def generate(params: dict, aux: dict, batch: dict, example_keys: Array, truncation: Array | float = 1.0) -> Array:
        return imagine(params, truncation * fresh(example_keys), read(params, batch))

    phases = (
        Phase("discriminator", below("discriminator"), discriminator_loss, "discriminator", whole_batch=True),
        Phase("generator", below("generator"), generator_loss, "generator", whole_batch=True),
    )
    stages = (
        Stage("features", lengths.features, (known.features,)),
        Stage("correspondence", lengths.correspondence, (known.correspondence,)),
        Stage("gan", lengths.gan, phases),
    )
    return System(
        init=init,
        stages=stages,
        optimizers=optimizers_of(config, stages),
        ema={"generator": config.ema.generator},
        encode=lambda captions: tokenizer.arrays(captions, data.text_length),
        generate=generate,
        options={"truncation": 1.0},
        image_shape=shape,
    )
