"""What `t2i data prepare` did, for people and programs."""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image


@dataclass
class Report:
    """Counts per split, and each picture that was dropped or repaired with the reason."""

    source: str
    counts: dict[str, int] = field(default_factory=dict)
    captions: dict[str, int] = field(default_factory=dict)
    dropped: list[dict[str, str]] = field(default_factory=list)  # {"name", "split", "reason"}
    notes: list[dict[str, str]] = field(default_factory=list)  # {"name", "split", "note"}
    near_duplicates: list[dict] = field(default_factory=list)  # {"first", "second", "splits", "bits"}
    near_duplicate_count: int = 0
    seconds: float = 0.0

    def drop(self, name: str, split: str, reason: str) -> None:
        self.dropped.append({"name": name, "split": split, "reason": reason})

    def note(self, name: str, split: str, note: str) -> None:
        self.notes.append({"name": name, "split": split, "note": note})

    def near(self, first, second, bits: int) -> None:
        """Lists two pictures (with a name and a split) that look the same."""
        self.near_duplicates.append({"first": first.name, "second": second.name, "splits": [first.split, second.split],
                                     "bits": bits})

    def markdown(self) -> str:
        """The report as a page to read: every dropped and repaired picture is on it."""
        crossing = sum(pair["splits"][0] != pair["splits"][1] for pair in self.near_duplicates)
        lines = [f"# Prepared from {self.source}", "", "| split | pictures | captions |", "|---|---|---|"]
        lines += [f"| {split} | {count} | {self.captions[split]} |" for split, count in self.counts.items()]
        lines += ["", f"{len(self.dropped)} dropped, {len(self.notes)} notes, {self.near_duplicate_count} pairs of "
                  f"near duplicates, {crossing} of the {len(self.near_duplicates)} nearest across splits.", ""]
        for title, rows, key in (("Dropped", self.dropped, "reason"), ("Repaired or noted", self.notes, "note")):
            if rows:
                totals = Counter(row[key].partition(":")[0] for row in rows).most_common()
                lines += [f"## {title}", "", *(f"- {count} × {reason}" for reason, count in totals), ""]
                lines += [f"- `{_clean(row['name'])}` ({row['split']}): {row[key]}" for row in rows] + [""]
        if self.near_duplicates:
            lines += ["## Near duplicates, nearest first", ""]
            lines += [f"- `{_clean(pair['first'])}` ({pair['splits'][0]}) and `{_clean(pair['second'])}` "
                      f"({pair['splits'][1]}): {pair['bits']} bits apart" for pair in self.near_duplicates]
        return "\n".join(lines).rstrip() + "\n"

    def write(self, directory: Path) -> None:
        """Writes report.json and report.md; both are the same bytes for the same data."""
        content = {key: value for key, value in asdict(self).items() if key != "seconds"}
        (directory / "report.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        (directory / "report.md").write_text(self.markdown(), encoding="utf-8")


def _clean(name: str) -> str:
    return name.encode("utf-8", "replace").decode()


def contact_sheet(pictures: np.ndarray, columns: int = 16, gap: int = 2) -> Image.Image:
    """Pictures uint8 [N, H, W, C] side by side on grey, row by row."""
    count, height, width, channels = pictures.shape
    rows = -(-count // columns)
    sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, channels), 128, np.uint8)
    for index, picture in enumerate(pictures):
        top, left = gap + index // columns * (height + gap), gap + index % columns * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return Image.fromarray(sheet[..., 0] if channels == 1 else sheet)
