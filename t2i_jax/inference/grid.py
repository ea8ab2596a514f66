"""Picture grids: columns under their captions, enlarged so that small pictures can be judged by eye."""

import textwrap
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

SIDE = 128  # pixels of one enlarged cell
MARGIN = 6
LINES = 3  # of caption above a column


def grid(columns: Sequence[tuple[str, Sequence[Image.Image]]], per_row: int = 8) -> Image.Image:
    """One RGB picture: `per_row` columns side by side, then the next row; a column is a caption over its pictures.

    Small pictures are enlarged by whole factors without smoothing, so that every pixel drawn can be seen.
    """
    font = ImageFont.load_default(12)
    text_height = LINES * 14 if any(caption for caption, _ in columns) else 0
    depth = max(len(pictures) for _, pictures in columns)
    width, height = SIDE + MARGIN, text_height + depth * (SIDE + MARGIN)
    rows = -(-len(columns) // per_row)
    page = Image.new("RGB", (min(per_row, len(columns)) * width + MARGIN, rows * height + MARGIN), "white")
    write = ImageDraw.Draw(page)
    for number, (caption, pictures) in enumerate(columns):
        left, top = MARGIN + number % per_row * width, MARGIN + number // per_row * height
        lines = textwrap.wrap(caption, 21, max_lines=LINES, placeholder="…")
        write.text((left, top), "\n".join(lines), fill="black", font=font, spacing=2)
        for row, picture in enumerate(pictures):
            page.paste(enlarge(picture), (left, top + text_height + row * (SIDE + MARGIN)))
    return page


def enlarge(picture: Image.Image) -> Image.Image:
    """The picture in RGB at SIDE pixels: by a whole factor where that fits, centred; larger ones are reduced."""
    picture = picture.convert("RGB")
    factor = SIDE // max(picture.size)
    if factor == 0:
        return picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    cell = Image.new("RGB", (SIDE, SIDE), "white")
    larger = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    cell.paste(larger, ((SIDE - larger.width) // 2, (SIDE - larger.height) // 2))
    return cell
