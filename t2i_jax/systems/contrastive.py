"""`contrastive`: an image encoder and a caption encoder that learn which picture belongs to which caption.

    one stage, one phase: both minimise InfoNCE(image(a(x)), text(t)) at a learnt temperature   (Radford et al. 2021)
    a(x): x shifted a little and with noise, so that slight blur or speckle does not hide what a picture shows

It draws nothing: evaluation measures pictures with it. It shares no network with the systems that draw.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from ml_collections import ConfigDict

from t2i_jax import config as configs
from t2i_jax import keys
from t2i_jax.models.contrastive import CaptionEncoder, ImageEncoder
from t2i_jax.objectives import alignment
from t2i_jax.paths import below
from t2i_jax.systems import Phase, Stage, System, Turn, optimizers_of

NAME = "contrastive"
LARGEST_SCALE = 100.0  # of cosines; its inverse is the smallest temperature, as in CLIP (section 2.5)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """The config section `augmentation`."""

    shift: int = 2  # pixels either way, along both sides
    noise: float = 0.3  # largest deviation of pixel noise; each picture draws its own below


@dataclasses.dataclass(frozen=True)
class Lengths:
    """The config section `stages`, in images."""

    contrastive: int


class Networks(NamedTuple):
    """The two encoders."""

    image: ImageEncoder
    text: CaptionEncoder


def networks(config: ConfigDict) -> Networks:
    """The encoders of a config with sections data, image, text. Raises UserError where a section does not fit."""
    size = {"embedding": config.embedding}
    text = configs.section(config, "text", CaptionEncoder, vocabulary=config.data.vocabulary, **size)
    configs.require(text.width % text.heads == 0, "text.heads", text.heads, f"a divisor of text.width = {text.width}")
    image = configs.section(config, "image", ImageEncoder, **size)
    configs.require(image.grid > 0, "image.grid", image.grid, "1 or more")
    return Networks(image, text)


def build(config: ConfigDict, tokenizer) -> System:
    """The system of a config with sections data, image, text, augmentation, stages, optimizers.

    Raises UserError where a section does not fit.
    """
    data = config.data
    shape = (data.resolution, data.resolution, data.channels)
    configs.require(data.resolution % 2 == 0, "data.resolution", data.resolution, "an even number")
    nets = networks(config)
    augmentation = configs.section(config, "augmentation", Augmentation)
    configs.require(0 <= augmentation.shift < data.resolution, "augmentation.shift", augmentation.shift,
                    f"0 to {data.resolution - 1} pixels")
    configs.require(augmentation.noise >= 0, "augmentation.noise", augmentation.noise, "0 or more")
    lengths = configs.section(config, "stages", Lengths)

    def init(key: Array) -> tuple[dict, dict]:
        image, tokens = jnp.zeros((1, *shape)), jnp.zeros((1, data.text_length), jnp.int32)
        return {
            "image": nets.image.init(keys.named(key, "image"), image)["params"],
            "text": nets.text.init(keys.named(key, "text"), tokens, tokens == 0)["params"],
            "temperature": {"logit": jnp.log(jnp.asarray(0.1 / 0.9))},  # starts at 10 of 100
        }, {}

    def loss(turn: Turn):
        images = speckled(shifted(turn.batch["image"], turn.keys, augmentation.shift), turn.keys, augmentation.noise)
        image = nets.image.apply({"params": turn.params["image"]}, images)
        text = nets.text.apply({"params": turn.params["text"]}, turn.batch["tokens"], turn.batch["mask"])
        temperature = 1 / scale(turn.params["temperature"]["logit"])
        right = alignment.right_pairs(turn.batch["caption"], turn.batch["captions"])
        value = alignment.info_nce(image, text, temperature, right)
        return value, ({}, {"temperature": temperature})

    phase = Phase("encoders", lambda path: True, loss, "encoders", whole_batch=True)
    stages = (Stage("contrastive", lengths.contrastive, (phase,)),)
    return System(
        init=init,
        stages=stages,
        optimizers=optimizers_of(config, stages),
        ema={},  # the learning rate's decay does what an average would
        encode=lambda captions: tokenizer.arrays(captions, data.text_length),
        generate=None,
        image_shape=shape,
    )


def scale(logit: Array) -> Array:
    """What cosines are multiplied with: 0 to LARGEST_SCALE, smooth, so that it can always come back from a bound."""
    return LARGEST_SCALE * jax.nn.sigmoid(logit)


def shifted(images: Array, example_keys: Array, most: int) -> Array:
    """Images [B, H, W, C] moved by up to `most` pixels along either side, edges continued; by keys [B]."""
    padded = jnp.pad(images, ((0, 0), (most, most), (most, most), (0, 0)), mode="edge")

    def one(image: Array, key: Array) -> Array:
        down, right = jax.random.randint(key, (2,), 0, 2 * most + 1)
        return jax.lax.dynamic_slice(image, (down, right, 0), images.shape[1:])

    return jax.vmap(one)(padded, keys.named(example_keys, "shift"))


def speckled(images: Array, example_keys: Array, most: float) -> Array:
    """Images [B, H, W, C] with normal noise of a deviation drawn evenly from 0 to `most`; by keys [B]."""
    deviation = most * jax.vmap(jax.random.uniform)(keys.named(example_keys, "deviation"))
    noise = keys.normal(keys.named(example_keys, "noise"), images.shape[1:])
    return images + deviation[:, None, None, None] * noise
