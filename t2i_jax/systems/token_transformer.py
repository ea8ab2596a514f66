"""`token_transformer`: a transformer encoder and decoder that draws an image token by token, against a CNN discriminator.

    stage 1, tokenizer        images <-> tokens x_1 .. x_N of a codebook, fixed from then on             (_image_tokens.py)
    stage 2, correspondence   embedder, text, projection learn which caption belongs to which image  (_correspondence.py)
    stage 3, likelihood       generator minimises  L_nll = -1/N Σ_i log p(x_i | x_<i, t)
    stage 4, gan              discriminator minimises L_D(x, x_g)
                              generator minimises     L_G(x_g, x) + w L_content(e(x_g), P t) + w_nll L_nll
    picture = tokens drawn one after another at a temperature, among the top k or the top p, and decoded

L_D, L_G: `losses.adversarial` (_game.py); by default L_G = -log D(x_g, t) and L_D binary cross-entropy, "relativistic" compares
each pair of a real and a generated image. L_content: `losses.content_kind`, mean square error or InfoNCE of unit vectors.

Images x_g of the game are drawn in one parallel pass: token i from p(x_i | x_<i, t) after the *real* tokens x_<i, straight
through (Jang et al. 2017), so that the discriminator's gradient reaches the transformer at the price of a likelihood step. The
real images beside them went through the tokenizer too: else the discriminator would tell tokens from pixels.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array
from ml_collections import ConfigDict

from t2i_jax import config as configs
from t2i_jax import keys
from t2i_jax.models import token_transformers
from t2i_jax.models.discriminators import ConvDiscriminator
from t2i_jax.models.token_sampling import straight_through_sample
from t2i_jax.objectives import diagnostics
from t2i_jax.objectives.precision import at_least_float32
from t2i_jax.objectives.tokens import token_nll
from t2i_jax.paths import below
from t2i_jax.systems import (
    Phase, Stage, System, Turn, _correspondence, _game, _image_tokens, _reading, optimizers_of, precision,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Losses(_game.GameLosses, _correspondence.ContentLosses):
    """The config section `losses`."""

    likelihood: float = 1.0  # w_nll, in the game
    relaxation: float = 1.0  # temperature of the straight-through gradient


@dataclasses.dataclass(frozen=True)
class Lengths:
    """The config section `stages`, in images."""

    tokenizer: int
    correspondence: int
    likelihood: int
    gan: int


def build(config: ConfigDict, tokenizer) -> System:
    """The system of a config with sections data, text, tokenizer, codebook, embedder, generator, discriminator, losses,
    stages, optimizers, ema. Raises UserError where a section does not fit.
    """
    data, dtype = config.data, {"dtype": precision(config)}
    shape = (data.resolution, data.resolution, data.channels)
    losses, lengths = configs.section(config, "losses", Losses), configs.section(config, "stages", Lengths)
    configs.require(losses.relaxation > 0, "losses.relaxation", losses.relaxation, "more than 0")
    text = _reading.build(config, **dtype)
    images = _image_tokens.build(config, **dtype)
    codes = images.codebook.size
    generator = configs.section(config, "generator", token_transformers.TokenTransformer, vocabulary=codes,
                                length=images.count, **dtype)
    configs.require(generator.width % generator.heads == 0, "generator.heads", generator.heads,
                    f"a divisor of generator.width = {generator.width}")
    discriminator = configs.section(config, "discriminator", ConvDiscriminator, **dtype)
    pairs = _correspondence.build(config, shape, text, losses, **dtype)
    game = _game.build(losses, lambda params, x, sentence: discriminator.apply({"params": params["discriminator"]}, x, sentence))

    def init(key: Array) -> tuple[dict, dict]:
        chosen, (words, mask, sentence) = jnp.zeros((1, images.count), jnp.int32), text.nothing()
        first, aux = images.init(key)
        return first | pairs.init(key) | {
            "text": text.init(key),
            "generator": generator.init(keys.named(key, "generator"), chosen, words, mask, sentence)["params"],
            "discriminator": discriminator.init(keys.named(key, "discriminator"), jnp.zeros((1, *shape)), sentence)["params"],
        }, aux

    def gumbel(example_keys: Array) -> Array:
        draw = lambda key: jax.random.gumbel(key, (images.count, codes))
        return jax.vmap(draw)(keys.named(example_keys, "tokens"))

    def predict(turn: Turn) -> tuple[Array, Array, Array]:
        """(real tokens [B, N], logits of each [B, N, V] after those before it, sentence [B, D])."""
        words, mask, sentence = text.read(turn.params, turn.batch)
        real = images.tokens(turn.params, turn.aux, turn.batch["image"])
        logits = generator.apply({"params": turn.params["generator"]}, real, words, mask, sentence)
        return real, at_least_float32(logits), sentence

    def draw(turn: Turn, logits: Array) -> Array:
        return straight_through_sample(logits, gumbel(turn.keys), losses.relaxation)

    def restored(turn: Turn, real: Array) -> Turn:
        return turn._replace(batch=turn.batch | {"image": images.draw(turn.params, turn.aux, real)})

    def nll(logits: Array, real: Array) -> Array:
        return jnp.mean(token_nll(logits, real)) / images.count

    def likelihood_loss(turn: Turn):
        real, logits, _ = predict(turn)
        return nll(logits, real), ({}, {})

    def discriminator_loss(turn: Turn):
        real, logits, sentence = predict(turn)
        made = images.decode(turn.params, turn.aux, draw(turn, logits))
        loss, terms = game.discriminator(restored(turn, real), made, sentence)
        return loss, ({}, terms)

    def generator_loss(turn: Turn):
        real, logits, sentence = predict(turn)
        drawn = draw(turn, logits)
        made = images.decode(turn.params, turn.aux, drawn)
        loss, terms = game.generator(restored(turn, real), made, sentence)
        terms |= {"content": pairs.content(turn, made, sentence), "nll": nll(logits, real)}
        loss += losses.content * terms["content"] + losses.likelihood * terms["nll"]
        return loss, ({}, terms | diagnostics.codebook_usage(jnp.argmax(drawn, axis=-1), codes))

    def generate(params: dict, aux: dict, batch: dict, example_keys: Array, temperature: Array | float = 1.0,
                 top_k: int = 0, top_p: Array | float = 1.0) -> Array:
        words, mask, sentence = text.read(params, batch)
        chosen = token_transformers.draw(generator, params["generator"], words, mask, sentence,
                                         gumbel(example_keys), temperature, top_k, top_p)
        return images.draw(params, aux, chosen)

    phase = lambda name, loss, player: Phase(name, below(player), loss, name, whole_batch=True)
    stages = images.before(
        lengths.tokenizer,
        Stage("correspondence", lengths.correspondence, (pairs.correspondence,)),
        Stage("likelihood", lengths.likelihood, (phase("likelihood", likelihood_loss, "generator"),)),
        Stage("gan", lengths.gan, (phase("discriminator", discriminator_loss, "discriminator"),
                                   phase("generator", generator_loss, "generator"))),
    )
    return System(
        init=init,
        stages=stages,
        optimizers=optimizers_of(config, stages),
        ema={"generator": config.ema.generator},
        encode=lambda captions: tokenizer.arrays(captions, data.text_length),
        generate=generate,
        options={"temperature": 1.0, "top_k": 0, "top_p": 1.0},
        image_shape=shape,
        codec=images.codec(),
    )
