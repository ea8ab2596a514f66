"""`gan_vae`: an adversarial generator joined with a variational autoencoder.

    discriminator minimises    L_D = -log D(x, t) - log(1 - D(x_g, t)) + ...        x_g = G(z, t), z ~ N(0, I)
    all others minimise        L_G + β_vae [L_VAE(x) + L_E(x_g) + α KL(q(z|x_g) ‖ N(0, I))]

    L_G   = -log D(x_g, t) + ...
    L_VAE = L_E(x) + β_dec E_q(z|x)[-log p(x|z, t)] + α KL(q(z|x) ‖ N(0, I))        L_E(x) = -log p(x|z = μ(x), t)
    reported   L = L_G + λ L_D + β_vae L_VAE(x)

The other terms of the game, off by default, stand in `_game.py`. Generator and decoder are one network (VAE-GAN, Larsen et
al. 2016), or with shared = False two of a kind, where p(x|z) knows no caption. VAE terms move encoder, decoder, text and,
through x_g or as its own weights, the generator; never the discriminator, which learns in its own turn alone.
"""

import dataclasses

import jax.numpy as jnp
from jax import Array
from ml_collections import ConfigDict

from t2i_jax import config as configs
from t2i_jax import keys
from t2i_jax.models.discriminators import ConvDiscriminator, DenseDiscriminator
from t2i_jax.models.encoders import ConvEncoder, DenseEncoder
from t2i_jax.models.generators import ConvGenerator, DenseGenerator
from t2i_jax.objectives import diagnostics, variational
from t2i_jax.objectives.precision import at_least_float32
from t2i_jax.paths import below
from t2i_jax.systems import Phase, Stage, System, Turn, _game, _reading, optimizers_of, precision

LIKELIHOODS = {"gaussian": variational.gaussian_nll, "laplace": variational.laplace_nll}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Losses(_game.GameLosses):
    """The config section `losses`."""

    discriminator: float = 1.0  # λ, of the reported total
    vae: float = 1.0  # β_vae
    decoder: float = 1.0  # β_dec
    kl: float = 1.0  # α
    generated: float = 1.0  # of the VAE's terms on generated images, times β_vae
    likelihood: str = "gaussian"  # or laplace
    log_scale: float = 0.0  # log of its scale


@dataclasses.dataclass(frozen=True)
class Lengths:
    """The config section `stages`, in images."""

    gan: int


def build(config: ConfigDict, tokenizer) -> System:
    """The system of a config with data, noise (dimensions of z), shared and sections text, encoder, generator,
    discriminator, losses, stages, optimizers, ema. Raises UserError where a section does not fit.
    """
    data, noise, dtype = config.data, config.noise, {"dtype": precision(config)}
    shape = (data.resolution, data.resolution, data.channels)
    losses, lengths = configs.section(config, "losses", Losses), configs.section(config, "stages", Lengths)
    configs.require(losses.likelihood in LIKELIHOODS, "losses.likelihood", losses.likelihood, ", ".join(LIKELIHOODS))
    text = _reading.build(config, **dtype)
    encoder = configs.choice(config, "encoder", {"dense": DenseEncoder, "conv": ConvEncoder}, latent=noise, **dtype)
    generator = configs.choice(config, "generator", {"dense": DenseGenerator, "conv": ConvGenerator}, image_shape=shape,
                               batch_norm=False, **dtype)
    discriminator = configs.choice(config, "discriminator", {"dense": DenseDiscriminator, "conv": ConvDiscriminator},
                                   **dtype)
    _game.check(config, generator)
    game = _game.build(losses, lambda params, images, sentence: discriminator.apply(
        {"params": params["discriminator"]}, images, sentence))

    def init(key: Array) -> tuple[dict, dict]:
        image, z, sentence = jnp.zeros((1, *shape)), jnp.zeros((1, noise)), text.nothing().sentence
        inputs = {
            "encoder": (encoder, (image,)),
            "generator": (generator, (z, sentence)),
            "discriminator": (discriminator, (image, sentence)),
        }
        if not config.shared:
            inputs["decoder"] = (generator, (z, None))
        params = {name: net.init(keys.named(key, name), *x)["params"] for name, (net, x) in inputs.items()}
        return params | {"text": text.init(key)}, {}

    def read(params: dict, batch: dict) -> Array:
        return text.read(params, batch).sentence

    def imagine(params: dict, z: Array, sentence: Array) -> Array:
        return at_least_float32(generator.apply({"params": params["generator"]}, z, sentence))

    def decode(params: dict, z: Array, sentence: Array) -> Array:
        if config.shared:
            return imagine(params, z, sentence)
        return at_least_float32(generator.apply({"params": params["decoder"]}, z, None))

    def encode(params: dict, images: Array) -> tuple[Array, Array]:
        return encoder.apply({"params": params["encoder"]}, images)

    def fresh(example_keys: Array) -> Array:
        return keys.normal(keys.named(example_keys, "noise"), (noise,))

    def surprise(images: Array, decoded: Array) -> Array:
        return LIKELIHOODS[losses.likelihood](images, decoded, losses.log_scale)

    def discriminator_loss(turn: Turn):
        sentence = read(turn.params, turn.batch)
        loss, terms = game.discriminator(turn, imagine(turn.params, fresh(turn.keys), sentence), sentence)
        return loss, ({}, terms)

    def generator_loss(turn: Turn):
        params, images = turn.params, turn.batch["image"]
        sentence = read(params, turn.batch)
        made = imagine(params, fresh(turn.keys), sentence)
        loss, terms = game.generator(turn, made, sentence)
        mean, log_variance = encode(params, images)
        z = variational.sample(mean, log_variance, keys.named(turn.keys, "posterior"))
        at_mean, at_sample = (surprise(images, decode(params, code, sentence)) for code in (mean, z))
        kl = variational.kl_standard_normal(mean, log_variance)
        vae = variational.vae(at_mean, at_sample, kl, decoder_weight=losses.decoder, kl_weight=losses.kl)
        loss += losses.vae * vae
        terms |= {"vae": vae, "at_mean": at_mean.mean(), "at_sample": at_sample.mean(), "kl": kl.mean(),
                  "active": diagnostics.active_units(mean)}
        if losses.generated:
            code, spread = encode(params, made)
            terms["generated"] = variational.vae_on_generated(
                surprise(made, decode(params, code, sentence)), variational.kl_standard_normal(code, spread),
                vae_weight=losses.vae, kl_weight=losses.kl)
            loss += losses.generated * terms["generated"]
        terms["total"] = variational.joint(terms["gan"], terms["discriminator"], vae, vae_weight=losses.vae,
                                           discriminator_weight=losses.discriminator)
        return loss, ({}, terms)

    def generate(params: dict, aux: dict, batch: dict, example_keys: Array, truncation: Array | float = 1.0) -> Array:
        return imagine(params, truncation * fresh(example_keys), read(params, batch))

    others = ("generator", "text", "encoder") + (() if config.shared else ("decoder",))
    phases = (
        Phase("discriminator", below("discriminator"), discriminator_loss, "discriminator", whole_batch=True),
        Phase("generator", below(*others), generator_loss, "generator", whole_batch=True),
    )
    stages = (Stage("gan", lengths.gan, phases),)
    return System(
        init=init,
        stages=stages,
        optimizers=optimizers_of(config, stages),
        ema={"generator": config.ema.generator, "text": config.ema.generator},
        encode=lambda captions: tokenizer.arrays(captions, data.text_length),
        generate=generate,
        options={"truncation": 1.0},
        image_shape=shape,
    )
