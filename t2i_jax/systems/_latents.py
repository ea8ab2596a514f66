"""A latent space to play in: the first stage of `latent_gan`, and how its latents are read afterwards.

    stage 1, autoencoder   E, D_ae minimise  |x - x̂|² + w₁ |x - x̂| + α KL(q(z|x) ‖ N(0, I)) + w_adv L_G(patches of x̂)
                           patches minimises L_D(x, x̂) + γ/2 R1                      (its gradient reaches the autoencoder late)
    then                   z = (E(x) - μ) / s on averaged autoencoder weights, which no longer move
    picture = D_ae(s z + μ), its flat areas smoothed where the config says so

A latent is one vector, each dimension of which has its own μ and s, or a map, whose channels have them.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from ml_collections import ConfigDict

from t2i_jax import config as configs
from t2i_jax import keys
from t2i_jax.models.autoencoders import Autoencoder, start_as_pca
from t2i_jax.models.conv_autoencoder import ConvAutoencoder
from t2i_jax.models.discriminators import PatchDiscriminator
from t2i_jax.models.refined_autoencoder import RefinedAutoencoder
from t2i_jax.models.smoothing import flatten
from t2i_jax.objectives import adversarial, diagnostics, penalty, variational
from t2i_jax.objectives.augment import cut_mix, mirror
from t2i_jax.objectives.precision import at_least_float32
from t2i_jax.objectives.reconstruction import GREY_LEVEL, smooth_absolute
from t2i_jax.paths import below
from t2i_jax.systems import Codec, Phase, Stage, Turn

KEPT = "latent"  # entry of a batch
VARIED = 2  # times that pictures are also mixed and mirrored for the principal components that a refined autoencoder starts as


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoencoderLosses:
    """Those entries of a config section `losses` that belong to the autoencoder."""

    l1: float = 0.1  # of reconstructions, beside the mean square
    kl: float = 3e-6  # summed over the latent
    patch: float = 0.0  # adversarial weight of reconstructions; 0 = no patch discriminator's turn
    patch_gamma: float = 1.0
    patch_start: int = 0  # images after which it reaches the autoencoder
    cut_mix: float = 0.5  # share of training pictures with a rectangle from another, autoencoder only
    mirror: bool = True  # half of the pictures, autoencoder only


@dataclasses.dataclass(frozen=True)
class Space:
    """The config section `latents`."""

    whitening: float = 0.5  # 0: one scale for all dimensions (of a map: channels), 1: each to unit variance
    flatten: float = 0.0  # differences, in grey levels, that pictures drawn from latents lose in flat areas; training sees them


class Latents(NamedTuple):
    """The stage, and the space it leaves behind."""

    shape: tuple[int, ...]  # of a latent: (Z,), or of a map (H, W, C)
    init: Callable[[Array], tuple[dict, dict]]  # key -> players "autoencoder" and "patches", aux "latent"
    phases: tuple[Phase, ...]  # of the stage
    start: Callable | None  # (state, sample) -> state: before it, as principal components where the autoencoder has them
    freeze: Callable  # (state, sample) -> state: after it, averaged weights and the latents' scale
    keep: Callable[[dict, dict, Array], dict]  # what `Stage.keeps` is of those that follow
    of: Callable[[Turn], Array]  # latents [B, *shape] of a turn's pictures, scaled
    miss: Callable[..., Array]  # (turn, real, made, corner=0) -> how far latents are apart, see there
    draw: Callable[[dict, dict, Array], Array]  # (params, aux, scaled latents) -> images [B, H, W, C] in [-1, 1]
    codec: Codec

    def before(self, images: int, *stages: Stage) -> tuple[Stage, ...]:
        """`stages` that play in the space, after that of the autoencoder, which takes so many images; those of 0 left out.

        The first of them freezes the latents, whether the autoencoder was trained here or came with --init-from; all keep those
        of every picture.
        """
        playing = [stage._replace(keeps=self.keep) for stage in stages if stage.images]
        if playing:
            playing[0] = playing[0]._replace(enter=self.freeze)
        own = [Stage("autoencoder", images, self.phases, self.start)] if images else []
        return (*own, *playing)


def build(config: ConfigDict, shape: tuple[int, int, int], losses: AutoencoderLosses, **dtype) -> Latents:
    """From the config sections autoencoder, patches, latents. Raises UserError where one does not fit."""
    space = configs.section(config, "latents", Space)
    configs.require(space.flatten >= 0, "latents.flatten", space.flatten, "0 or more")
    kinds = {"linear": Autoencoder, "refined": RefinedAutoencoder, "convolutional": ConvAutoencoder}
    autoencoder = configs.choice(config, "autoencoder", kinds, image_shape=shape, **dtype)
    configs.require(shape[0] % autoencoder.factor == 0, "data.resolution", shape[0],
                    f"a multiple of the {autoencoder.factor} pixels that the autoencoder takes as one")
    patches = configs.section(config, "patches", PatchDiscriminator)
    size = autoencoder.latent_shape[-1]

    def init(key: Array) -> tuple[dict, dict]:
        image = jnp.zeros((1, *shape))
        params = {name: net.init(keys.named(key, name), image)["params"]
                  for name, net in (("autoencoder", autoencoder), ("patches", patches))}
        return params, {"latent": {"mean": jnp.zeros(size), "scale": jnp.ones(size), "energy": jnp.ones(())}}

    def encode(params: dict, images: Array) -> tuple[Array, Array]:
        return autoencoder.apply({"params": params["autoencoder"]}, images, method="encode")

    def wide(statistic: Array) -> Array:
        """A latent's statistic beside latents [B, *shape]."""
        return jnp.expand_dims(statistic, range(len(autoencoder.latent_shape)))

    def decode(params: dict, z: Array) -> Array:
        return autoencoder.apply({"params": params["autoencoder"]}, z, method="decode")

    def finished(images: Array) -> Array:
        """What is shown of decoded `images`."""
        images = jnp.clip(at_least_float32(images), -1, 1)
        return flatten(images, space.flatten * GREY_LEVEL) if space.flatten else images

    def varied(images: Array, example_keys: Array, mirrored: bool) -> Array:
        if mirrored:
            images = mirror(images, keys.named(example_keys, "mirror"))
        return cut_mix(images, keys.named(example_keys, "cut mix"), losses.cut_mix) if losses.cut_mix else images

    def pictures(turn: Turn) -> Array:
        return varied(turn.batch["image"], turn.keys, losses.mirror)

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

    def start(state, sample: dict):
        params, images = state.params["autoencoder"], sample["image"]
        if isinstance(autoencoder, RefinedAutoencoder):  # which moves its linear code but little afterwards
            draws = [keys.per_example(keys.named(state.key, f"varied {draw}"), len(images)) for draw in range(VARIED)]
            images = jnp.concatenate([images, *(varied(images, draw, mirrored=True) for draw in draws)])
        fitted = start_as_pca(params, images, keys.named(state.key, "pca"))
        average = jax.tree.map(jnp.copy, fitted)
        return dataclasses.replace(
            state,
            params=state.params | {"autoencoder": fitted},
            ema=state.ema | {"params": state.ema["params"] | {"autoencoder": average}},
        )

    def freeze(state, sample: dict):
        averaged = jax.tree.map(jnp.copy, state.ema["params"]["autoencoder"])
        params = state.params | {"autoencoder": averaged}
        z = at_least_float32(encode(params, sample["image"])[0])
        everywhere = tuple(range(z.ndim - 1))  # examples, and places of a map
        deviation = jnp.maximum(z.std(axis=everywhere), 1e-3 * z.std())  # directions that no picture uses stay finite
        scale = deviation**space.whitening
        scale *= jnp.sqrt(jnp.mean((deviation / scale) ** 2))  # mean square 1 over the dimensions together
        mean = z.mean(axis=everywhere)
        energy = jnp.sum(jnp.mean((z - wide(mean)) ** 2, axis=0))
        latent = {"mean": mean, "scale": scale, "energy": energy}
        return dataclasses.replace(state, params=params, aux=state.aux | {"latent": latent})

    def keep(params: dict, aux: dict, images: Array) -> dict:
        mean = at_least_float32(encode(params, images)[0])
        return {KEPT: (mean - wide(aux["latent"]["mean"])) / wide(aux["latent"]["scale"])}

    def of(turn: Turn) -> Array:
        return (turn.batch if KEPT in turn.batch else keep(turn.params, turn.aux, turn.batch["image"]))[KEPT]

    def miss(turn: Turn, real: Array, made: Array, corner: float = 0.0) -> Array:
        """Mean over examples of the squared distance d² as a share of the latents' variance, or of √(d² + corner²)."""
        squares = ((real - made) * wide(turn.aux["latent"]["scale"])) ** 2
        squared = jnp.sum(squares, axis=tuple(range(1, squares.ndim))) / turn.aux["latent"]["energy"]
        return jnp.mean(jnp.sqrt(squared + corner**2) if corner else squared)

    def draw(params: dict, aux: dict, z: Array) -> Array:
        return finished(decode(params, z * wide(aux["latent"]["scale"]) + wide(aux["latent"]["mean"])))

    phase = lambda name, loss: Phase(name, below(name), loss, name, whole_batch=True)
    first = [phase("patches", patches_loss)] if losses.patch else []
    flat = lambda z: z.reshape(len(z), -1)
    return Latents(
        autoencoder.latent_shape, init, (*first, phase("autoencoder", autoencoder_loss)),
        None if isinstance(autoencoder, ConvAutoencoder) else start, freeze, keep, of, miss, draw,
        Codec(
            encode=lambda params, aux, images: flat(at_least_float32(encode(params, images)[0])),
            decode=lambda params, aux, z: finished(decode(params, z.reshape(-1, *autoencoder.latent_shape))),
            size=math.prod(autoencoder.latent_shape),
        ),
    )
