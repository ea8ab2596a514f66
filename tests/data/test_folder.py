import json

import pytest

from data.conftest import picture
from t2i_jax.data.sources import open_source
from t2i_jax.errors import UserError


def put(folder, *names):
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(number, (8, 8)).save(folder / name)


def captions(folder, **options):
    with open_source("folder", str(folder), **{"heldout_fraction": 0.0} | options) as source:
        return {example.name: example.captions for example in source.examples()}


def problems(folder):
    with open_source("folder", str(folder)) as source:
        return dict(source.problems)


def test_metadata_jsonl_with_repeated_rows_lists_and_mistakes(tmp_path):
    put(tmp_path, "a.png", "b/c.png", "d.png")
    rows = [{"file_name": "a.png", "text": "one"}, {"file_name": "a.png", "text": ["two", "three"]},
            {"file_name": "b/c.png", "text": "只猫"}, {"file_name": "no.png", "text": "x"}, {"text": "y"},
            {"file_name": "../a.png", "text": "z"}]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n{broken\n", encoding="utf-8")
    assert captions(tmp_path) == {"a.png": ("one", "two", "three"), "b/c.png": ("只猫",)}
    assert problems(tmp_path) == {
        "no.png": "captioned, but no such file", "metadata.jsonl line 5": "needs file_name and text",
        "../a.png": "lies outside the data folder", "metadata.jsonl line 7": "not JSON", "d.png": "no caption"}


def test_metadata_csv_keeps_bytes_that_are_not_utf8(tmp_path):
    put(tmp_path, "a.png", "b.png")
    (tmp_path / "metadata.csv").write_bytes(b'\xef\xbb\xbffile_name,text\na.png,"a, b"\nb.png,caf\xe9\n')
    assert captions(tmp_path) == {"a.png": ("a, b",), "b.png": ("caf\udce9",)}


def test_coco(tmp_path):
    put(tmp_path, "train2017/1.jpg", "train2017/2.jpg")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/instances.json").write_text('{"images": [], "annotations": []}')
    (tmp_path / "annotations/z_captions.json").write_text(json.dumps({
        "images": [{"id": 1, "file_name": "1.jpg"}, {"id": 2, "file_name": "2.jpg"}],
        "annotations": [{"image_id": 1, "caption": "a"}, {"image_id": 2, "caption": "b"},
                        {"image_id": 1, "caption": "c"}]}))
    assert captions(tmp_path) == {"train2017/1.jpg": ("a", "c"), "train2017/2.jpg": ("b",)}


def test_damaged_coco_is_one_clear_line(tmp_path):
    put(tmp_path, "1.jpg")
    (tmp_path / "captions.json").write_text('{"images": [{"id": 1}], "annotations": []}')
    with pytest.raises(UserError, match="captions.json is not a COCO captions file"):
        captions(tmp_path)


def test_sidecars_and_classes(tmp_path):
    put(tmp_path, "x/a.png", "tabby_cat/b.png")
    assert captions(tmp_path, template="a {}, drawn") == {"tabby_cat/b.png": ("a tabby cat, drawn",),
                                                          "x/a.png": ("a x, drawn",)}
    (tmp_path / "x/a.txt").write_text("first line\n\nsecond\n")
    assert captions(tmp_path) == {"x/a.png": ("first line", "second")}
    assert problems(tmp_path) == {"tabby_cat/b.png": "no caption"}


def test_held_out_by_subfolder_and_by_hash(tmp_path):
    put(tmp_path, "train/cat/a.png", "test/cat/a.png")
    with open_source("folder", str(tmp_path)) as source:
        assert [(e.name, e.split) for e in source.examples()] == [("train/cat/a.png", "train"),
                                                                  ("test/cat/a.png", "heldout")]
    many = tmp_path / "many"
    put(many, *(f"cat/{number}.png" for number in range(100)))

    def heldout():
        with open_source("folder", str(many), heldout_fraction=0.2) as source:
            return {example.name for example in source.examples() if example.split == "heldout"}

    before = heldout()
    assert 5 < len(before) < 40
    put(many, "cat/another.png")
    assert heldout() - {"cat/another.png"} == before


@pytest.mark.parametrize("make, message", [
    (lambda root: None, "does not exist"),
    (lambda root: root.write_text("x"), "is not a directory"),
    (lambda root: root.mkdir(), "holds no pictures"),
    (lambda root: put(root, "a.png"), "1 pictures but no captions"),
    (lambda root: (put(root, "a.png"), (root / "metadata.jsonl").write_text(""), None), "1 pictures but no captions"),
])
def test_unusable_folders_are_refused_in_one_line(tmp_path, make, message):
    make(tmp_path / "data")
    with pytest.raises(UserError, match=message) as caught:
        captions(tmp_path / "data")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["nothing", "tfds:", "folder", "openmoji:x"])
def test_unknown_sources_are_refused(name):
    with pytest.raises(UserError, match="unknown data source|needs a path"):
        open_source(name)
