"""`latent_gan`: an autoencoder trained adversarially, then a text-conditioned GAN in its latent space.

    stage 1, autoencoder   leaves latents z of pictures x, and a picture of any z: see `_latents.py`; n chose x among its caption's
    stage 2, imitation     generator, text minimise  L_rec = √(|s (z - G(n, t))|² / E|s z|² + c²)
                           or, where noise completes sentences, G(n, t) = W(t + F(n, t)):
                           L_rec of W(t'), plus w_choice L_choice, L_choice = |t + F(n, t) - t'|² / E|t' - E t'|²
    stage 3, gan           discriminator minimises L_D(z, G(n, t)) + w_match L_D(z, z beside a wrong caption)
                                                   + w_nce InfoNCE(z, t) + γ/2 (R1 + R2)
                           generator, text minimise L_G(G(n, t), z) + w_nce InfoNCE(G(n, t), t) + w_rec (L_rec + w_choice L_choice)
    picture = the one of latent G(n, t), in one forward pass; s: the latents' scale; without c L_rec is squared;
    t': the whole sentence, t itself if it stands for one picture alone, else the most detailed caption of the picture

A caption that stands for hundreds of pictures keeps large errors. Squared, they take most of the gradient from captions whose
pictures are nearly right; as distances all captions weigh alike (corner c: `losses.corner`).

Latents are vectors and the players perceptrons, or maps and transformers that read words too (`autoencoder.kind`). L_D, L_G:
`losses.adversarial`, relativistic pairing by default (R3GAN, Huang et al. 2024); R1 + R2 exactly or by finite differences.
The noise n of an example stands for its picture (data/coupling.py) unless `data.coupled` is false: imitation teaches what a
caption says and how noise decides what it leaves open, cheaply; the game then sharpens what errors blur. Where noise completes
sentences (`generator.kind` "choosing") what words mean is learnt from whole sentences alone, and what noise chooses is learnt in
words, also by draws that no picture stands beside (`data.choices`). The text encoder learns in the generator's turn; the
discriminator reads it as is.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array
from ml_collections import ConfigDict

from t2i_jax import config as configs
from t2i_jax import keys
from t2i_jax.models.discriminators import Judgement, LatentDiscriminator
from t2i_jax.models.generators import ChoosingGenerator, LatentGenerator
from t2i_jax.models.latent_transformers import TransformerDiscriminator, TransformerGenerator
from t2i_jax.objectives import adversarial, alignment, diagnostics, penalty
from t2i_jax.objectives.precision import at_least_float32
from t2i_jax.paths import below
from t2i_jax.systems import Phase, Stage, System, Turn, _latents, _reading, optimizers_of, precision
from t2i_jax.systems._reading import Reading


@dataclasses.dataclass(frozen=True, kw_only=True)
class Losses(_latents.AutoencoderLosses):
    """The config section `losses`."""

    adversarial: str = "relativistic"  # minimax, non_saturating, hinge, wasserstein or relativistic
    gamma: float = 2.0  # of R1 + R2 in the latent space, at the start of the stage
    gamma_final: float = 0.3  # reached after 70 % of the stage, geometrically
    penalty: str = "gradient"  # R1 + R2 exactly, or by "finite_difference": two more forward passes, no second derivative
    penalty_share: float = 0.25  # of the batch that exact R1 + R2 are computed on
    sigma: float = 0.01  # of the noise that finite differences are taken over
    matching: float = 0.0  # real latents beside wrong captions, as fakes
    contrastive: float = 1.0  # InfoNCE, of both players
    temperature: float = 0.1
    imitation: float = 10.0  # of the latent that the noise stands for
    choice: float = 3.0  # of what noise adds to a sentence, beside L_rec; generator.kind "choosing" alone
    corner: float = 0.0  # of L_rec, c: 0 for squared errors; above c an example counts by its distance, not by its square


@dataclasses.dataclass(frozen=True)
class Lengths:
    """The config section `stages`, in images; a stage of 0 images is left out."""

    autoencoder: int
    imitation: int
    gan: int


def networks(config: ConfigDict, latent: tuple[int, ...], **dtype) -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator: perceptrons of a latent that is one vector, transformers of a map."""
    if len(latent) == 1:
        generators = {"mlp": LatentGenerator, "choosing": ChoosingGenerator}
        discriminators = {"mlp": LatentDiscriminator}
        latent = latent[0]
    else:
        generators, discriminators = {"transformer": TransformerGenerator}, {"transformer": TransformerDiscriminator}
    return (configs.choice(config, "generator", generators, latent=latent, **dtype),
            configs.choice(config, "discriminator", discriminators, **dtype))


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
    configs.require(losses.penalty in ("gradient", "finite_difference"), "losses.penalty", losses.penalty,
                    "gradient, finite_difference")
    for name in ("gamma", "gamma_final"):
        configs.require(getattr(losses, name) > 0, f"losses.{name}", getattr(losses, name), "more than 0")
    lengths = configs.section(config, "stages", Lengths)
    text = _reading.build(config, tokenizer, **dtype)
    latents = _latents.build(config, shape, losses, **dtype)
    generator, discriminator = networks(config, latents.shape, **dtype)
    maps = len(latents.shape) > 1
    choosing = isinstance(generator, ChoosingGenerator)
    configs.require(not choosing or data.get("whole", False), "data.whole", False,
                    "True where generator.kind is 'choosing', which learns from whole sentences")
    choices = data.get("choices", 0)
    configs.require(choices == 0 or choosing and choices > 0, "data.choices", choices,
                    "0, or more where generator.kind is 'choosing', which learns from them")
    game = adversarial.by_name(losses.adversarial)

    def heard(caption: Reading) -> tuple[Array, ...]:
        """What the generator takes of it."""
        return (caption.sentence, caption.words, caption.mask) if maps else (caption.sentence,)

    def init(key: Array) -> tuple[dict, dict]:
        latent, noise, caption = jnp.zeros((1, *latents.shape)), jnp.zeros((1, data.noise)), text.nothing()
        inputs = {
            "generator": (generator, (noise, *heard(caption))),
            "discriminator": (discriminator, (latent, caption.sentence)),
        }
        params = {name: net.init(keys.named(key, name), *x)["params"] for name, (net, x) in inputs.items()}
        players, aux = latents.init(key)
        return params | players | {"text": text.init(key)}, aux

    def imagine(params: dict, noise: Array, caption: Reading) -> Array:
        return at_least_float32(generator.apply({"params": params["generator"]}, noise, *heard(caption)))

    def chosen(params: dict, noise: Array, sentence: Array) -> Array:
        """What noise adds to sentences."""
        return at_least_float32(generator.apply({"params": params["generator"]}, noise, sentence, method="choose"))

    def drawn(params: dict, sentence: Array) -> Array:
        """Latents of completed sentences."""
        return at_least_float32(generator.apply({"params": params["generator"]}, sentence, method="draw"))

    def choice_loss(turn: Turn, caption: Reading, more: Array, whole: Reading) -> Array:
        """How far completed sentences are from whole ones, as a share of how these differ. It does not teach what words mean.

        Those of the batch, to which noise adds `more`, and those of `data.choices` beside it.
        """
        told, wanted, added = (x[:, None] for x in (caption.sentence, whole.sentence, more))
        if choices:
            told_too, wanted_too, noise = text.read_choices(turn.params, turn.batch)
            pairs = (told, told_too), (wanted, wanted_too), (added, chosen(turn.params, noise, told_too))
            told, wanted, added = (jnp.concatenate(pair, axis=1) for pair in pairs)  # every device keeps its examples
        told, wanted = jax.lax.stop_gradient((at_least_float32(told), at_least_float32(wanted)))
        spread = jnp.mean(jnp.sum((wanted - jnp.mean(wanted, axis=(0, 1), keepdims=True)) ** 2, axis=-1))
        return jnp.mean(jnp.sum((told + added - wanted) ** 2, axis=-1)) / (spread + 1e-9)

    def fresh_noise(example_keys: Array) -> Array:
        return keys.normal(keys.named(example_keys, "noise"), (data.noise,))

    def imitation_loss(turn: Turn):
        caption = text.read(turn.params, turn.batch)
        if not choosing:
            made = imagine(turn.params, turn.batch["noise"], caption)
            return latents.miss(turn, latents.of(turn), made, losses.corner), ({}, {})
        whole = text.read_whole(turn.params, turn.batch)
        made = drawn(turn.params, whole.sentence)
        terms = {"imitation": latents.miss(turn, latents.of(turn), made, losses.corner),
                 "choice": choice_loss(turn, caption, chosen(turn.params, turn.batch["noise"], caption.sentence), whole)}
        return terms["imitation"] + losses.choice * terms["choice"], ({}, terms)

    def judge(params: dict, z: Array, sentence: Array) -> Judgement:
        return discriminator.apply({"params": params["discriminator"]}, z, sentence)

    def judge_all(params: dict, pairs: list[tuple[Array, Array]]) -> list[Judgement]:
        """One pass over all pairs (latents, sentences), so that weights which devices share are gathered once."""
        together = lambda arrays: rearrange(jnp.stack(arrays, 1), "b n ... -> (b n) ...")  # every device keeps its examples
        found = judge(params, *map(together, zip(*pairs, strict=True)))
        return [Judgement(*(x[number::len(pairs)] for x in found)) for number in range(len(pairs))]

    def gamma(images: Array) -> Array:
        progress = jnp.clip((images - lengths.autoencoder - lengths.imitation) / (0.7 * lengths.gan), 0, 1)
        return losses.gamma * (losses.gamma_final / losses.gamma) ** progress

    def discriminator_loss(turn: Turn):
        real = latents.of(turn)
        reading = text.read(turn.params, turn.batch)
        fake, caption = imagine(turn.params, turn.batch["noise"], reading), reading.sentence
        right = alignment.right_pairs(turn.batch["caption"], turn.batch["captions"])
        pairs = {"real": (real, caption), "fake": (fake, caption)}
        if losses.matching:
            other, valid = alignment.wrong_captions(right)
            pairs["wrong"] = real, caption[other]
        if losses.penalty == "finite_difference":
            nudge = lambda z: penalty.nudged(z, keys.named(turn.keys, "penalty"), losses.sigma)
            pairs |= {"nudged_real": (nudge(real), caption), "nudged_fake": (nudge(fake), caption)}
        said = dict(zip(pairs, judge_all(turn.params, list(pairs.values())), strict=True))
        logits = {name: judgement.logits for name, judgement in said.items()}
        gan = game.discriminator(logits["real"], logits["fake"])
        contrastive = alignment.info_nce(said["real"].embedding, said["real"].sentence, losses.temperature, right)
        if losses.penalty == "finite_difference":
            r1, r2 = (penalty.finite_difference_penalty(logits[name], logits[f"nudged_{name}"], losses.sigma)
                      for name in ("real", "fake"))
        else:
            # A part of the batch estimates the penalty well enough, at every step.
            part = max(1, int(len(real) * losses.penalty_share))
            critic = lambda z: judge(turn.params, z, caption[:part]).logits
            r1, r2 = (penalty.gradient_penalty(critic, z[:part]) for z in (real, fake))
        loss = gan + losses.contrastive * contrastive + gamma(turn.images) / 2 * (r1 + r2)
        terms = {"gan": gan, "contrastive": contrastive, "r1": r1, "r2": r2,
                 "gap": jnp.mean(at_least_float32(logits["real"])) - jnp.mean(at_least_float32(logits["fake"]))}
        terms |= diagnostics.game(logits["real"], logits["fake"])
        if losses.matching:
            # Where no caption of the batch is wrong, the generated latent stands in.
            terms["matching"] = game.discriminator(logits["real"], jnp.where(valid, logits["wrong"], logits["fake"]))
            loss += losses.matching * terms["matching"]
        return loss, ({}, terms)

    def generator_loss(turn: Turn):
        real = latents.of(turn)
        caption = text.read(turn.params, turn.batch)
        known = jax.lax.stop_gradient(caption.sentence)  # what players other than the generator see of it
        if choosing:
            more = chosen(turn.params, turn.batch["noise"], caption.sentence)
            fake = drawn(turn.params, caption.sentence + more)
        else:
            fake = imagine(turn.params, turn.batch["noise"], caption)
        judged = judge(turn.params, fake, known)
        gan = game.generator(judged.logits, judge(turn.params, real, known).logits)
        right = alignment.compatible_pairs(alignment.right_pairs(turn.batch["caption"], turn.batch["captions"]))
        contrastive = alignment.info_nce(judged.embedding, judged.sentence, losses.temperature, right)
        copied = latents.miss(turn, real, fake, losses.corner)
        terms = {"gan": gan, "contrastive": contrastive, "imitation": copied}
        if choosing:
            terms["choice"] = choice_loss(turn, caption, more, text.read_whole(turn.params, turn.batch))
            copied += losses.choice * terms["choice"]
        loss = gan + losses.contrastive * contrastive + losses.imitation * copied
        few = slice(None, None, 8)  # captions enough to see whether noise changes what is drawn
        again = imagine(turn.params, fresh_noise(turn.keys[few]), jax.tree.map(lambda x: x[few], caption))
        flat = lambda z: z.reshape(len(z), -1)
        return loss, ({}, terms | diagnostics.draws(flat(real), flat(fake), flat(again), few))

    def generate(params: dict, aux: dict, batch: dict, example_keys: Array, truncation: Array | float = 1.0) -> Array:
        z = imagine(params, truncation * fresh_noise(example_keys), text.read(params, batch))
        return latents.draw(params, aux, z)

    phase = lambda name, players, loss: Phase(name, below(*players), loss, name, whole_batch=True)
    second = phase("imitation", ["generator", *text.trained], imitation_loss)
    third = (
        phase("discriminator", ["discriminator"], discriminator_loss),
        phase("generator", ["generator", *text.trained], generator_loss),
    )
    stages = latents.before(lengths.autoencoder, Stage("imitation", lengths.imitation, (second,)),
                            Stage("gan", lengths.gan, third))
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
        blends=True,
        codec=latents.codec,
    )
