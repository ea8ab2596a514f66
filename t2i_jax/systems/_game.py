"""The game of a generator against a discriminator that reads the caption. Shared by systems.

    L_D = L_adv_D(x, x_g)                         w_match = 1: the mean of it and of L_adv_D(x, x beside a wrong caption)
          + w_nce InfoNCE(x, t) + γ/2 R1 + λ₁ Σ|θ| + λ₂ Σθ²
    L_G = L_adv_G(x_g, x) + w_nce InfoNCE(x_g, t)

With L_adv = non_saturating: L_D = -E log D(x, t) - E log(1 - D(x_g, t)), L_G = -E log D(x_g, t). Matching-aware: GAN-CLS,
Reed et al. 2016, algorithm 1.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from ml_collections import ConfigDict

from t2i_jax import config as configs
from t2i_jax import keys
from t2i_jax.models.generators import ConvGenerator, DenseGenerator, TextCodec
from t2i_jax.objectives import adversarial, alignment, diagnostics, penalty, regularization
from t2i_jax.objectives.augment import augment
from t2i_jax.systems import Turn

Judge = Callable[[dict, Array, Array], tuple[Array, Array, Array]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class GameLosses:
    """Those entries of a config section `losses` that belong to the game."""

    adversarial: str = "non_saturating"  # minimax, non_saturating, hinge, wasserstein or relativistic
    matching: bool = False  # real pictures beside wrong captions, as fakes
    contrastive: float = 0.0  # w_nce, of both players
    temperature: float = 0.1  # of InfoNCE
    gamma: float = 0.0  # γ, of R1
    gamma_fake: float = 0.0  # of R2, the same at generated pictures
    l1: float = 0.0  # λ₁, of the discriminator's parameters
    l2: float = 0.0  # λ₂
    augment: float = 0.0  # probability of each differentiable augmentation of what the discriminator sees


class Game(NamedTuple):
    """Both sides' losses: (turn, generated images [B, H, W, C], sentences [B, D]) -> (loss, {term: scalar})."""

    discriminator: Callable[[Turn, Array, Array], tuple[Array, dict]]
    generator: Callable[[Turn, Array, Array], tuple[Array, dict]]


def check(config: ConfigDict, generator: DenseGenerator | ConvGenerator | TextCodec) -> None:
    """Refuse sizes that the networks of a game cannot have. Raises UserError."""
    side = config.data.resolution
    configs.require(config.noise > 0, "noise", config.noise, "1 or more dimensions")
    configs.require(side > 0 and side % generator.multiple == 0, "data.resolution", side,
                    f"a multiple of {generator.multiple}, which the generator's layers double it by")


def build(losses: GameLosses, judge: Judge) -> Game:
    """judge: (params, images [B, ...], sentences [B, D]) -> (logits [B], image embedding [B, E], sentence embedding [B, E]);
    of sentences [N, B, D] beside the same pictures: logits [N, B], embeddings [B, E] and [N, B, E].

    The discriminator's loss reads `params["discriminator"]` for λ₁ and λ₂; the generator's side passes the discriminator
    no gradient through sentences. Raises UserError for an unknown adversarial loss.
    """
    sides = adversarial.by_name(losses.adversarial)

    def look(turn: Turn, images: Array, sentence: Array) -> tuple[Array, Array, Array]:
        if losses.augment:  # the same for all that a phase shows of an example
            images = augment(images, keys.named(turn.keys, "augment"), strength=losses.augment)
        return judge(turn.params, images, sentence)

    def discriminator(turn: Turn, made: Array, sentence: Array) -> tuple[Array, dict]:
        images = turn.batch["image"]
        right = alignment.right_pairs(turn.batch["caption"], turn.batch["captions"])
        fake = look(turn, made, sentence)[0]
        if losses.matching:  # real pictures are looked at once, and judged beside both captions
            other, valid = alignment.wrong_captions(right)
            (real, wrong), seen, (said, _) = look(turn, images, jnp.stack([sentence, sentence[other]]))
            gan = adversarial.matching_aware(sides.discriminator, real, fake, wrong, valid=valid)
        else:
            real, seen, said = look(turn, images, sentence)
            gan = sides.discriminator(real, fake)
        loss, terms = gan, {"gan": gan, **diagnostics.game(real, fake)}
        if losses.contrastive:
            terms["contrastive"] = alignment.info_nce(seen, said, losses.temperature, right)
            loss += losses.contrastive * terms["contrastive"]
        critic = lambda x: look(turn, x, sentence)[0]
        for name, weight, x in (("r1", losses.gamma, images), ("r2", losses.gamma_fake, made)):
            if weight:
                terms[name] = penalty.gradient_penalty(critic, jax.lax.stop_gradient(x))
                loss += weight / 2 * terms[name]
        own = turn.params["discriminator"]
        for name, weight, norm in (("l1", losses.l1, regularization.l1), ("l2", losses.l2, regularization.l2)):
            if weight:
                terms[name] = norm(own)
                loss += weight * terms[name]
        return loss, terms

    def generator(turn: Turn, made: Array, sentence: Array) -> tuple[Array, dict]:
        known = jax.lax.stop_gradient(sentence)
        fake, seen, said = look(turn, made, known)
        real = look(turn, turn.batch["image"], known)[0]
        gan = sides.generator(fake, real)
        loss, terms = gan, {"gan": gan, "discriminator": sides.discriminator(real, fake)}
        if losses.contrastive:
            right = alignment.compatible_pairs(alignment.right_pairs(turn.batch["caption"], turn.batch["captions"]))
            terms["contrastive"] = alignment.info_nce(seen, said, losses.temperature, right)
            loss += losses.contrastive * terms["contrastive"]
        return loss, terms

    return Game(discriminator, generator)
