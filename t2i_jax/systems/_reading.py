"""How a system reads captions: what of a batch is text, and the player "text" that makes features of it. Shared by systems.

    text.kind = "own"      a small encoder, trained with the generator from nothing
                "cached"   a frozen language model's features, which come with the batch, through a trained layer
                "tuned"    a language model as part of the player, whose last `tuned_layers` layers train, and a layer after it
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array
from ml_collections import ConfigDict

from t2i_jax import config as configs
from t2i_jax import keys
from t2i_jax.models.text.adapter import LanguageAdapter
from t2i_jax.models.text import TextEncoder
from t2i_jax.paths import flat
from t2i_jax.pretrained import captions
from t2i_jax.pretrained.captions import LanguageText

WHOLE = "whole_"  # before the names of the text entries of whole sentences, see data/pipeline.py
CHOICE = "choice_"  # and of what belongs to draws of noise without pictures [B, C, ...]
BLEND = "blend"  # entry of a batch [B, K]: each of its other text entries holds K captions, [B, K, ...], to be mixed so


class Reading(NamedTuple):
    """Captions as features."""

    words: Array  # [B, L, D]
    mask: Array  # [B, L] bool, True on words; of mixed captions how much each word counts, 0 to 1
    sentence: Array  # [B, D]


class Reader(NamedTuple):
    """The player "text"."""

    width: int  # D
    entries: dict[str, jax.ShapeDtypeStruct]  # of one caption in a batch: name -> shape without B, type
    init: Callable[[Array], dict]  # key -> its parameters
    unmixed: Callable[[dict, dict], Reading]  # (parameters of the player, text entries [B, ...]) -> features
    own: tuple[str, ...] = ("text",)  # parameter paths that train with the generator
    tuned: tuple[str, ...] = ()  # those of a language model that train, by the optimizer "text"

    @property
    def trained(self) -> tuple[str, ...]:
        """All paths that train."""
        return self.own + self.tuned

    def nothing(self) -> Reading:
        """An empty reading [1, ...], which other networks are initialised with."""
        length = next(shape.shape[0] for shape in self.entries.values() if shape.dtype == bool)
        words = jnp.zeros((1, length, self.width))
        return Reading(words, jnp.ones((1, length), bool), words[:, 0])

    def read_whole(self, params: dict, batch: dict) -> Reading:
        """The whole sentences of a batch, by the parameters of all players."""
        return self.unmixed(params["text"], {name: batch[WHOLE + name] for name in self.entries})

    def read_choices(self, params: dict, batch: dict) -> tuple[Array, Array, Array]:
        """Of the draws of noise beside a batch: sentences of their captions, whole sentences and noise, [B, C, any] each."""
        parts = {name.removeprefix(CHOICE): entry for name, entry in batch.items() if name.startswith(CHOICE)}
        noise = parts["noise"]
        flat = {name: rearrange(entry, "b c ... -> (b c) ...") for name, entry in parts.items()}
        apart = lambda reading: rearrange(reading.sentence, "(b c) d -> b c d", c=noise.shape[1])
        return apart(self.read(params, flat)), apart(self.read_whole(params, flat)), noise

    def read(self, params: dict, batch: dict) -> Reading:
        """The captions of a batch, by the parameters of all players.

        With an entry "blend" [B, K] sentences add up with these coefficients, and words count by their shares of the positive
        ones.
        """
        shares, text = batch.get(BLEND), {name: batch[name] for name in self.entries}
        if shares is None:
            return self.unmixed(params["text"], text)
        text = {name: rearrange(entry, "b k ... -> (b k) ...") for name, entry in text.items()}
        words, mask, sentence = self.unmixed(params["text"], text)
        apart = lambda x: rearrange(x, "(b k) ... -> b k ...", k=shares.shape[1])
        heard = jnp.maximum(shares, 0) / jnp.sum(jnp.maximum(shares, 0), axis=1, keepdims=True)
        weights = rearrange(heard[..., None] * apart(mask), "b k l -> b (k l)")
        mixed = jnp.einsum("b k, b k d -> b d", shares.astype(sentence.dtype), apart(sentence))
        return Reading(rearrange(apart(words), "b k l d -> b (k l) d"), weights, mixed)


def build(config: ConfigDict, text: LanguageText | None, **dtype) -> Reader:
    """From the config sections `text` and `data`; `text`: the language model that the config names.

    Raises UserError where they do not fit.
    """
    length = config.data.text_length
    match captions.kind_of(config):
        case captions.OWN:
            return _own(config, length, **dtype)
        case captions.CACHED:
            return _cached(captions.options(config), text.model, min(length, text.model.longest), **dtype)
        case captions.TUNED:
            configs.require("text" in config.optimizers, "optimizers", sorted(config.optimizers), "with text.kind = 'tuned' "
                            "also 'text', which trains the language model's last layers")
            return _tuned(captions.options(config), text.model, min(length, text.model.longest), **dtype)


def _own(config: ConfigDict, length: int, **dtype) -> Reader:
    rest = {name: value for name, value in config.text.items() if name != "kind"}
    network = configs.section(ConfigDict({"text": rest}), "text", TextEncoder, vocabulary=config.data.vocabulary, **dtype)
    configs.require(network.width % network.heads == 0, "text.heads", network.heads,
                    f"a divisor of text.width = {network.width}")

    def init(key: Array) -> dict:
        tokens = jnp.zeros((1, length), jnp.int32)
        return network.init(keys.named(key, "text"), tokens, tokens == 0)["params"]

    def read(params: dict, text: dict) -> Reading:
        words, sentence = network.apply({"params": params}, text["tokens"], text["mask"])
        return Reading(words, text["mask"], sentence)

    return Reader(network.width, _tokens(length), init, read)


def _cached(chosen: captions.Language, model, length: int, **dtype) -> Reader:
    adapter = LanguageAdapter(chosen.width, **dtype)

    def init(key: Array) -> dict:
        words, sentence = jnp.zeros((1, length, model.width)), jnp.zeros((1, model.sentence_width))
        return {"adapter": adapter.init(keys.named(key, "text"), words, sentence)["params"]}

    def read(params: dict, text: dict) -> Reading:
        words, sentence = (text[name].astype(jnp.float32) for name in ("words", "sentence"))
        words, sentence = adapter.apply({"params": params["adapter"]}, words, sentence)
        return Reading(words, text["words_mask"], sentence)

    entries = {
        "words": jax.ShapeDtypeStruct((length, model.width), chosen.stored),
        "words_mask": jax.ShapeDtypeStruct((length,), jnp.bool_),
        "sentence": jax.ShapeDtypeStruct((model.sentence_width,), chosen.stored),
    }
    return Reader(chosen.width, entries, init, read)


def _tuned(chosen: captions.Language, model, length: int, **dtype) -> Reader:
    adapter, network = LanguageAdapter(chosen.width, **dtype), model.module.clone(**dtype)
    depth = len({path.split("/")[0] for path in flat(model.params) if re.match(r"block_\d+/", path)})
    configs.require(0 <= chosen.tuned_layers <= depth, "text.tuned_layers", chosen.tuned_layers,
                    f"0 to {depth}, the layers that {chosen.encoder!r} has")

    def init(key: Array) -> dict:
        words, sentence = jnp.zeros((1, length, model.width)), jnp.zeros((1, model.sentence_width))
        return {"adapter": adapter.init(keys.named(key, "text"), words, sentence)["params"],
                "model": jax.tree.map(jnp.asarray, model.params)}

    def read(params: dict, text: dict) -> Reading:
        words, sentence = network.apply({"params": params["model"]}, text["tokens"], text["mask"])
        words, sentence = adapter.apply({"params": params["adapter"]}, words, sentence)
        return Reading(words, text["mask"], sentence)

    last = tuple(f"text/model/block_{number}" for number in range(depth - chosen.tuned_layers, depth))
    return Reader(chosen.width, _tokens(length), init, read, ("text/adapter",), last)


def _tokens(length: int) -> dict[str, jax.ShapeDtypeStruct]:
    return {"tokens": jax.ShapeDtypeStruct((length,), jnp.int32), "mask": jax.ShapeDtypeStruct((length,), jnp.bool_)}
