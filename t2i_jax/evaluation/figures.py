"""The figures of a card: what each is called, which way is better, and the protocol it was made under."""

import hashlib
import json
from typing import Any, NamedTuple


OURS = ("evaluator", "pixels")  # what looks at pictures unless another network is named
ROWS = ("real", "reconstructions", "sampler", "model", "ridge", "regression", "copy", "pca")  # side by side
OF_MODELS = ("reconstructions", "model")  # rows by which models are compared


class Kind(NamedTuple):
    """One kind of figure."""

    label: str
    better: str  # "lower", "higher", or "real" where nearer to the real pictures' figure is better
    meaning: str
    scale: int = 1  # people read the figure times this


KINDS = {
    "frechet": Kind("Fréchet distance", "lower", "between Gaussians fitted to features of real and drawn pictures "
                    "(Heusel et al. 2017); grows as pictures get fewer, so compare equal numbers only"),
    "kernel": Kind("Kernel distance × 1000", "lower", "unbiased squared maximum mean discrepancy, polynomial kernel of "
                   "degree 3 (Bińkowski et al. 2018), mean and deviation over subsets", 1000),
    "precision": Kind("Precision", "higher", "share of drawn pictures within reach of a real one (Kynkäänniemi 2019)"),
    "recall": Kind("Recall", "higher", "share of real pictures within reach of a drawn one (Kynkäänniemi 2019)"),
    "density": Kind("Density", "higher", "how many real pictures reach a drawn one, 1 where real ones stand in for it "
                    "(Naeem 2020)"),
    "coverage": Kind("Coverage", "higher", "share of real pictures that have a drawn one near (Naeem 2020)"),
    "diversity": Kind("Per-prompt diversity", "real", "mean distance of the features of pictures drawn for one general "
                      "caption, as many as there are real ones"),
    "r_precision": Kind("R-precision", "higher", "share of pictures nearer to their own caption than to 99 wrong ones"),
    "r_precision_below_real": Kind("… below the ceiling", "lower", "R-precision of the real pictures less this one's, "
                                   "with the half-width of its paired 95 % bootstrap interval"),
    "similarity": Kind("Image-text similarity", "higher", "mean cosine of a picture and its caption"),
    "accuracy": Kind("Accuracy", "higher", "share of pictures off which the value is read that the caption says, of "
                     "captions that say one"),
    "psnr": Kind("PSNR, dB", "higher", "peak signal-to-noise ratio against the picture itself, mean over pictures"),
    "ssim": Kind("SSIM", "higher", "structural similarity to the picture itself, mean over pictures"),
    "near_copies": Kind("Near-copies", "real", "share of pictures that almost equal a training picture, by pixels"),
    "nearest_pixels": Kind("Nearest training picture, pixels", "real", "median root mean square difference, as a share "
                           "of the range of values"),
    "nearest_features": Kind("Nearest training picture, features", "real", "median distance of features"),
    "open_passed": Kind("Prompts drawn like the data", "higher", "share of open attributes whose total variation "
                        "distance from the data is at most 0.1 above the 95th percentile of a perfect sampler's"),
    "open_excess": Kind("Total variation above perfect", "lower", "median over open attributes of the total variation "
                        "distance less a perfect sampler's 95th percentile"),
    "open_diversity": Kind("Diversity of open prompts", "real", "median over prompts of the draws' diversity as a "
                           "share of the real pictures'"),
    "open_diverse": Kind("Prompts diverse enough", "higher", "share of open prompts whose diversity is at least 70 % "
                         "of the real pictures'"),
}


def kind(figure: str) -> Kind:
    """The kind of a figure's name; "accuracy/gender" is an accuracy, of gender."""
    name, _, of = figure.partition("/")
    found = KINDS[name]
    return found._replace(label=f"{found.label}: {of}") if of else found


class Ledger:
    """Figures with their protocols, each protocol kept once under a hash of its content."""

    def __init__(self, **common: Any):
        """common: what every protocol of the card states."""
        self._common = common
        self.figures: list[dict[str, Any]] = []
        self.protocols: dict[str, dict[str, Any]] = {}

    def add(self, group: str, row: str, figure: str, value: float, error: float | None = None, **protocol: Any) -> None:
        """One figure of a group's row; `error` is a deviation or half-width where there is one."""
        protocol = self._common | protocol
        name = hashlib.sha256(json.dumps(protocol, sort_keys=True).encode()).hexdigest()[:8]
        self.protocols[name] = protocol
        entry = {"group": group, "network": protocol["network"]["name"], "figure": figure, "row": row,
                 "value": rounded(value)}
        if error is not None:
            entry["error"] = rounded(error)
        self.figures.append(entry | {"protocol": name})


def rounded(value: float) -> float:
    """Six significant digits: what a card keeps of a number."""
    return float(f"{float(value):.6g}")


class Table(NamedTuple):
    """A group's figures side by side."""

    group: str
    rows: list[str]  # in the order of the card: real first
    lines: list[tuple[str, str, dict[str, dict[str, Any]]]]  # (label, which way is better, {row: its figure})


def tables(card: dict[str, Any]) -> list[Table]:
    """The card's figures as one table for each group, in the card's order."""
    found: dict[str, dict[tuple[str, str], dict[str, dict[str, Any]]]] = {}
    for entry in card["figures"]:
        lines = found.setdefault(entry["group"], {})
        lines.setdefault((entry["figure"], entry["network"]), {})[entry["row"]] = entry
    result = []
    for group, lines in found.items():
        rows = list(dict.fromkeys(row for cells in lines.values() for row in cells))
        rows.sort(key=lambda row: ROWS.index(row))
        place = lambda line: (line[1] not in OURS, list(KINDS).index(line[0].split("/")[0]))
        order = sorted(lines, key=place)
        labelled = [(label(*line), kind(line[0]).better, lines[line]) for line in order]
        result.append(Table(group, rows, labelled))
    return result


def label(figure: str, network: str) -> str:
    """What a figure is called where people read it; published networks are named."""
    return kind(figure).label if network in OURS else f"{kind(figure).label} ({network})"


def written(entry: dict[str, Any] | None) -> str:
    """A figure as people read it, a dash where there is none."""
    if entry is None:
        return "–"
    scale = kind(entry["figure"]).scale
    error = f" ± {entry['error'] * scale:.2g}" if "error" in entry else ""
    return digits(entry["value"] * scale) + error


def digits(value: float) -> str:
    """Three decimals of what is near 1, one of what is large, three digits of what is small."""
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.3f}" if abs(value) >= 0.1 or value == 0 else f"{value:.3g}"


def terminal_lines(card: dict[str, Any]) -> list[str]:
    """The card for a terminal: for each group one line per figure, its rows side by side."""
    lines = []
    for table in tables(card):
        count = card["groups"].get(table.group)
        title = f"{table.group} ({count} pictures)" if count else table.group
        lines += ["", f"{title:<42}" + "".join(f"{row:>19}" for row in table.rows)]
        lines += [f"  {name:<40}" + "".join(f"{written(cells.get(row)):>19}" for row in table.rows)
                  for name, _, cells in table.lines]
    return lines
