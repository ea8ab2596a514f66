"""Two cards side by side, where they were made under one protocol."""

import json
from pathlib import Path
from typing import Any

from t2i_jax.config import flatten
from t2i_jax.errors import UserError
from t2i_jax.evaluation.figures import OF_MODELS, kind, label, written

Key = tuple[str, str, str, str]  # group, network, figure, row


def read(path: str | Path) -> dict[str, Any]:
    """The card in a file, or in DIR/evaluation/card.json or DIR/card.json. UserError where there is none."""
    path = Path(path)
    places = [path] if path.is_file() else [path / "evaluation" / "card.json", path / "card.json"]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise UserError(f"--compare: no card in {path}; make one with t2i evaluate --workdir {path}")
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
        by_key(card)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"--compare: {file} is not an evaluation card, or a damaged one; make it again") from error
    return card


def by_key(card: dict[str, Any]) -> dict[Key, tuple[dict[str, Any], dict[str, Any]]]:
    """{what it is a figure of: (figure, its protocol)}."""
    key = lambda entry: (entry["group"], entry["network"], entry["figure"], entry["row"])
    return {key(entry): (entry, card["protocols"][entry["protocol"]]) for entry in card["figures"]}


def compare(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Lines that set the figures of two cards side by side, with their difference; the better one is marked.

    Raises UserError, naming the fields, where a figure of both was made under different protocols, and where they have
    no figure in common.
    """
    if a["format"] != b["format"]:
        raise UserError(f"--compare: the cards have formats {a['format']} and {b['format']}; make the older one again")
    ours, theirs = by_key(a), by_key(b)
    common = [key for key in ours if key in theirs]
    fields = {}
    for key in common:
        for name, values in differing(ours[key][1], theirs[key][1]).items():
            fields.setdefault(name, values)
    if fields:
        named = "; ".join(f"{name}: {first!r} and {second!r}" for name, (first, second) in sorted(fields.items()))
        raise UserError(f"--compare: the cards were made under different protocols, so their figures mean different "
                        f"things ({named}); make both with the same evaluator, data and options")
    if not common:
        raise UserError("--compare: the cards have no figure in common; evaluate both on the same splits")
    lines = [f"A: {a['model']['name']}", f"B: {b['model']['name']}"]
    group = None
    for key in common:
        if key[0] != group:
            group = key[0]
            lines += ["", f"{group:<58}{'A':>17}{'B':>17}{'B - A':>12}  better"]
        lines.append(_line(key, ours[key][0], theirs[key][0]))
    alone = len(ours) + len(theirs) - 2 * len(common)
    return lines + ([f"\n{alone} figures stand on one card only"] if alone else [])


def differing(a: dict[str, Any], b: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """{field: its values} over the fields in which two protocols differ; fields of parts are written "network.size"."""
    flat_a, flat_b = flatten(a), flatten(b)
    return {name: (flat_a.get(name), flat_b.get(name)) for name in sorted({*flat_a, *flat_b})
            if flat_a.get(name) != flat_b.get(name)}


def _line(key: Key, a: dict[str, Any], b: dict[str, Any]) -> str:
    _, network, figure, row = key
    difference = b["value"] - a["value"]
    better = {"higher": "AB"[difference > 0], "lower": "AB"[difference < 0]}.get(kind(figure).better, "")
    mark = better if difference and row in OF_MODELS else ""
    columns = f"{written(a):>17}{written(b):>17}{difference:>+12.4g}"
    return f"  {label(figure, network):<40}{row:<16}{columns}  {mark}".rstrip()
