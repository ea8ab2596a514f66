"""A system is players taking turns: what training, sampling and evaluation need to know of a model.

Each module of this package is one system: `build(config, tokenizer) -> System`, found by its name. A new system is one
file here and one config; nothing else changes. Modules whose names begin with "_" are stages that several systems share.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

from t2i_jax import config as configs
from t2i_jax import optimizer
from t2i_jax.errors import UserError
from t2i_jax.paths import below
from t2i_jax.pretrained import captions


class Made(NamedTuple):
    """What one forward pass gives to all turns of a step."""

    arrays: Any  # of Stage.makes, from the parameters before the first turn
    pull: Callable[[Any], tuple[dict]]  # gradient by `arrays` -> that by the parameters {path: array} of phases that pull


class Turn(NamedTuple):
    """All that a loss may read."""

    params: dict  # {player: parameters}
    aux: dict  # not trained: running statistics, codebook, latent scale
    ema: dict  # {"params": ..., "aux": ...}, the averaged part of either
    batch: dict  # arrays, leading axis = global batch; images float in [-1, 1]
    keys: Array  # one per global example, folded with step and phase: [B]
    images: Array  # images seen so far, float32 scalar, for schedules
    made: Made | None = None


class Phase(NamedTuple):
    """One player's turn in every step."""

    name: str
    trains: Callable[[str], bool]  # parameter path ("text/block_5/kernel") -> trained here; all else is constant
    loss: Callable[[Turn], tuple[Array, tuple[dict, dict]]]  # -> (scalar, (new aux entries, {term: scalar}))
    optimizer: str  # a key of System.optimizers
    writes: tuple[str, ...] = ()  # aux entries it may replace
    every: int = 1  # runs on every n-th step
    accumulate: int = 1  # micro-batches whose gradients are averaged before one update
    whole_batch: bool = False  # the loss compares examples with each other: never accumulated
    pulls: bool = False  # what it trains also made `turn.made`: the loss's gradient by its arrays is pulled back


class Stage(NamedTuple):
    """A period of training."""

    name: str
    images: int  # how long; a multiple of batch size x scan length
    phases: tuple[Phase, ...]  # in order, all inside one compiled step
    enter: Callable[[Any, dict], Any] | None = None  # (state, fixed sample batch) -> state: fits a PCA start, a latent
    # scale, copies averages; pure, its result saved right after
    makes: Callable[[Turn], Any] | None = None  # -> arrays that all turns of a step share, computed once
    keeps: Callable[[dict, dict, Array], dict] | None = None  # (params, aux, images [N, H, W, C]) -> entries [N, ...] of a batch
    # that a picture alone decides while the stage lasts: computed once for each, and left out of data too large for that


class Codec(NamedTuple):
    """Pictures as latents and back, where a system draws by way of latents."""

    encode: Callable[[dict, dict, Array], Array]  # (params, aux, images [B, H, W, C]) -> latents [B, size], without noise
    decode: Callable[[dict, dict, Array], Array]  # (params, aux, latents [B, size]) -> images [B, H, W, C] in [-1, 1]
    size: int


class System(NamedTuple):
    """The whole model as players, turns and a way to draw."""

    init: Callable[[Array], tuple[dict, dict]]  # key -> params, aux
    stages: tuple[Stage, ...]
    optimizers: Mapping[str, optax.GradientTransformationExtraArgs]  # updates read `images`
    ema: Mapping[str, float]  # {path prefix: half-life in images}; matching aux entries are averaged with it
    encode: Callable[[list[str]], dict]  # captions -> host arrays [B, ...], the same as a batch's text entries
    generate: Callable[..., Array] | None  # (params, aux, text arrays, keys [B], **options) -> images [B, H, W, C] in
    # [-1, 1], with option return_steps=True partial ones before it: [B, S, H, W, C]; None: a system that draws nothing
    image_shape: tuple[int, int, int]  # H, W, C of the pictures it draws or sees
    options: Mapping[str, float | int | bool] = {}  # that `generate` takes, with their defaults: a float is an input of the
    # compiled drawing, a whole number or a truth value is compiled into it
    blends: bool = False  # whether `generate` takes sums of prompts, see `_reading.Reader.read`
    codec: Codec | None = None  # what its reconstructions are judged by


def precision(config: ConfigDict) -> jnp.dtype | None:
    """What activations are computed in: `config.dtype`, None for float32. Raises UserError for any other."""
    configs.require(config.dtype in ("float32", "bfloat16"), "dtype", config.dtype, "float32, bfloat16")
    return jnp.bfloat16 if config.dtype == "bfloat16" else None


def optimizers_of(config: ConfigDict, stages: Sequence[Stage]) -> dict[str, optax.GradientTransformationExtraArgs]:
    """`config.optimizers` by the names that phases give; schedules begin with the first stage that uses them.

    Some arrays have one of their own beside that of their phase, see `_own`. Raises UserError where one is missing or does not
    fit.
    """
    found, begin = {}, 0
    for stage in stages:
        for name in (phase.optimizer for phase in stage.phases):
            if name not in config.optimizers:
                raise UserError(f"config: optimizers.{name} is missing")
            if name not in found:
                found[name] = optimizer.build(config.optimizers[name], begin)
                for own, *paths in _own(config, name):
                    found[name] = optimizer.apart(found[name], optimizer.build(config.optimizers[own], begin), below(*paths))
        begin += stage.images
    return found


def _own(config: ConfigDict, name: str) -> list[tuple[str, ...]]:
    """(entry of `config.optimizers`, paths) of what a phase with optimizer `name` trains by others.

    A language model that is tuned; and where there are such entries, "refinement", what refines an autoencoder's pictures, because
    its linear code is right from the start and moves slowly, and "choosing", what noise adds to sentences in imitation.
    """
    own = {("autoencoder", "refinement"): ["autoencoder/refinement"],
           ("imitation", "choosing"): ["generator/choosing", "generator/chosen"]}
    found = [(entry, *paths) for (phase, entry), paths in own.items() if phase == name and entry in config.optimizers]
    tuned = name != "text" and captions.kind_of(config) == captions.TUNED
    return [("text", "text/model")] * tuned + found


def names() -> list[str]:
    """Names of the systems that exist."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def build(config: ConfigDict, tokenizer: Any) -> System:
    """The system `config.system`, built from its config; raises UserError where the config does not fit it.

    tokenizer: makes the text entries of a batch (`data.pipeline.Text`); None will do to look at an own encoder's system.
    """
    if config.system not in names():
        raise UserError(f"config: system = {config.system!r} is unknown; accepted: {', '.join(names())}")
    return importlib.import_module(f"{__name__}.{config.system}").build(config, tokenizer)
