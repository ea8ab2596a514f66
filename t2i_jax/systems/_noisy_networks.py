"""The networks that play `noisy_ar`, from its config; also for what measures a trained run's discriminator and detector."""

from typing import NamedTuple

from ml_collections import ConfigDict

from t2i_jax import config as configs
from t2i_jax.models.discriminators import SummedDiscriminator
from t2i_jax.models.encoders import ConvEmbedder
from t2i_jax.models.masked_tokens import MaskedTokenTransformer
from t2i_jax.systems import _image_tokens, _reading, precision
from t2i_jax.systems._image_tokens import ImageTokens
from t2i_jax.systems._noisy_steps import NoisySteps, Order
from t2i_jax.systems._reading import Reader


class Networks(NamedTuple):
    """The players' networks."""

    tokens: ImageTokens
    text: Reader
    steps: NoisySteps
    discriminator: SummedDiscriminator
    detector: ConvEmbedder  # one number a picture: the logit of q, "attacked"


def build(config: ConfigDict) -> Networks:
    """The networks of a config with data and sections tokenizer, codebook, text, generator, steps, discriminator,
    detector. Raises UserError where a section does not fit.
    """
    data, dtype = config.data, {"dtype": precision(config)}
    tokens = _image_tokens.build(config, **dtype)
    text = _reading.build(config, **dtype)
    generator = configs.section(config, "generator", MaskedTokenTransformer, vocabulary=tokens.codebook.size, **dtype)
    configs.require(generator.width % generator.heads == 0, "generator.heads", generator.heads,
                    f"a divisor of generator.width = {generator.width}")
    order = configs.section(config, "steps", Order)
    configs.require(order.order in ("raster", "scattered"), "steps.order", order.order, "raster, scattered")
    configs.require(order.noise > 0, "steps.noise", order.noise, "1 or more dimensions")
    discriminator = configs.section(config, "discriminator", SummedDiscriminator, **dtype)
    detector = configs.section(config, "detector", ConvEmbedder, embedding=1, **dtype)
    return Networks(tokens, text, NoisySteps(generator, tokens.network.grid, order), discriminator, detector)
