"""Going on: what may change between two calls of the same command, weights without their optimizers, warm starts."""

import dataclasses
import fnmatch
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
from jax.sharding import SingleDeviceSharding
from ml_collections import ConfigDict

from t2i_jax import config as configs
from t2i_jax import systems
from t2i_jax.errors import UserError
from t2i_jax.paths import flat, merge
from t2i_jax.pretrained import captions
from t2i_jax.systems import System
from t2i_jax.training.checkpoint import Run, load_state, newest_good
from t2i_jax.training.state import State, create

RESUMABLE = ("run.*", "losses.*", "optimizers.*.learning_rate", "optimizers.*.clip")


def reconcile(old: Run, config: ConfigDict) -> list[dict]:
    """The run's amendments so far and those that `config` makes now: [{"images", "key", "old", "new"}].

    Raises UserError where a key differs that would make it another run.
    """
    changed = configs.differences(configs.from_json(old.config), config)
    fixed = [key for key in changed if not any(fnmatch.fnmatch(key, pattern) for pattern in RESUMABLE)]
    if fixed:
        key = fixed[0]
        more = f" (and {len(fixed) - 1} more keys)" if len(fixed) > 1 else ""
        raise UserError(
            f"workdir: it holds a run with {key} = {changed[key][0]!r}, now {changed[key][1]!r}{more}; use another "
            f"--workdir, or the old value (a run may change only {', '.join(RESUMABLE)})"
        )
    now = [{"images": old.about["images"], "key": key, "old": a, "new": b} for key, (a, b) in changed.items()]
    return old.about.get("amendments", []) + now


def with_rollbacks(old: Run, config: ConfigDict) -> ConfigDict:
    """`config` as asked for, with the values that rollbacks of the run put in place of the same requests before.

    A key that is asked for with another value than when the run was rolled back gets that value.
    """
    asked = {}  # {key: the value that stood before the rollbacks since a person last amended it}
    for amendment in old.about.get("amendments", []):
        if "rollback" in amendment:
            asked.setdefault(amendment["key"], amendment["old"])
        else:
            asked.pop(amendment["key"], None)
    now, then = configs.flatten(config), configs.flatten(configs.from_json(old.config))
    config = config.copy_and_resolve_references()
    config.update_from_flattened_dict({key: then[key] for key, value in asked.items() if now.get(key) == value})
    return config


class Weights(NamedTuple):
    """What a checkpoint's model draws with, on one device; optimizer states stay on disk."""

    system: System
    params: dict
    aux: dict
    ema: dict
    run: Run


def load_weights(workdir: Path) -> Weights:
    """The newest whole checkpoint below `workdir` (or `workdir` itself, if it is one).

    Raises UserError where there is none, or it does not load.
    """
    if not workdir.exists():
        raise UserError(f"workdir: {workdir} does not exist; train one with t2i train --config ... --workdir {workdir}")
    found = newest_good(workdir)
    if found is None:
        raise UserError(f"workdir: {workdir} holds no checkpoint yet; t2i train saves the first before its first step")
    path, run = found
    config = configs.from_json(run.config)
    system = systems.build(config, captions.of_run(config, run.tokenizer, path.absolute().parents[1]))
    abstract = jax.eval_shape(lambda key: create(system, key), jax.random.key(0))
    here = SingleDeviceSharding(jax.local_devices()[0])
    placed = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), abstract)
    wanted = {name: getattr(placed, name) for name in ("params", "aux", "ema")}
    return Weights(system, **load_state(path, wanted, part=True), run=run)


def warm_start(source: Path) -> Callable[[State], State]:
    """State -> State with the parameters of the run in `source` wherever path and shape agree, averages included.

    Says on stderr which arrays were taken and which did not fit. Raises UserError where `source` holds no checkpoint.
    """
    theirs = load_weights(source)

    def take(state: State) -> State:
        return dataclasses.replace(
            state,
            params=_fitting(state.params, theirs.params, f"{source}: parameters"),
            aux=_fitting(state.aux, theirs.aux, f"{source}: statistics"),
            ema={part: _fitting(state.ema[part], theirs.ema[part], f"{source}: averaged {part}") for part in state.ema},
        )

    return take


def _fitting(mine: dict, theirs: dict, what: str) -> dict:
    mine_flat, theirs_flat = flat(mine), flat(theirs)
    taken = {
        path: array.astype(mine_flat[path].dtype)
        for path, array in theirs_flat.items()
        if path in mine_flat and mine_flat[path].shape == array.shape
    }
    print(f"t2i: --init-from {what}: took {len(taken)} of {len(mine_flat)} arrays", file=sys.stderr)
    for path in sorted({*mine_flat, *theirs_flat} - {*taken}):
        there, here = (tuple(tree[path].shape) if path in tree else "absent" for tree in (theirs_flat, mine_flat))
        print(f"t2i:   did not fit: {path} (there {there}, here {here})", file=sys.stderr)
    return merge(mine, taken)
