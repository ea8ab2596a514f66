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


class Turn(NamedTuple):
    """All that a loss may read."""

    params: dict  # {player: parameters}
    aux: dict  # not trained: running statistics, codebook, latent scale
    ema: dict  # {"params": ..., "aux": ...}, the averaged part of either
    batch: dict  # arrays, leading axis = global batch; images float in [-1, 1]
    keys: Array  # one per global example, folded with step and phase: [B]
    images: Array  # images seen so far, float32 scalar, for schedules


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


class Stage(NamedTuple):
    """A period of training."""

    name: str
    images: int  # how long; a multiple of batch size x scan length
    phases: tuple[Phase, ...]  # in order, all inside one compiled step
    enter: Callable[[Any, dict], Any] | None = None  # (state, fixed sample batch) -> state: fits a PCA start, a latent
    # scale, copies averages; pure, its result saved right after


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
    codec: Codec | None = None  # what its reconstructions are judged by


def precision(config: ConfigDict) -> jnp.dtype | None:
    """What activations are computed in: `config.dtype`, None for float32. Raises UserError for any other."""
    configs.require(config.dtype in ("float32", "bfloat16"), "dtype", config.dtype, "float32, bfloat16")
    return jnp.bfloat16 if config.dtype == "bfloat16" else None


def optimizers_of(config: ConfigDict, stages: Sequence[Stage]) -> dict[str, optax.GradientTransformationExtraArgs]:
    """`config.optimizers` by the names that phases give; schedules begin with the first stage that uses them.

    Raises UserError where one is missing or does not fit.
    """
    found, begin = {}, 0
    for stage in stages:
        for name in (phase.optimizer for phase in stage.phases):
            if name not in config.optimizers:
                raise UserError(f"config: optimizers.{name} is missing")
            found.setdefault(name, optimizer.build(config.optimizers[name], begin))
        begin += stage.images
    return found


def names() -> list[str]:
    """Names of the systems that exist."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def build(config: ConfigDict, tokenizer: Any) -> System:
    """The system `config.system`, built from its config; raises UserError where the config does not fit it."""
    if config.system not in names():
        raise UserError(f"config: system = {config.system!r} is unknown; accepted: {', '.join(names())}")
    return importlib.import_module(f"{__name__}.{config.system}").build(config, tokenizer)
