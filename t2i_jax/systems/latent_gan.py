"""`latent_gan`: an autoencoder trained adversarially, then a text-conditioned GAN in its latent space.

    stage 1, autoencoder   leaves latents z of pictures x, and a picture of any z: see `_latents.py`; n chose x among its caption's
    stage 2, imitation     generator, text minimise  L_rec = |s (z - G(n, t))|² / E|s z|²
    stage 3, gan           discriminator minimises L_D(z, G(n, t)) + w_match L_D(z, z beside a wrong caption)
                                                   + w_nce InfoNCE(z, t) + γ/2 (R1 + R2)
                           generator, text minimise L_G(G(n, t), z) + w_nce InfoNCE(G(n, t), t) + w_rec L_rec
    picture = the one of latent G(n, t), in one forward pass; s: the latents' scale

L_D, L_G: `losses.adversarial`, relativistic pairing by default (R3GAN, Huang et al. 2024). The noise n of an example stands for
its picture (data/coupling.py): imitation teaches what a caption says and how noise decides what it leaves open, cheaply; the
game then sharpens what squared errors blur. The text encoder learns in the generator's turn; the discriminator reads it as is.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array
from ml_collections import ConfigDict

from t2i_jax import config as configs
from t2i_jax import keys
from t2i_jax.models.discriminators import LatentDiscriminator
from t2i_jax.models.generators import LatentGenerator
from t2i_jax.objectives import adversarial, alignment, diagnostics, penalty
from t2i_jax.objectives.precision import at_least_float32
from t2i_jax.paths import below
from t2i_jax.systems import Phase, Stage, System, Turn, _latents, _reading, optimizers_of, precision


@dataclasses.dataclass(frozen=True, kw_only=True)
class Losses(_latents.AutoencoderLosses):
    """The config section `losses`."""

    adversarial: str = "relativistic"  # minimax, non_saturating, hinge, wasserstein or relativistic
    gamma: float = 2.0  # of R1 + R2 in the latent space, at the start of the stage
    gamma_final: float = 0.3  # reached after 70 % of the stage, geometrically
    penalty_share: float = 0.25  # of the batch that R1 + R2 are computed on
    matching: float = 0.0  # real latents beside wrong captions, as fakes
    contrastive: float = 1.0  # InfoNCE, of both players
    temperature: float = 0.1
    imitation: float = 10.0  # of the latent that the noise stands for, squared error as a share of the latents' variance


@dataclasses.dataclass(frozen=True)
class Lengths:
    """The config section `stages`, in images."""

    autoencoder: int
    imitation: int
    gan: int


def build(config: ConfigDict, tokenizer) -> System:
    """The system of a config with sections data, text, autoencoder, generator, discriminator, patches, latents, losses,
    stages, optimizers, ema. Raises UserError where a section does not fit.
    """
    data = config.data
    shape = (data.resolution, data.resolution, data.channels)
    configs.require(data.resolution % 8 == 0 and data.resolution >= 8, "data.resolution", data.resolution,
                    "a multiple of 8")
    configs.require(data.noise > 0, "data.noise", data.noise, "1 or more dimensions")
    dtype = {"dtype": precision(config)}
    losses = configs.section(config, "losses", Losses)
    for name in ("gamma", "gamma_final"):
        configs.require(getattr(losses, name) > 0, f"losses.{name}", getattr(losses, name), "more than 0")
    lengths = configs.section(config, "stages", Lengths)
    text = _reading.build(config, **dtype)
    latents = _latents.build(config, shape, losses, **dtype)
    generator = configs.section(config, "generator", LatentGenerator, latent=latents.size, **dtype)
    discriminator = configs.section(config, "discriminator", LatentDiscriminator, **dtype)
    game = adversarial.by_name(losses.adversarial)

    def init(key: Array) -> tuple[dict, dict]:
        latent, noise, sentence = jnp.zeros((1, latents.size)), jnp.zeros((1, data.noise)), text.nothing().sentence
        inputs = {
            "generator": (generator, (noise, sentence)),
            "discriminator": (discriminator, (latent, sentence)),
        }
        params = {name: net.init(keys.named(key, name), *x)["params"] for name, (net, x) in inputs.items()}
        players, aux = latents.init(key)
        return params | players | {"text": text.init(key)}, aux

    def read(params: dict, batch: dict) -> Array:
        return text.read(params, batch).sentence

    def imagine(params: dict, noise: Array, caption: Array) -> Array:
        return at_least_float32(generator.apply({"params": params["generator"]}, noise, caption))

    def fresh_noise(example_keys: Array) -> Array:
        return keys.normal(keys.named(example_keys, "noise"), (data.noise,))

    def imitation(turn: Turn, real: Array, made: Array) -> Array:
        squares = ((real - made) * turn.aux["latent"]["scale"][None]) ** 2
        return jnp.mean(jnp.sum(squares, axis=-1)) / turn.aux["latent"]["energy"]

    def imitation_loss(turn: Turn):
        made = imagine(turn.params, turn.batch["noise"], read(turn.params, turn.batch))
        loss = imitation(turn, latents.of(turn), made)
        return loss, ({}, {})

    def judge(params: dict, z: Array, caption: Array) -> tuple[Array, Array, Array]:
        return discriminator.apply({"params": params["discriminator"]}, z, caption)

    def gamma(images: Array) -> Array:
        progress = jnp.clip((images - lengths.autoencoder - lengths.imitation) / (0.7 * lengths.gan), 0, 1)
        return losses.gamma * (losses.gamma_final / losses.gamma) ** progress

    def discriminator_loss(turn: Turn):
        real = latents.of(turn)
        caption = read(turn.params, turn.batch)
        fake = imagine(turn.params, turn.batch["noise"], caption)
        right = alignment.right_pairs(turn.batch["caption"], turn.batch["captions"])
        real_logits, embedding, text_embedding = judge(turn.params, real, caption)
        fake_logits = judge(turn.params, fake, caption)[0]
        gan = game.discriminator(real_logits, fake_logits)
        contrastive = alignment.info_nce(embedding, text_embedding, losses.temperature, right)
        # A part of the batch estimates the penalty well enough, at every step.
        part = max(1, int(len(real) * losses.penalty_share))
        critic = lambda z: judge(turn.params, z, caption[:part])[0]
        r1, r2 = (penalty.gradient_penalty(critic, z[:part]) for z in (real, fake))
        loss = gan + losses.contrastive * contrastive + gamma(turn.images) / 2 * (r1 + r2)
        terms = {"gan": gan, "contrastive": contrastive, "r1": r1, "r2": r2,
                 "gap": jnp.mean(at_least_float32(real_logits)) - jnp.mean(at_least_float32(fake_logits))}
        terms |= diagnostics.game(real_logits, fake_logits)
        if losses.matching:
            other, valid = alignment.wrong_captions(right)
            wrong_logits = judge(turn.params, real, caption[other])[0]
            # Where no caption of the batch is wrong, the generated latent stands in.
            terms["matching"] = game.discriminator(real_logits, jnp.where(valid, wrong_logits, fake_logits))
            loss += losses.matching * terms["matching"]
        return loss, ({}, terms)

    def generator_loss(turn: Turn):
        real = latents.of(turn)
        caption = read(turn.params, turn.batch)
        known = jax.lax.stop_gradient(caption)  # what players other than the generator see of it
        fake = imagine(turn.params, turn.batch["noise"], caption)
        fake_logits, embedding, text_embedding = judge(turn.params, fake, known)
        gan = game.generator(fake_logits, judge(turn.params, real, known)[0])
        right = alignment.compatible_pairs(alignment.right_pairs(turn.batch["caption"], turn.batch["captions"]))
        contrastive = alignment.info_nce(embedding, text_embedding, losses.temperature, right)
        copied = imitation(turn, real, fake)
        loss = gan + losses.contrastive * contrastive + losses.imitation * copied
        few = slice(None, None, 8)  # captions enough to see whether noise changes what is drawn
        again = imagine(turn.params, fresh_noise(turn.keys[few]), caption[few])
        terms = {"gan": gan, "contrastive": contrastive, "imitation": copied}
        return loss, ({}, terms | diagnostics.draws(real, fake, again, few))

    def generate(params: dict, aux: dict, batch: dict, example_keys: Array, truncation: Array | float = 1.0) -> Array:
        z = imagine(params, truncation * fresh_noise(example_keys), read(params, batch))
        return latents.draw(params, aux, z)

    phase = lambda name, players, loss: Phase(name, below(*players), loss, name, whole_batch=True)
    second = phase("imitation", ["generator", "text"], imitation_loss)
    third = (
        phase("discriminator", ["discriminator"], discriminator_loss),
        phase("generator", ["generator", "text"], generator_loss),
    )
    stages = (
        Stage("autoencoder", lengths.autoencoder, latents.phases, latents.start),
        Stage("imitation", lengths.imitation, (second,), latents.freeze),
        Stage("gan", lengths.gan, third),
    )
    return System(
        init=init,
        stages=stages,
        optimizers=optimizers_of(config, stages),
        ema={"autoencoder": config.ema.autoencoder, "text": config.ema.generator,
             "generator": config.ema.generator},
        encode=lambda captions: tokenizer.arrays(captions, data.text_length),
        generate=generate,
        options={"truncation": 1.0},
        image_shape=shape,
        codec=latents.codec,
    )
