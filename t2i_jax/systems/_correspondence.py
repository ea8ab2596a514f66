"""Stages before a game: what pictures look like, then which caption belongs to which picture. Shared by systems.

    features         embedder minimises  InfoNCE(e(a₁(x)), e(a₂(x)))            two random views of unlabelled pictures
                                                                                 (SimCLR, Chen et al. 2020)
    correspondence   embedder, text, projection minimise  InfoNCE(e(a(x)), P t)  (as CLIP, Radford et al. 2021)

e, P t: embeddings of a picture and of its caption in one space, where a game may compare what it draws with its caption:

    L_content = 1/N Σ_i ‖P t_i - e(x_g,i)‖²  of unit vectors, or  InfoNCE(e(x_g), P t)
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from ml_collections import ConfigDict

from t2i_jax import config as configs
from t2i_jax import keys
from t2i_jax.models.encoders import ConvEmbedder
from t2i_jax.objectives import alignment
from t2i_jax.objectives.augment import augment
from t2i_jax.paths import below
from t2i_jax.systems import Phase, Turn
from t2i_jax.systems._reading import Reader

VIEWS = ("brightness", "saturation", "contrast", "translation", "cutout")
GENTLE = ("translation", "cutout")  # a caption's colours survive these


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContentLosses:
    """Those entries of a config section `losses` that compare drawn pictures with their captions."""

    content: float = 1.0  # w, of the generator
    content_kind: str = "info_nce"  # or mse
    content_temperature: float = 0.1  # of InfoNCE, here and in the stages before


class Correspondence(NamedTuple):
    """The networks of both stages, and their phases, which take the optimizers of their names."""

    init: Callable[[Array], dict]  # key -> parameters of the players "embedder" and "projection"
    embed: Callable[[dict, Array], Array]  # (params, images [B, H, W, C]) -> [B, E]
    describe: Callable[[dict, Array], Array]  # (params, sentence [B, D]) -> [B, E]
    content: Callable[[Turn, Array, Array], Array]  # (turn, drawn images, their sentences) -> L_content
    features: Phase
    correspondence: Phase


def build(
    config: ConfigDict, shape: tuple[int, int, int], text: Reader, losses: ContentLosses, **dtype
) -> Correspondence:
    """From the config section `embedder`. Raises UserError where it does not fit."""
    embedder = configs.section(config, "embedder", ConvEmbedder, **dtype)
    configs.require(losses.content_kind in ("mse", "info_nce"), "losses.content_kind", losses.content_kind, "mse, info_nce")
    projection = nn.Dense(embedder.embedding, **dtype)

    def init(key: Array) -> dict:
        return {
            "embedder": embedder.init(keys.named(key, "embedder"), jnp.zeros((1, *shape)))["params"],
            "projection": projection.init(keys.named(key, "projection"), text.nothing().sentence)["params"],
        }

    def embed(params: dict, images: Array) -> Array:
        return embedder.apply({"params": params["embedder"]}, images)

    def describe(params: dict, sentence: Array) -> Array:
        return projection.apply({"params": params["projection"]}, sentence)

    def features_loss(turn: Turn):
        first, second = (
            embed(turn.params, augment(turn.batch["image"], keys.named(turn.keys, view), VIEWS, 0.8))
            for view in ("first view", "second view")
        )
        return alignment.info_nce(first, second, losses.content_temperature, jnp.eye(len(first), dtype=bool)), ({}, {})

    def correspondence_loss(turn: Turn):
        sentence = text.read(turn.params, turn.batch).sentence
        images = augment(turn.batch["image"], keys.named(turn.keys, "view"), GENTLE, 0.5)
        right = alignment.right_pairs(turn.batch["caption"], turn.batch["captions"])
        loss = alignment.info_nce(embed(turn.params, images), describe(turn.params, sentence), losses.content_temperature, right)
        return loss, ({}, {})

    def content(turn: Turn, made: Array, sentence: Array) -> Array:
        seen, said = embed(turn.params, made), describe(turn.params, sentence)
        if losses.content_kind == "mse":
            return alignment.content_mse(alignment.unit(seen), alignment.unit(said))
        right = alignment.compatible_pairs(alignment.right_pairs(turn.batch["caption"], turn.batch["captions"]))
        return alignment.info_nce(seen, said, losses.content_temperature, right)

    return Correspondence(
        init, embed, describe, content,
        features=Phase("features", below("embedder"), features_loss, "features", whole_batch=True),
        correspondence=Phase("correspondence", below("embedder", "text", "projection"), correspondence_loss,
                             "correspondence", whole_batch=True),
    )
