"""Several systems on the same data side by side: the same prompts, figures of their cards, what they cost."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from t2i_jax.data.attributes import open_prompts_of
from t2i_jax.data.prepared import Prepared
from t2i_jax.evaluation.figures import KINDS, kind, label, written
from t2i_jax.evaluation.groups import groups

FORMAT = 1
PER_GROUP = 4  # prompts of each group of captions
OPEN = 4  # prompts that many pictures share
DRAWS = 4  # of each prompt
OPEN_PROMPTS = "open prompts"
FIGURES = {"r_precision": "R", "frechet": "FD"}  # of every group, in the table of all systems: what they are called
BASELINES = ("ridge", "copy")  # that are the same whatever system stands beside them


class Prompt(NamedTuple):
    """What every system draws."""

    group: str
    text: str
    real: np.ndarray  # uint8 [N, H, W, C], pictures of this caption: one, or up to DRAWS of an open prompt


class Entry(NamedTuple):
    """One system as it is compared."""

    name: str
    config: str  # where it comes from, "configs/dcgan.py:small"
    system: str
    card: dict[str, Any]
    parameters_drawing: int
    parameters: int
    images_per_second: float  # of training
    milliseconds: float  # per drawn picture


class Line(NamedTuple):
    """One figure over all systems."""

    label: str
    better: str
    cells: dict[str, dict[str, Any]]  # {column: its figure}
    best: frozenset[str]  # the best systems


def prompts(data: Mapping[str, Prepared], seed: int) -> list[Prompt]:
    """A fixed choice from the data {split: prepared}: the most detailed captions of PER_GROUP pictures of each group,
    and OPEN captions that several training pictures share: those named for the source, then the most common ones."""
    found = [Prompt(group.name, text, picture[None]) for group in groups(data, PER_GROUP, seed)
             for text, picture in zip(group.prompts, group.images, strict=True)]
    train = data["train"]
    shared = Counter(text for row in train.words for text in dict.fromkeys(row["captions"]))
    common = sorted((text for text, count in shared.items() if count > 1), key=lambda text: (-shared[text], text))
    named = [text for text in open_prompts_of(train.info["source"]) if shared[text] > 1]
    for text in list(dict.fromkeys([*named, *common]))[:OPEN]:
        index = [i for i, row in enumerate(train.words) if text in row["captions"]]
        found.append(Prompt(OPEN_PROMPTS, text, train.images(index[:: max(1, len(index) // DRAWS)][:DRAWS])))
    return found


def tables(entries: Sequence[Entry]) -> list[tuple[str, list[str], list[Line]]]:
    """(group, columns, lines) for each group of the cards: real pictures, every system's pictures, and baselines."""
    cells: dict[str, dict[tuple[str, str], dict[str, dict[str, Any]]]] = {}
    for number, entry in enumerate(entries):
        rows = {"model": entry.name} | ({} if number else {row: row for row in ("real", *BASELINES)})
        for figure in entry.card["figures"]:
            if figure["row"] in rows:
                lines = cells.setdefault(figure["group"], {})
                lines.setdefault((figure["figure"], figure["network"]), {})[rows[figure["row"]]] = figure
    names = [entry.name for entry in entries]
    found = []
    for group, lines in cells.items():
        order = sorted(lines, key=lambda line: list(KINDS).index(line[0].split("/")[0]))
        made = [Line(label(*line), kind(line[0]).better, lines[line], _best(line[0], lines[line], names))
                for line in order]
        columns = ["real", *names, *BASELINES]
        found.append((group, [column for column in columns if any(column in line.cells for line in made)], made))
    return found


def _best(figure: str, cells: dict[str, dict[str, Any]], names: Sequence[str]) -> frozenset[str]:
    """The systems whose figure is best; none where only one has it."""
    values = {name: cells[name]["value"] for name in names if name in cells}
    if len(values) < 2:
        return frozenset()
    match kind(figure).better:
        case "higher":
            loss = lambda value: -value
        case "lower":
            loss = lambda value: value
        case _:
            real = cells.get("real", {"value": 1.0})["value"]
            loss = lambda value: abs(value - real)
    least = min(map(loss, values.values()))
    return frozenset(name for name, value in values.items() if loss(value) == least)


def summary(entries: Sequence[Entry]) -> list[list[str]]:
    """The table of all systems as rows of text, its head first: R-precision (R) and Fréchet distance (FD) of every
    group, parameters, speed."""
    first = entries[0].card
    columns = [(group, figure) for group in first["groups"] for figure in FIGURES]
    columns = [column for column in columns if any(column in _figures(entry.card, "model") for entry in entries)]
    head = ["", *(f"{FIGURES[figure]} {group.removeprefix('heldout_')}" for group, figure in columns),
            "parameters that draw / all", "training, images/s", "drawing, ms/picture"]
    row = lambda name, found: [name, *(written(found.get(column)) for column in columns)]
    lines = [head, [*row("real pictures", _figures(first, "real")), "", "", ""]]
    for entry in entries:
        lines.append([*row(entry.name, _figures(entry.card, "model")),
                      f"{millions(entry.parameters_drawing)} / {millions(entry.parameters)}",
                      f"{entry.images_per_second:,.0f}", f"{entry.milliseconds:.3g}"])
    lines += [[*row(f"{name} (baseline)", _figures(first, name)), "", "", ""] for name in BASELINES]
    return lines


def _figures(card: dict[str, Any], row: str) -> dict[tuple[str, str], dict[str, Any]]:
    return {(entry["group"], entry["figure"]): entry for entry in card["figures"]
            if entry["row"] == row and entry["network"] == "evaluator"}


def millions(count: int) -> str:
    """1234567 as "1.23 M"."""
    return f"{count / 1e6:.3g} M"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text, head first, as a Markdown table."""
    lines = [f"| {' | '.join(text.replace('|', '/') for text in row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def to_values(entries: Sequence[Entry], asked: Sequence[Prompt], settings: dict[str, Any]) -> dict[str, Any]:
    """The comparison as JSON-able values; timings, which alone differ from call to call, stand by themselves."""
    first = entries[0].card
    return {
        "format": FORMAT,
        "settings": settings,
        "data": first["data"],
        "evaluator": first["evaluator"],
        "prompts": [{"group": prompt.group, "prompt": prompt.text} for prompt in asked],
        "real": [figure for figure in first["figures"] if figure["row"] == "real"],
        "systems": [
            {"name": entry.name, "system": entry.system, "config": entry.config, "model": entry.card["model"],
             "parameters": {"drawing": entry.parameters_drawing, "all": entry.parameters},
             "figures": [figure for figure in entry.card["figures"] if figure["row"] == "model"]}
            for entry in entries
        ],
        "timings": {entry.name: {"training_images_per_second": round(entry.images_per_second, 1),
                                 "milliseconds_per_picture": round(entry.milliseconds, 3)} for entry in entries},
    }
