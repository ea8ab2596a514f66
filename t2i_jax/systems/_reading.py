"""How a system reads captions: what of a batch is text, and the player "text" that makes features of it. Shared by systems."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from ml_collections import ConfigDict

from t2i_jax import config as configs
from t2i_jax import keys
from t2i_jax.models.text import TextEncoder


class Reading(NamedTuple):
    """Captions as features."""

    words: Array  # [B, L, D]
    mask: Array  # [B, L] bool, True on words
    sentence: Array  # [B, D]


@dataclasses.dataclass(frozen=True)
class Reader:
    """The player "text"."""

    network: TextEncoder
    length: int  # L

    @property
    def width(self) -> int:
        """D."""
        return self.network.width

    def init(self, key: Array) -> dict:
        """Its parameters."""
        tokens = jnp.zeros((1, self.length), jnp.int32)
        return self.network.init(keys.named(key, "text"), tokens, tokens == 0)["params"]

    def nothing(self) -> Reading:
        """An empty reading [1, ...], which other networks are initialised with."""
        words = jnp.zeros((1, self.length, self.width))
        return Reading(words, jnp.ones((1, self.length), bool), words[:, 0])

    def read(self, params: dict, batch: dict) -> Reading:
        """The captions of a batch, by the parameters of all players."""
        words, sentence = self.network.apply({"params": params["text"]}, batch["tokens"], batch["mask"])
        return Reading(words, batch["mask"], sentence)


def build(config: ConfigDict, **dtype) -> Reader:
    """From the config sections `text` and `data`. Raises UserError where they do not fit."""
    network = configs.section(config, "text", TextEncoder, vocabulary=config.data.vocabulary, **dtype)
    configs.require(network.width % network.heads == 0, "text.heads", network.heads,
                    f"a divisor of text.width = {network.width}")
    return Reader(network, config.data.text_length)
