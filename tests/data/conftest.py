"""Small pictures and folders of them."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from t2i_jax.data.prepare import prepare
from t2i_jax.data.sources import open_source

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 60, 230), "grey": (128, 128, 128)}


def picture(seed: int, size: tuple[int, int] = (40, 32)) -> Image.Image:
    """A picture with structure at every scale, different for every seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    """A picture as a file's bytes."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def captioned(tmp_path):
    """A folder of 20 different pictures with one or two captions each."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rows = []
    for number in range(20):
        name = list(COLOURS)[number % 4]
        picture(number).save(folder / f"{number:02}.png")
        text = [f"{name} thing", f"{name} thing number {number}"] if number % 3 else f"{name} on the left"
        rows.append(json.dumps({"file_name": f"{number:02}.png", "text": text}))
    (folder / "metadata.jsonl").write_text("\n".join(rows))
    return folder


@pytest.fixture
def prepared_folder(captioned, tmp_path):
    """The folder `captioned` prepared at 16 pixels, a fifth or so held out."""
    with open_source("folder", str(captioned), heldout_fraction=0.2) as source:
        prepare(source, tmp_path / "prepared", resolution=16)
    return tmp_path / "prepared"
