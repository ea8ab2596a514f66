"""Optimizers by name, whose schedules count images seen rather than steps, so that the batch size may change."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from jax import Array

from t2i_jax.errors import UserError


FIELDS = ("name", "learning_rate", "b1", "b2", "eps", "weight_decay", "clip", "warmup_images", "decay", "decay_start",
          "decay_end", "final")


def build(config: Mapping, begin: float = 0) -> optax.GradientTransformationExtraArgs:
    """The optimizer a config describes; its `update(gradients, state, params, images=...)` takes the images seen.

    begin: the images at which its stage starts; warm-up and decay are counted from there.

    config fields:
        name: "sgd", "momentum" (b1), "adam" (Kingma & Ba 2015) or "adamw" (Loshchilov & Hutter 2019); "sgd" with as many
            pictures in a batch as there are is full-batch gradient descent: every step sees each of them once
        learning_rate: its largest value, after warm-up and before decay
        b1, b2, eps: averaging of the gradient and of its square, and what is added to the root
        b2_final: optional; b2 moves there along the decay, as in R3GAN (Huang et al. 2024, appendix)
        weight_decay: for "adamw", decoupled, of arrays with two or more axes (biases and gains are spared)
        clip: the largest global gradient norm, 0 = off
        warmup_images: the learning rate rises linearly from 0 over so many
        decay: "constant" or "cosine", from decay_start to decay_end images
        final: the learning rate after the decay, as a fraction of learning_rate

    Raises UserError for an unknown or missing field, an unknown name or decay, a decay that ends before it starts, and for
    weight_decay without "adamw".
    """
    unknown, missing = {*config} - {*FIELDS, "b2_final"}, {*FIELDS} - {*config}
    if unknown or missing:
        what = f"unknown: {', '.join(sorted(unknown))}" if unknown else f"missing: {', '.join(sorted(missing))}"
        raise UserError(f"optimizer fields {what}; it takes {', '.join(FIELDS)} and, if wanted, b2_final")
    if config["weight_decay"] and config["name"] != "adamw":
        raise UserError(f"optimizer weight_decay works with 'adamw' only, not {config['name']!r}; set it to 0")
    schedule(config, 0.0)  # a wrong schedule should be found when it is built
    match config["name"]:
        case "sgd":
            direction = optax.identity()
        case "momentum":
            direction = optax.trace(config["b1"])
        case "adam":
            direction = _scale_by_adam(config, begin)
        case "adamw":
            decayed = optax.add_decayed_weights(config["weight_decay"], mask=_matrices)
            direction = optax.chain(_scale_by_adam(config, begin), decayed)
        case name:
            raise UserError(f"optimizer name {name!r} is unknown; use one of: sgd, momentum, adam, adamw")
    clip = optax.clip_by_global_norm(config["clip"]) if config["clip"] else optax.identity()
    return optax.chain(clip, direction, _scale_by_learning_rate(config, begin))


def apart(most: optax.GradientTransformationExtraArgs, own: optax.GradientTransformationExtraArgs,
          is_own: Callable[[str], bool]) -> optax.GradientTransformationExtraArgs:
    """Two optimizers of one turn, each with its own clipping and state: `own` for the paths of {path: array} that `is_own`."""
    label = lambda params: {path: "own" if is_own(path) else "most" for path in params}
    return optax.partition({"own": own, "most": most}, label)


def schedule(config: Mapping, images: Array | float) -> Array:
    """The learning rate, a float scalar, `images` after the stage began; config as in `build`."""
    warmup = jnp.clip(images / config["warmup_images"], 0, 1) if config["warmup_images"] else 1.0
    remaining = _remaining(config, images)
    return config["learning_rate"] * warmup * (config["final"] + (1 - config["final"]) * remaining)


def ema_decay(half_life_images: float, batch_size: int) -> float:
    """What one step of `batch_size` images keeps of an average, so that half is left after `half_life_images` > 0."""
    return 0.5 ** (batch_size / half_life_images)


def cosine(images: Array | float, start: float, end: float) -> Array:
    """1 up to `start` images, 0 from `end` on, half a cosine between."""
    progress = jnp.clip((images - start) / (end - start), 0, 1)
    return (1 + jnp.cos(jnp.pi * progress)) / 2


def _remaining(config: Mapping, images: Array | float) -> Array | float:
    match config["decay"]:
        case "constant":
            return 1.0
        case "cosine":
            if config["decay_end"] <= config["decay_start"]:
                window = f"decay_end ({config['decay_end']}) must be larger than decay_start ({config['decay_start']})"
                raise UserError(f"optimizer {window}")
            return cosine(images, config["decay_start"], config["decay_end"])
        case other:
            raise UserError(f"optimizer decay {other!r} is unknown; use one of: constant, cosine")


def _matrices(params):
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def _scale_by_adam(config: Mapping, begin: float) -> optax.GradientTransformationExtraArgs:
    """optax's Adam with b2 a function of images; the state, moments and their count, does not depend on it."""
    b1, b2, eps = config["b1"], config["b2"], config["eps"]
    b2_final = config.get("b2_final", b2)

    def update(gradients, state, params=None, *, images, **_):
        now = b2_final + (b2 - b2_final) * _remaining(config, images - begin)
        return optax.scale_by_adam(b1, now, eps).update(gradients, state, params)

    return optax.GradientTransformationExtraArgs(optax.scale_by_adam(b1, b2, eps).init, update)


def _scale_by_learning_rate(config: Mapping, begin: float) -> optax.GradientTransformationExtraArgs:
    def update(gradients, state, params=None, *, images, **_):
        rate = schedule(config, images - begin)
        return jax.tree.map(lambda gradient: (-rate * gradient).astype(gradient.dtype), gradients), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
