"""`noisy_ar`: tokens drawn block by block through noise, judged by a sum of discriminators.

    stage 1, tokenizer     x -> tokens and back (`_image_tokens.py`; none where tokens are pixels)
    stage 2, pretraining   generator minimises  E -log p(x | corrupted prefix of x, noise), without captions
    stage 3, gan           x_g: straight-through draws in 1 to S blocks (`_noisy_steps.py`), x_0: the same without a
                           caption, x': x changed to fool D (fast gradient sign, Goodfellow et al. 2015)
        discriminator minimises   L_D(x, x_g) + w_alone L_D(x, x_0) + w_perturbed L_D(x', x_g)        D = σ(Σ_i d_i)
        generator, text minimise  L_G(x_g) + w_alone L_G(x_0) + w_nll E -log p(x | corrupted prefix of x, t, noise)
        detector minimises        -log q(x') - log(1 - q(x)): it tells attacked pictures from clean ones
    stage 4, finetuning    the same on few pairs

L_D, L_G: `_game.py`, with L_adv_D(x, x_g) = -log D(x, t) - log(1 - D(x_g, t)), L_adv_G(x_g) = -log D(x_g, t). The noise
of a whole picture stands for the picture among its caption's (data/coupling.py). Learning rates are counted from the
stage that a player starts in; their `final` is what fine-tuning learns at.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from ml_collections import ConfigDict

from t2i_jax import config as configs
from t2i_jax import keys
from t2i_jax.objectives import adversarial
from t2i_jax.objectives.perturbation import fast_gradient_sign
from t2i_jax.objectives.tokens import token_nll
from t2i_jax.paths import below
from t2i_jax.systems import Phase, Stage, System, Turn, _game, _noisy_networks, optimizers_of
from t2i_jax.systems._few_pairs import few_pairs
from t2i_jax.systems._noisy_steps import Caption, unspoken
from t2i_jax.systems._reading import Reading

STEPS = 8  # that a picture is drawn in unless told otherwise


@dataclasses.dataclass(frozen=True, kw_only=True)
class Losses(_game.GameLosses):
    """The config section `losses`."""

    likelihood: float = 1.0  # w_nll, of real sequences, a hidden token's mean
    corruption: float = 0.3  # largest share of visible tokens replaced
    drawn: float = 0.25  # share of the batch that the game is played for
    blocks: int = 3  # S; each step draws how many of them it uses
    relaxation: float = 1.0  # temperature of the straight-through gradient
    alone: float = 0.5  # w_alone, of pictures driven by noise alone
    perturbed: float = 0.5  # w_perturbed
    epsilon: float = 0.06  # of a pixel's range [-1, 1], an attack's largest change
    few: float = 0.1  # share of the pictures that fine-tuning sees


@dataclasses.dataclass(frozen=True)
class Lengths:
    """The config section `stages`, in images."""

    tokenizer: int
    pretraining: int
    gan: int
    finetuning: int


def build(config: ConfigDict, tokenizer) -> System:
    """The system of a config with the sections of `_noisy_networks.py`, losses, stages, optimizers, ema.

    Raises UserError where a section does not fit.
    """
    data, nets = config.data, _noisy_networks.build(config)
    shape = (data.resolution, data.resolution, data.channels)
    tokens, steps = nets.tokens, nets.steps
    configs.require(data.noise > 0, "data.noise", data.noise, "1 or more dimensions")
    losses, lengths = configs.section(config, "losses", Losses), configs.section(config, "stages", Lengths)
    for name in ("drawn", "few"):
        configs.require(0 < getattr(losses, name) <= 1, f"losses.{name}", getattr(losses, name), "above 0 up to 1")
    configs.require(0 <= losses.corruption <= 1, "losses.corruption", losses.corruption, "0 to 1")
    configs.require(0 < losses.blocks <= steps.count, "losses.blocks", losses.blocks, f"1 to {steps.count}, the tokens")
    configs.require(losses.epsilon > 0, "losses.epsilon", losses.epsilon, "more than 0")
    configs.require(losses.relaxation > 0, "losses.relaxation", losses.relaxation, "more than 0")
    apply = lambda name, params, *x: getattr(nets, name).apply({"params": params[name]}, *x)
    judge = functools.partial(apply, "discriminator")  # (params, images, sentence) -> judgement
    detect = lambda params, images: apply("detector", params, images)[:, 0]
    game, sides = _game.build(losses, judge), adversarial.by_name(losses.adversarial)

    def heard(reading: Reading, noise: Array) -> Caption:
        return Caption(reading.sentence, reading.words, reading.mask, noise)

    def init(key: Array) -> tuple[dict, dict]:
        image, caption = jnp.zeros((1, *shape)), heard(nets.text.nothing(), jnp.zeros((1, data.noise)))
        players, aux = tokens.init(key)
        judges = {"discriminator": (nets.discriminator, image, caption.sentence), "detector": (nets.detector, image)}
        return players | {
            "text": nets.text.init(key),
            "generator": steps.init(keys.named(key, "generator"), caption),
            **{name: net.init(keys.named(key, name), *x)["params"] for name, (net, *x) in judges.items()},
        }, aux

    def read(params: dict, batch: dict) -> Caption:
        return heard(nets.text.read(params, batch), batch["noise"])

    def likelihood(turn: Turn, caption: Caption) -> Array:
        real = jax.lax.stop_gradient(tokens.tokens(turn.params, turn.aux, turn.batch["image"]))
        logits, hidden = steps.corrupted(turn.params, real, caption, turn.keys, losses.corruption)
        return jnp.sum(token_nll(logits, real, hidden)) / jnp.sum(hidden)

    def pretraining_loss(turn: Turn):
        loss = likelihood(turn, unspoken(read(turn.params, turn.batch)))
        return loss, ({}, {})

    def part(turn: Turn) -> Turn:
        """The examples that the game is played for."""
        few = max(2, int(len(turn.keys) * losses.drawn))
        return turn._replace(batch=jax.tree.map(lambda x: x[:few], turn.batch), keys=turn.keys[:few])

    def imagine(turn: Turn, caption: Caption) -> tuple[Array, Array]:
        """Pictures of captions, and half as many of noise alone."""
        half = len(turn.keys) // 2
        both = jax.tree.map(lambda x, y: jnp.concatenate([x, y[:half]]), caption, unspoken(caption))
        example_keys = jnp.concatenate([turn.keys, keys.named(turn.keys[:half], "alone")])
        blocks = jax.random.randint(keys.named(turn.keys[0], "blocks"), (), 1, losses.blocks + 1)
        drawn = steps.imagine(turn.params, both, example_keys, blocks, losses.blocks, losses.relaxation)
        made = tokens.decode(turn.params, turn.aux, drawn)
        return made[:-half], made[-half:]

    def seen(params: dict, shown: list[tuple[Array, Array]]) -> list[Array]:
        """Logits of several (images, sentences), in one pass."""
        images, sentences = (jnp.concatenate(parts) for parts in zip(*shown, strict=True))
        ends = np.cumsum([len(part) for part, _ in shown])[:-1]
        return jnp.split(judge(params, images, sentences)[0], ends)

    def attacked(turn: Turn, sentence: Array) -> Array:
        return fast_gradient_sign(lambda x: -judge(turn.params, x, sentence)[0], turn.batch["image"], losses.epsilon)

    def discriminator_loss(turn: Turn):
        turn = part(turn)
        caption = read(turn.params, turn.batch)
        made, alone = imagine(turn, caption)
        loss, terms = game.discriminator(turn, made, caption.sentence)
        images, sentence = turn.batch["image"], caption.sentence
        nothing = jnp.zeros_like(sentence[:len(alone)])
        shown = [(images[:len(alone)], nothing), (alone, nothing), (made, sentence)]
        if losses.perturbed:
            shown.append((attacked(turn, sentence), sentence))
        real, fake, fake_again, *attack = seen(turn.params, shown)
        terms["alone"] = sides.discriminator(real, fake)
        loss += losses.alone * terms["alone"]
        if losses.perturbed:
            terms["perturbed"] = sides.discriminator(*attack, fake_again)
            loss += losses.perturbed * terms["perturbed"]
        return loss, ({}, terms)

    def generator_loss(turn: Turn):
        caption = read(turn.params, turn.batch)
        nll, whole = likelihood(turn, caption), turn
        turn = part(whole)
        caption = jax.tree.map(lambda x: x[:len(turn.keys)], caption)
        made, alone = imagine(turn, caption)
        loss, terms = game.generator(turn, made, caption.sentence)
        nothing = jnp.zeros_like(caption.sentence[:len(alone)])
        real, fake = seen(turn.params, [(turn.batch["image"][:len(alone)], nothing), (alone, nothing)])
        terms |= {"alone": sides.generator(fake, real), "likelihood": nll}
        return loss + losses.alone * terms["alone"] + losses.likelihood * nll, ({}, terms)

    def detector_loss(turn: Turn):
        turn = part(turn)
        attack = attacked(turn, read(turn.params, turn.batch).sentence)
        wrong, clean = detect(turn.params, attack), detect(turn.params, turn.batch["image"])
        loss = adversarial.cross_entropy_discriminator(wrong, clean)
        return loss, ({}, {"accuracy": adversarial.accuracy(wrong, clean)})

    def generate(
        params: dict, aux: dict, batch: dict, example_keys: Array, temperature: Array | float = 1.0, top_k: int = 0,
        top_p: Array | float = 1.0, num_inference_steps: int = STEPS, return_steps: bool = False,
    ) -> Array:
        noise = keys.normal(keys.named(example_keys, "noise of pictures"), (data.noise,))
        paint = lambda choice: jnp.clip(tokens.decode(params, aux, choice), -1, 1)
        caption = read(params, batch | {"noise": noise})
        drawn, partial = steps.draw(params, caption, example_keys, temperature, top_k, top_p, num_inference_steps,
                                    paint if return_steps else None)
        return jnp.swapaxes(partial, 0, 1) if return_steps else tokens.draw(params, aux, drawn)

    def game_phases(change=lambda turn: turn) -> tuple[Phase, ...]:
        phase = lambda name, players, loss: Phase(
            name, below(*players), lambda turn: loss(change(turn)), name, whole_batch=True)
        return (phase("discriminator", ["discriminator"], discriminator_loss),
                phase("generator", ["generator", "text"], generator_loss))

    detector = Phase("detector", below("detector"), detector_loss, "detector", whole_batch=True)
    few = lambda turn: turn._replace(batch=few_pairs(turn.batch, losses.few))
    pretraining = Phase("pretraining", below("generator"), pretraining_loss, "pretraining", whole_batch=True)
    stages = tokens.before(
        lengths.tokenizer,
        Stage("pretraining", lengths.pretraining, (pretraining,)),
        Stage("gan", lengths.gan, (*game_phases(), detector)),
        Stage("finetuning", lengths.finetuning, game_phases(few)),
    )
    return System(
        init=init,
        stages=stages,
        optimizers=optimizers_of(config, stages),
        ema={"generator": config.ema.generator, "text": config.ema.generator},
        encode=lambda captions: tokenizer.arrays(captions, data.text_length),
        generate=generate,
        options={"temperature": 1.0, "top_k": 0, "top_p": 1.0, "num_inference_steps": STEPS,
                 "return_steps": False},
        image_shape=shape,
        codec=tokens.codec(),
    )
