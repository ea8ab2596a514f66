"""`lm_gan`: a pre-trained language model reads the caption, a GAN that looks its words up draws.

    stage 1, autoencoder   leaves latents z of pictures x, and a picture of any z (`_latents.py`); n chose x among its caption's
    stage 2, imitation     generator, text minimise  L_rec = |s (z - G(n, t))|² / E|s z|²
    stage 3, gan           discriminator minimises   ½ [L_D(z, z_g) + L_D(z, z beside a wrong caption)] + w_nce InfoNCE(z, t)
                                                     + γ/2 (R1 + R2)                                    z_g = G(n, t)
                           generator, text minimise  L_G(z_g, z) + w_nce InfoNCE(z_g, t) + w_rec L_rec
    stage 4, text          the same game; the generator's losses now move the language model's last layers and nothing else
    picture = the one of latent G(n, t), in one forward pass; s: the latents' scale

t: the words of a caption, which every block of G attends to, and its sentence; by `text.kind` features of a frozen language
model through a trained layer, the same with last layers that train too, or those of a small encoder of its own. The game
stands in `_game.py`, played with latents in the place of pictures. Stage 4: StyleGAN-T's last phase (Sauer et al. 2023). A
stage of 0 images is absent.
"""

import dataclasses

import jax.numpy as jnp
from jax import Array
from ml_collections import ConfigDict

from t2i_jax import config as configs
from t2i_jax import keys
from t2i_jax.models.discriminators import LatentDiscriminator
from t2i_jax.models.generators import AttendingGenerator
from t2i_jax.objectives import diagnostics
from t2i_jax.objectives.precision import at_least_float32
from t2i_jax.paths import below
from t2i_jax.systems import Phase, Stage, System, Turn, _game, _latents, _reading, optimizers_of, precision
from t2i_jax.systems._reading import Reading


@dataclasses.dataclass(frozen=True, kw_only=True)
class Losses(_latents.AutoencoderLosses):
    """The config section `losses`."""

    adversarial: str = "relativistic"  # minimax, non_saturating, hinge, wasserstein or relativistic
    matching: bool = True  # real latents beside wrong captions, as fakes
    contrastive: float = 1.0  # InfoNCE, of both players
    temperature: float = 0.1
    gamma: float = 1.0  # of R1 + R2
    imitation: float = 10.0  # of the latent that the noise stands for, squared error as a share of the latents' variance


@dataclasses.dataclass(frozen=True)
class Lengths:
    """The config section `stages`, in images; 0: there is no such stage."""

    autoencoder: int
    imitation: int
    gan: int
    text: int = 0


def build(config: ConfigDict, tokenizer) -> System:
    """The system of a config with sections data, text, autoencoder, generator, discriminator, patches, latents, losses,
    stages, optimizers, ema. Raises UserError where a section does not fit.
    """
    data, dtype = config.data, {"dtype": precision(config)}
    shape = (data.resolution, data.resolution, data.channels)
    configs.require(data.resolution % 8 == 0 and data.resolution >= 8, "data.resolution", data.resolution, "a multiple of 8")
    configs.require(data.noise > 0, "data.noise", data.noise, "1 or more dimensions")
    losses, lengths = configs.section(config, "losses", Losses), configs.section(config, "stages", Lengths)
    text = _reading.build(config, tokenizer, **dtype)
    configs.require(bool(text.tuned) or not lengths.text, "stages.text", lengths.text,
                    "0, for no layer of a language model is tuned: set text.kind = 'tuned' and text.tuned_layers")
    latents = _latents.build(config, shape, losses, **dtype)
    configs.require(len(latents.shape) == 1, "autoencoder.kind", config.autoencoder.kind,
                    "linear, refined: a latent that is one vector")
    generator = configs.choice(config, "generator", {"attending": AttendingGenerator}, latent=latents.shape[0], **dtype)
    configs.require(generator.attention % generator.heads == 0, "generator.heads", generator.heads,
                    f"a divisor of generator.attention = {generator.attention}")
    discriminator = configs.choice(config, "discriminator", {"mlp": LatentDiscriminator}, **dtype)
    game = _game.build(
        _game.GameLosses(adversarial=losses.adversarial, matching=losses.matching, contrastive=losses.contrastive,
                         temperature=losses.temperature, gamma=losses.gamma, gamma_fake=losses.gamma),
        lambda params, z, sentence: discriminator.apply({"params": params["discriminator"]}, z, sentence),
    )

    def init(key: Array) -> tuple[dict, dict]:
        said = text.nothing()
        made = generator.init(keys.named(key, "generator"), jnp.zeros((1, data.noise)), *said)
        judged = discriminator.init(keys.named(key, "discriminator"), jnp.zeros((1, *latents.shape)), said.sentence)
        players, aux = latents.init(key)
        return players | {"text": text.init(key), "generator": made["params"], "discriminator": judged["params"]}, aux

    def imagine(params: dict, noise: Array, said: Reading) -> Array:
        return at_least_float32(generator.apply({"params": params["generator"]}, noise, *said))

    def fresh_noise(example_keys: Array) -> Array:
        return keys.normal(keys.named(example_keys, "noise"), (data.noise,))

    def in_latents(turn: Turn) -> Turn:
        """The turn as the game sees it: latents in the place of pictures."""
        return turn._replace(batch=turn.batch | {"image": latents.of(turn)})

    def imitation_loss(turn: Turn):
        made = imagine(turn.params, turn.batch["noise"], text.read(turn.params, turn.batch))
        return latents.miss(turn, latents.of(turn), made), ({}, {})

    def discriminator_loss(turn: Turn):
        said = text.read(turn.params, turn.batch)
        loss, terms = game.discriminator(in_latents(turn), imagine(turn.params, turn.batch["noise"], said), said.sentence)
        return loss, ({}, terms)

    def generator_loss(turn: Turn):
        said, seen = text.read(turn.params, turn.batch), in_latents(turn)
        real, made = seen.batch["image"], imagine(turn.params, turn.batch["noise"], said)
        loss, terms = game.generator(seen, made, said.sentence)
        terms["imitation"] = latents.miss(turn, real, made)
        few = slice(None, None, 8)  # captions enough to see whether noise changes what is drawn
        again = imagine(turn.params, fresh_noise(turn.keys[few]), Reading(*(part[few] for part in said)))
        return loss + losses.imitation * terms["imitation"], ({}, terms | diagnostics.draws(real, made, again, few))

    def generate(params: dict, aux: dict, batch: dict, example_keys: Array, truncation: Array | float = 1.0) -> Array:
        z = imagine(params, truncation * fresh_noise(example_keys), text.read(params, batch))
        return latents.draw(params, aux, z)

    phase = lambda name, trained, loss: Phase(name, below(*trained), loss, name, whole_batch=True)
    # The language model waits for the last stage, where there is one.
    drawing = ("generator", *(text.own if lengths.text else text.trained))
    judging = phase("discriminator", ["discriminator"], discriminator_loss)
    stages = latents.before(
        lengths.autoencoder,
        Stage("imitation", lengths.imitation, (phase("imitation", drawing, imitation_loss),)),
        Stage("gan", lengths.gan, (judging, phase("generator", drawing, generator_loss))),
        Stage("text", lengths.text, (judging, phase("text", text.tuned, generator_loss))),
    )
    return System(
        init=init,
        stages=stages,
        optimizers=optimizers_of(config, stages),
        ema={"autoencoder": config.ema.autoencoder, "text": config.ema.generator, "generator": config.ema.generator},
        encode=lambda captions: tokenizer.arrays(captions, data.text_length),
        generate=generate,
        options={"truncation": 1.0},
        image_shape=shape,
        blends=True,
        codec=latents.codec,
    )
