"""`latent_gan`: an autoencoder trained adversarially, then a text-conditioned GAN in its latent space.

    stage 1, autoencoder   E, D_ae minimise  |x - x̂|² + w₁ |x - x̂| + α KL(q(z|x) ‖ N(0, I)) + w_adv L_G(patches of x̂)
                           patches minimises L_D(x, x̂) + γ/2 R1                      (its gradient reaches the autoencoder late)
    then                   z = (E(x) - μ) / s on averaged autoencoder weights, which no longer move; n chose x among its caption's
    stage 2, imitation     generator, text minimise  L_rec = |s (z - G(n, t))|² / E|s z|²
    stage 3, gan           discriminator minimises L_D(z, G(n, t)) + w_match L_D(z, z beside a wrong caption)
                                                   + w_nce InfoNCE(z, t) + γ/2 (R1 + R2)
                           generator, text minimise L_G(G(n, t), z) + w_nce InfoNCE(G(n, t), t) + w_rec L_rec
    picture = D_ae(s G(n, t) + μ), one forward pass

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
from t2i_jax import keys, optimizer
from t2i_jax.models.autoencoders import Autoencoder, start_as_pca
from t2i_jax.models.discriminators import LatentDiscriminator, PatchDiscriminator
from t2i_jax.models.generators import LatentGenerator
from t2i_jax.models.text import TextEncoder
from t2i_jax.objectives import adversarial, alignment, diagnostics, penalty, variational
from t2i_jax.objectives.augment import cut_mix, mirror
from t2i_jax.objectives.precision import at_least_float32
from t2i_jax.objectives.reconstruction import smooth_absolute
from t2i_jax.paths import below
from t2i_jax.systems import Codec, Phase, Stage, System, Turn


@dataclasses.dataclass(frozen=True)
class Losses:
    """The config section `losses`."""

    adversarial: str = "relativistic"  # minimax, non_saturating, hinge, wasserstein or relativistic
    gamma: float = 2.0  # of R1 + R2 in the latent space, at the start of the stage
    gamma_final: float = 0.3  # reached after 70 % of the stage, geometrically
    penalty_share: float = 0.25  # of the batch that R1 + R2 are computed on
    matching: float = 0.0  # real latents beside wrong captions, as fakes
    contrastive: float = 1.0  # InfoNCE, of both players
    temperature: float = 0.1
    imitation: float = 10.0  # of the latent that the noise stands for, squared error as a share of the latents' variance
    l1: float = 0.1  # of reconstructions, beside the mean square
    kl: float = 3e-6  # summed over the latent
    patch: float = 0.0  # adversarial weight of reconstructions; 0 = no patch discriminator's turn
    patch_gamma: float = 1.0
    patch_start: int = 0  # images after which it reaches the autoencoder
    cut_mix: float = 0.5  # share of training pictures with a rectangle from another, autoencoder only
    mirror: bool = True  # half of the pictures, autoencoder only


@dataclasses.dataclass(frozen=True)
class Lengths:
    """The config section `stages`, in images."""

    autoencoder: int
    imitation: int
    gan: int


@dataclasses.dataclass(frozen=True)
class Latents:
    """The config section `latents`."""

    whitening: float = 0.5  # 0: one scale for all dimensions, 1: each to unit variance


def build(config: ConfigDict, tokenizer) -> System:
    """The system of a config with sections data, text, autoencoder, generator, discriminator, patches, latents, losses,
   , stages, optimizers, ema. Raises UserError where a section does not fit.
    """
    data = config.data
    shape = (data.resolution, data.resolution, data.channels)
    configs.require(data.resolution % 8 == 0 and data.resolution >= 8, "data.resolution", data.resolution,
                    "a multiple of 8")
    configs.require(data.noise > 0, "data.noise", data.noise, "1 or more dimensions")
    configs.require(config.dtype in ("float32", "bfloat16"), "dtype", config.dtype, "float32, bfloat16")
    precision = {"dtype": jnp.bfloat16 if config.dtype == "bfloat16" else None}
    losses = configs.section(config, "losses", Losses)
    for name in ("gamma", "gamma_final"):
        configs.require(getattr(losses, name) > 0, f"losses.{name}", getattr(losses, name), "more than 0")
    lengths = configs.section(config, "stages", Lengths)
    latents = configs.section(config, "latents", Latents)
    text = configs.section(config, "text", TextEncoder, vocabulary=data.vocabulary, **precision)
    configs.require(text.width % text.heads == 0, "text.heads", text.heads, f"a divisor of text.width = {text.width}")
    autoencoder = configs.section(config, "autoencoder", Autoencoder, image_shape=shape, **precision)
    generator = configs.section(config, "generator", LatentGenerator, latent=autoencoder.latent, **precision)
    discriminator = configs.section(config, "discriminator", LatentDiscriminator, **precision)
    patches = configs.section(config, "patches", PatchDiscriminator)
    game = adversarial.by_name(losses.adversarial)

    def init(key: Array) -> tuple[dict, dict]:
        image, latent = jnp.zeros((1, *shape)), jnp.zeros((1, autoencoder.latent))
        tokens = jnp.zeros((1, data.text_length), jnp.int32)
        sentence, noise = jnp.zeros((1, text.width)), jnp.zeros((1, data.noise))
        inputs = {
            "autoencoder": (autoencoder, (image,)),
            "patches": (patches, (image,)),
            "text": (text, (tokens, tokens == 0)),
            "generator": (generator, (noise, sentence)),
            "discriminator": (discriminator, (latent, sentence)),
        }
        params = {name: net.init(keys.named(key, name), *x)["params"] for name, (net, x) in inputs.items()}
        size = autoencoder.latent
        return params, {"latent": {"mean": jnp.zeros(size), "scale": jnp.ones(size), "energy": jnp.ones(())}}

    def read(params: dict, batch: dict) -> Array:
        return text.apply({"params": params["text"]}, batch["tokens"], batch["mask"])[1]

    def encode(params: dict, images: Array) -> tuple[Array, Array]:
        return autoencoder.apply({"params": params["autoencoder"]}, images, method="encode")

    def decode(params: dict, z: Array) -> Array:
        return autoencoder.apply({"params": params["autoencoder"]}, z, method="decode")

    def imagine(params: dict, noise: Array, caption: Array) -> Array:
        return at_least_float32(generator.apply({"params": params["generator"]}, noise, caption))

    def fresh_noise(example_keys: Array) -> Array:
        return keys.normal(keys.named(example_keys, "noise"), (data.noise,))

    # Stage 1

    def pictures(turn: Turn) -> Array:
        images = turn.batch["image"]
        if losses.mirror:
            images = mirror(images, keys.named(turn.keys, "mirror"))
        return cut_mix(images, keys.named(turn.keys, "cut mix"), losses.cut_mix) if losses.cut_mix else images

    def reconstruct(turn: Turn, images: Array) -> tuple[Array, Array, Array]:
        mean, log_variance = encode(turn.params, images)
        z = variational.sample(mean, log_variance, keys.named(turn.keys, "posterior"))
        return at_least_float32(decode(turn.params, z)), mean, log_variance

    def patch_logits(params: dict, images: Array) -> Array:
        return patches.apply({"params": params["patches"]}, images)

    def autoencoder_loss(turn: Turn):
        images = pictures(turn)
        made, mean, log_variance = reconstruct(turn, images)
        # Clipped in value but not in gradient: nothing is to be learnt outside the range of a picture.
        error = made + jax.lax.stop_gradient(jnp.clip(made, -1, 1) - made) - images
        square, absolute = jnp.mean(error**2), smooth_absolute(error)
        kl = jnp.mean(variational.kl_standard_normal(mean, log_variance))
        loss = square + losses.l1 * absolute + losses.kl * kl
        terms = {"mean_square": square, "kl": kl, "active": diagnostics.active_units(mean)}
        if losses.patch:
            terms["patch"] = adversarial.NON_SATURATING.generator(patch_logits(turn.params, made), None)
            loss += losses.patch * (turn.images >= losses.patch_start) * terms["patch"]
        return loss, ({}, terms)

    def patches_loss(turn: Turn):
        images = pictures(turn)
        made = jax.lax.stop_gradient(reconstruct(turn, images)[0])
        real, fake = patch_logits(turn.params, images), patch_logits(turn.params, made)
        r1 = penalty.gradient_penalty(lambda x: patch_logits(turn.params, x).sum(axis=(1, 2)), images)
        loss = adversarial.NON_SATURATING.discriminator(real, fake) + losses.patch_gamma / 2 * r1
        return loss, ({}, {"r1": r1, "accuracy": adversarial.accuracy(real, fake)})

    def start_autoencoder(state, sample: dict):
        params = state.params["autoencoder"]
        fitted = start_as_pca(params, sample["image"], keys.named(state.key, "pca"))
        average = jax.tree.map(jnp.copy, fitted)
        return dataclasses.replace(
            state,
            params=state.params | {"autoencoder": fitted},
            ema=state.ema | {"params": state.ema["params"] | {"autoencoder": average}},
        )

    # Stages 2 and 3

    def real_latents(turn: Turn) -> Array:
        latent = turn.aux["latent"]
        return (at_least_float32(encode(turn.params, turn.batch["image"])[0]) - latent["mean"][None]) / latent["scale"][None]

    def imitation(turn: Turn, real: Array, made: Array) -> Array:
        squares = ((real - made) * turn.aux["latent"]["scale"][None]) ** 2
        return jnp.mean(jnp.sum(squares, axis=-1)) / turn.aux["latent"]["energy"]

    def imitation_loss(turn: Turn):
        made = imagine(turn.params, turn.batch["noise"], read(turn.params, turn.batch))
        loss = imitation(turn, real_latents(turn), made)
        return loss, ({}, {})

    def judge(params: dict, z: Array, caption: Array) -> tuple[Array, Array, Array]:
        return discriminator.apply({"params": params["discriminator"]}, z, caption)

    def gamma(images: Array) -> Array:
        progress = jnp.clip((images - lengths.autoencoder - lengths.imitation) / (0.7 * lengths.gan), 0, 1)
        return losses.gamma * (losses.gamma_final / losses.gamma) ** progress

    def discriminator_loss(turn: Turn):
        real = real_latents(turn)
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
        real = real_latents(turn)
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

    def start_imitation(state, sample: dict):
        averaged = jax.tree.map(jnp.copy, state.ema["params"]["autoencoder"])
        params = state.params | {"autoencoder": averaged}
        z = at_least_float32(encode(params, sample["image"])[0])
        deviation = jnp.maximum(z.std(axis=0), 1e-3 * z.std())  # directions that no picture uses stay finite
        scale = deviation**latents.whitening
        scale *= jnp.sqrt(jnp.mean((deviation / scale) ** 2))  # mean square 1 over the dimensions together
        latent = {"mean": z.mean(axis=0), "scale": scale, "energy": jnp.sum(z.var(axis=0))}
        return dataclasses.replace(state, params=params, aux=state.aux | {"latent": latent})

    def generate(params: dict, aux: dict, batch: dict, example_keys: Array, truncation: Array | float = 1.0) -> Array:
        z = imagine(params, truncation * fresh_noise(example_keys), read(params, batch))
        return jnp.clip(decode(params, z * aux["latent"]["scale"][None] + aux["latent"]["mean"][None]), -1, 1)

    def encode_captions(captions: list[str]) -> dict:
        tokens, mask = tokenizer.encode(captions, data.text_length)
        return {"tokens": tokens, "mask": mask}

    phase = lambda name, players, loss: Phase(name, below(*players), loss, name, whole_batch=True)
    first = [phase("autoencoder", ["autoencoder"], autoencoder_loss)]
    if losses.patch:
        first.insert(0, phase("patches", ["patches"], patches_loss))
    second = phase("imitation", ["generator", "text"], imitation_loss)
    third = (
        phase("discriminator", ["discriminator"], discriminator_loss),
        phase("generator", ["generator", "text"], generator_loss),
    )
    game_begins = lengths.autoencoder + lengths.imitation
    begins = {"imitation": lengths.autoencoder, "discriminator": game_begins, "generator": game_begins}
    players = [phase.optimizer for phase in (*first, second, *third)]
    return System(
        init=init,
        stages=(
            Stage("autoencoder", lengths.autoencoder, tuple(first), start_autoencoder),
            Stage("imitation", lengths.imitation, (second,), start_imitation),
            Stage("gan", lengths.gan, third),
        ),
        optimizers={name: optimizer.build(config.optimizers[name], begins.get(name, 0)) for name in players},
        ema={"autoencoder": config.ema.autoencoder, "text": config.ema.generator,
             "generator": config.ema.generator},
        encode=encode_captions,
        generate=generate,
        options={"truncation": 1.0},
        image_shape=shape,
        codec=Codec(
            encode=lambda params, aux, images: at_least_float32(encode(params, images)[0]),
            decode=lambda params, aux, z: jnp.clip(at_least_float32(decode(params, z)), -1, 1),
            size=autoencoder.latent,
        ),
    )
