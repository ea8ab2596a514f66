"""A small checkpoint of format 1, kept for ever: this and every later version must load it and draw the same pictures.

Made by `t2i train --config configs/quickstart.py:tiny` with widths of 8, vocabulary 300 and one noise dimension.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import t2i_jax
from t2i_jax.training.checkpoint import Damaged

KEPT = Path(__file__).parent / "format-1"


def test_it_loads_and_draws_what_it_drew():
    drawn = [np.asarray(picture, int) for picture in t2i_jax.load(KEPT)("red heart", num_images=3, seed=0)]
    expected = np.asarray(Image.open(KEPT.with_name("format-1-red-heart.png")), int)
    assert np.abs(np.concatenate(drawn, axis=1) - expected).max() <= 1  # a grey level: other machines round otherwise


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damage_is_refused_by_name(damage, tmp_path):
    shutil.copytree(KEPT, tmp_path / "copy")
    written = [file for file in sorted((tmp_path / "copy").rglob("*")) if file.is_file() and file.name != "COMMITTED"]
    for file in written:
        content = file.read_bytes()
        if not content and damage != "remove":
            continue  # Orbax's empty marks have no bit to flip
        match damage:
            case "flip":
                file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
            case "truncate":
                file.write_bytes(content[:-1])
            case "remove":
                file.unlink()
        with pytest.raises(Damaged, match=file.name):
            t2i_jax.load(tmp_path / "copy")
        file.write_bytes(content)
    t2i_jax.load(tmp_path / "copy")
