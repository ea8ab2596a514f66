"""Going back: a run that diverged goes on from its last healthy checkpoint with amended values, on record."""

from pathlib import Path

from ml_collections import ConfigDict

from t2i_jax import config as configs
from t2i_jax.training.checkpoint import committed, healthy, newest_good, remove
from t2i_jax.training.loop import Options


def roll_back(
    workdir: Path, config: ConfigDict, options: Options, amendments: list[dict], why: str
) -> tuple[ConfigDict, list[dict]] | None:
    """(config, amendments) with which `loop.train` goes on after it raised Diverged, or None where it may not.

    Checkpoints after the last healthy one are deleted. Every learning rate is multiplied by
    `run.rollback_learning_rate`, losses.gamma and losses.gamma_final, where they exist, by `run.rollback_gamma`; each
    change becomes an amendment {"images", "key", "old", "new", "rollback": its number, "why"}. None after
    `run.rollbacks` of them, and where there is nothing to go back to or to change. Killed before the next checkpoint,
    the run diverges and is rolled back again alike.
    """
    number = max((amendment.get("rollback", 0) for amendment in amendments), default=0) + 1
    changes = changed(config, options)
    if number > options.rollbacks or not changes or not _forget_unhealthy(workdir):
        return None
    _, run = newest_good(workdir)
    values = configs.flatten(config)
    made = [
        {"images": run.about["images"], "key": key, "old": values[key], "new": new, "rollback": number, "why": why}
        for key, new in changes.items()
    ]
    config = config.copy_and_resolve_references()
    config.update_from_flattened_dict(changes)
    return config, amendments + made


def changed(config: ConfigDict, options: Options) -> dict[str, float]:
    """{key: value} that one rollback gives to the keys it changes."""
    factors = {f"optimizers.{name}.learning_rate": options.rollback_learning_rate for name in config.optimizers}
    gammas = [name for name in ("gamma", "gamma_final") if name in config.get("losses", {})]
    factors |= {f"losses.{name}": options.rollback_gamma for name in gammas}
    values = configs.flatten(config)
    return {key: values[key] * factor for key, factor in factors.items() if factor != 1}


def _forget_unhealthy(workdir: Path) -> bool:
    """Delete checkpoints newer than the last healthy one; False, and nothing is deleted, where there is none."""
    paths = committed(workdir / "checkpoints")
    well = [path for path in paths if healthy(path)]
    for path in reversed(paths):
        if well and path > well[-1]:
            remove(path)
    return bool(well)
