import json

import numpy as np
import pytest
from PIL import Image, ImageOps

from t2i_jax.data.prepared import Prepared, contents_fingerprint
from t2i_jax.errors import UserError


def test_pictures_captions_and_names_come_back(captioned, prepared_folder):
    data, heldout = Prepared(prepared_folder), Prepared(prepared_folder, "heldout")
    assert len(data) + len(heldout) == 20 and len(data) > len(heldout) > 0
    assert (data.resolution, data.channels) == (16, 3) and data.licence
    for index in (0, len(data) - 1):
        item = data[index]
        source = ImageOps.fit(Image.open(captioned / item["name"]), (16, 16), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(item["image"], np.asarray(source))
    assert data[0]["captions"] == data.words[0]["captions"] and isinstance(data[0]["captions"], tuple)
    assert data.captions() == [caption for index in range(len(data)) for caption in data[index]["captions"]]
    np.testing.assert_array_equal(data.images([3, 0, 3])[[0, 2]], np.stack([data[3]["image"]] * 2))
    with pytest.raises(IndexError):
        data[len(data)]


def _flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage, message", [
    (lambda root: (root / "info.json").unlink(), "no info.json"),
    (lambda root: (root / "info.json").write_text("{"), "info.json is damaged"),
    (lambda root: (root / "train.array_record").unlink(), "train.array_record is missing"),
    (lambda root: (root / "train.array_record").write_bytes(b"x"), "train.array_record is damaged"),
    (lambda root: _flip(root / "train.array_record", 500), "train.array_record is damaged"),
    (lambda root: (root / "train.jsonl").unlink(), "train.jsonl is missing"),
    (lambda root: _flip(root / "train.jsonl", 30), "train.jsonl is damaged"),
])
def test_damage_is_named(prepared_folder, damage, message):
    damage(prepared_folder)
    with pytest.raises(UserError, match=message):
        data = Prepared(prepared_folder)
        [data[index] for index in range(len(data))]


def test_other_formats_splits_and_places_are_refused(prepared_folder, tmp_path):
    with pytest.raises(UserError, match="no split 'test': it has train, heldout"):
        Prepared(prepared_folder, "test")
    with pytest.raises(UserError, match="does not exist: run t2i data prepare"):
        Prepared(tmp_path / "nowhere")
    info = json.loads((prepared_folder / "info.json").read_text())
    (prepared_folder / "info.json").write_text(json.dumps(info | {"format_version": 99}))
    with pytest.raises(UserError, match="format version 99, this program reads 1"):
        Prepared(prepared_folder)


def test_fingerprint_is_that_of_the_contents(prepared_folder):
    assert contents_fingerprint(prepared_folder) == Prepared(prepared_folder).fingerprint
