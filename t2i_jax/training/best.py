"""The checkpoint that is best by one figure of evaluation, `run.best`; `best.json` in the work directory names it."""

import json
import math
from pathlib import Path

from t2i_jax.errors import UserError

EXAMPLE = "lowest evaluation/frechet"


def check(wanted: str) -> None:
    """Raise UserError unless `wanted` reads "lowest FIGURE" or "highest FIGURE"; "" asks for none."""
    direction, _, figure = wanted.partition(" ")
    if wanted and (direction not in ("lowest", "highest") or not figure.startswith("evaluation/")):
        raise UserError(
            f"config: run.best = {wanted!r} is unknown; accepted: 'lowest evaluation/...' (distances), 'highest "
            f"evaluation/...' (shares, scores), for example {EXAMPLE!r}, or '' for none"
        )


def better(wanted: str, images: int, figures: dict[str, float], so_far: dict | None) -> dict | None:
    """{"images", "figure", "value"} of the best checkpoint: `so_far`, or `figures` at `images` where they beat it.

    Ties go to the earlier one. `so_far` by another figure does not count. Raises UserError where `figures` lack the one
    that `wanted` names.
    """
    if not wanted:
        return None
    direction, _, figure = wanted.partition(" ")
    if figure not in figures:
        accepted = ", ".join(sorted(figures))
        raise UserError(f"config: run.best names {figure!r}, which is not evaluated; accepted: {accepted}")
    value = float(figures[figure])
    sign = 1 if direction == "lowest" else -1
    if so_far is not None and so_far["figure"] != wanted:
        so_far = None
    if not math.isfinite(value) or so_far is not None and sign * value >= sign * so_far["value"]:
        return so_far
    return {"images": images, "figure": wanted, "value": value}


def best_checkpoint(workdir: Path) -> Path:
    """The directory of the best checkpoint of a run. Raises UserError where none was chosen."""
    try:
        images = json.loads((workdir / "best.json").read_text(encoding="utf-8"))["images"]
    except OSError as error:
        raise UserError(
            f"workdir: {workdir} names no best checkpoint; train with --config.run.evaluate_every=IMAGES and "
            f"--config.run.best='{EXAMPLE}'"
        ) from error
    return workdir / "checkpoints" / f"{images:012d}"
