"""Open prompts on the card: every row's draws judged, summed up in figures, listed in full, some pictures kept."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from t2i_jax.data.attributes import Attribute, open_prompts_of
from t2i_jax.evaluation import open_prompts
from t2i_jax.evaluation.attributes import Reader, legible
from t2i_jax.evaluation.baselines import Baseline, Captioned, real
from t2i_jax.evaluation.figures import Ledger, rounded
from t2i_jax.evaluation.groups import captions_sha256
from t2i_jax.evaluation.measures import Space

GROUP = "open prompts"
DRAWS = 200
SHOWN = 16  # draws of each prompt kept for the page


def judge(
    ledger: Ledger, shown: list[dict[str, Any]], rows: Sequence[Baseline], space: Space, train: Captioned,
    features: np.ndarray, attributes: Sequence[Attribute], readers: dict[str, Reader], source: str, seed: int,
    weights: dict[str, str | None], asked: Sequence[tuple[str, ...]],
) -> list[dict[str, Any]]:
    """Judge every row's draws of the prompts that leave something open; the verdicts, prompt by prompt, JSON-able.

    features: of the real training pictures. Beside the rows stands `real`: real pictures drawn with replacement, what a
    perfect sampler does. weights: {row: which of the model's weights drew it}. asked: of each training picture the
    captions that prompts are chosen from.
    """
    always = open_prompts_of(source)
    values = legible(attributes, readers, train.images, train.captions)
    prompts = open_prompts.open_prompts(asked, values, always=always)
    if not prompts:
        return []
    perfect = real(train)
    verdicts: dict[str, list[open_prompts.Verdict]] = {}
    for prompt in prompts:
        members = np.array(prompt.pictures)
        known = open_prompts.Pictures(train.images[members], features[members])
        pictures = {}
        for row in (perfect, *rows):
            drawn = row.draw([prompt.prompt] * DRAWS, seed)
            seen = open_prompts.Pictures(drawn, space.features(drawn))
            verdict = open_prompts.judge(prompt, known, seen, readers, seed)
            verdicts.setdefault(row.name, []).append(verdict)
            pictures[row.name] = drawn[:SHOWN]
        shown.append({"prompt": prompt.prompt, "pictures": pictures})
    captions = captions_sha256(prompt.prompt for prompt in prompts)
    for row, found in verdicts.items():
        for figure, value in summary(found).items():
            ledger.add(
                GROUP, row, figure, value, network=space.about, real=sum(verdict.pictures for verdict in found),
                generated=0 if row == "real" else DRAWS * len(found), reference="train", training=len(train.images),
                weights=weights.get(row), captions_sha256=captions,
                settings={"prompts": len(found), "draws": DRAWS, "slack": open_prompts.SLACK,
                          "diversity": open_prompts.DIVERSITY, "repeats": open_prompts.REPEATS},
            )
    return [{"prompt": prompt.prompt, "pictures": len(prompt.pictures),
             "rows": {row: described(found[number]) for row, found in verdicts.items()}}
            for number, prompt in enumerate(prompts)]


def summary(verdicts: Sequence[open_prompts.Verdict]) -> dict[str, float]:
    """One row's verdicts in four figures."""
    frequencies = [found for verdict in verdicts for found in verdict.frequencies]
    ratios = [verdict.diversity for verdict in verdicts if np.isfinite(verdict.diversity)]
    figures = {
        "open_passed": np.mean([found.passed for found in frequencies]),
        "open_excess": np.median([found.total_variation - found.limit for found in frequencies]),
    }
    if ratios:
        figures["open_diverse"] = np.mean([ratio >= open_prompts.DIVERSITY for ratio in ratios])
        figures["open_diversity"] = np.median(ratios)
    return figures


def described(verdict: open_prompts.Verdict) -> dict[str, Any]:
    """A verdict as JSON-able values."""
    shares = lambda found: {value: rounded(share) for value, share in found.items()}
    return {
        "passed": verdict.passed,
        "diversity": rounded(verdict.diversity) if np.isfinite(verdict.diversity) else None,
        "attributes": [
            {"attribute": found.attribute, "data": shares(found.data), "drawn": shares(found.drawn),
             "total_variation": rounded(found.total_variation), "limit": rounded(found.limit), "passed": found.passed}
            for found in verdict.frequencies
        ],
    }
