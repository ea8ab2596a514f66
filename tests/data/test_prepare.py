import json
import shutil
from functools import partial

import numpy as np
import pytest
from PIL import Image

from data.conftest import encoded, picture
from t2i_jax.data.prepare import prepare
from t2i_jax.data.prepared import Prepared, contents_fingerprint
from t2i_jax.data.sources import Example, Source, open_source
from t2i_jax.errors import UserError


def source(*examples, problems=()):
    """A source of (name, bytes, captions, split)."""
    made = [Example(partial(bytes, content), captions, name, split, {}) for name, content, captions, split in examples]
    return Source("test", "free", len(made), partial(iter, made), problems)


def good(seed, split="train", caption="thing", **options):
    return f"{seed}.png", encoded(picture(seed), **options), (caption,), split


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_source_gives_the_same_bytes_whatever_the_threads(captioned, tmp_path):
    for name, threads in (("one", 1), ("four", 4)):
        with open_source("folder", str(captioned), heldout_fraction=0.2) as opened:
            prepare(opened, tmp_path / name, resolution=16, threads=threads)
    assert files(tmp_path / "one") == files(tmp_path / "four")
    assert set(files(tmp_path / "one")) == {"info.json", "report.json", "report.md", "contact_sheet.png", "train.jsonl",
                                            "train.array_record", "heldout.jsonl", "heldout.array_record"}


def test_fingerprint_follows_pictures_and_captions(tmp_path):
    def fingerprint(*examples, **options):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        prepare(source(*examples), tmp_path / "out", **{"resolution": 16} | options)
        return Prepared(tmp_path / "out").fingerprint

    base = fingerprint(good(0), good(1))
    assert base == fingerprint(good(0), good(1))
    different = [fingerprint(good(0), good(2)), fingerprint(good(1), good(0)),
                 fingerprint(good(0), good(1), channels=1), fingerprint(good(0), good(1, caption="x")),
                 fingerprint(good(0), good(1), denoise=True)]
    assert len({base, *different}) == 6


def test_everything_dropped_or_repaired_is_listed(tmp_path):
    bad = [("broken.png", encoded(picture(1))[:100], ("x",), "train"), ("text.png", b"hello", ("x",), "train"),
           ("silent.png", encoded(picture(2)), ("  ",), "train"),
           ("latin.png", encoded(picture(3)), ("\udce9",), "train")]
    jpeg = ("really.png", encoded(picture(4), "JPEG"), ("y", ""), "train")
    report = prepare(source(good(0), *bad, jpeg, problems=(("gone.png", "no such file"),)), tmp_path / "out",
                     resolution=16)
    assert report.counts == {"train": 2}
    reasons = {row["name"]: row["reason"] for row in report.dropped}
    assert set(reasons) == {"broken.png", "text.png", "silent.png", "latin.png", "gone.png"}
    assert [(row["name"], row["note"]) for row in report.notes] == [
        ("really.png", "wrong extension: content is JPEG"), ("really.png", "caption dropped: empty")]
    page = (tmp_path / "out/report.md").read_text()
    assert all(name in page for name in [*reasons, "really.png"])
    assert json.loads((tmp_path / "out/report.json").read_text())["dropped"] == report.dropped


def test_pictures_keep_the_order_of_the_source(tmp_path):
    prepare(source(*(good(number) for number in range(100))), tmp_path / "out", resolution=16, threads=3)
    assert [row["name"] for row in Prepared(tmp_path / "out").words] == [f"{number}.png" for number in range(100)]


def test_a_source_that_raises_does_not_stop_the_run(tmp_path):
    def vanished():
        raise FileNotFoundError(2, "gone")

    example = Example(vanished, ("x",), "gone.png", "train", {})
    opened = source(good(0))
    opened = opened._replace(examples=lambda: iter([example, *source(good(0)).examples()]), count=2)
    report = prepare(opened, tmp_path / "out", resolution=16)
    assert report.counts == {"train": 1} and "gone" in report.dropped[0]["reason"]


def spoken(*examples):
    """A source of (seed, captions, languages)."""
    made = [Example(partial(bytes, encoded(picture(seed))), captions, f"{number}.png", "train", {}, languages)
            for number, (seed, captions, languages) in enumerate(examples)]
    return Source("test", "free", len(made), partial(iter, made), ())


def test_languages_stay_with_their_captions_through_cleaning(tmp_path):
    prepare(spoken((0, ("cat", "  ", "a  cat", "猫", "dna"), ("en", "en", "en", "zh", "en zh")),
                   (1, ("一只猫",), ("zh",)), (2, ("dog",), ("en",))), tmp_path / "out", resolution=16)
    data = Prepared(tmp_path / "out")
    assert data.languages == ["en", "zh"] and data.words[0]["languages"] == ["en", "en", "zh", "en zh"]
    assert data.in_language("en") == [("cat", "a cat", "dna"), (), ("dog",)]
    assert data.in_language("zh") == [("猫", "dna"), ("一只猫",), ()]
    assert data.in_language("") == [("cat", "a cat", "猫", "dna"), ("一只猫",), ("dog",)]
    with pytest.raises(UserError, match="no caption of train in .* is known to be in 'de'; accepted: en, zh"):
        data.in_language("de")


def test_the_fingerprint_does_not_depend_on_whether_languages_are_known(tmp_path):
    for name, languages in (("told", ("en",)), ("untold", ())):
        prepare(spoken((0, ("cat",), languages)), tmp_path / name, resolution=16)
    told, untold = Prepared(tmp_path / "told"), Prepared(tmp_path / "untold")
    assert told.fingerprint == untold.fingerprint == contents_fingerprint(tmp_path / "told")
    assert "languages" not in untold.words[0]
    with pytest.raises(UserError, match="they do not say which languages they have"):
        untold.in_language("en")


def test_duplicates_join_with_the_own_detailed_caption_last_in_every_language(tmp_path):
    languages = ("en", "en", "zh", "zh")
    prepare(spoken((0, ("face", "smiling face", "脸", "笑脸"), languages),
                   (0, ("look", "odd face", "相貌", "笑脸"), languages)), tmp_path / "out", resolution=16)
    data = Prepared(tmp_path / "out")
    assert data.in_language("en") == [("face", "look", "odd face", "smiling face")]
    assert data.in_language("zh") == [("脸", "相貌", "笑脸")]


def test_exact_duplicates_join_captions_within_a_split_and_leave_other_splits(tmp_path):
    copy = ("copy.bmp", encoded(picture(0), "BMP"), ("other", "thing"), "train")
    leak = ("leak.bmp", encoded(picture(0), "BMP"), ("leak",), "heldout")
    report = prepare(source(good(0), copy, leak, good(1, "heldout")), tmp_path / "out", resolution=16)
    assert [row["captions"] for row in Prepared(tmp_path / "out").words] == [("other", "thing")]
    assert [row["name"] for row in Prepared(tmp_path / "out", "heldout").words] == ["1.png"]
    assert {row["name"]: row["reason"] for row in report.dropped} == {
        "copy.bmp": "exact duplicate: of 0.png (train)", "leak.bmp": "exact duplicate: of 0.png (train)"}


@pytest.mark.parametrize("drop", [False, True])
def test_near_duplicates_are_reported_across_splits_and_dropped_on_request(tmp_path, drop):
    near = ("near.jpg", encoded(picture(0), "JPEG", quality=70), ("x",), "heldout")
    report = prepare(source(good(0), good(1), near), tmp_path / "out", resolution=16, drop_near_duplicates=drop)
    assert report.near_duplicate_count == 1
    assert report.near_duplicates[0]["first"] == "0.png" and report.near_duplicates[0]["splits"] == ["train", "heldout"]
    assert report.counts == ({"train": 2} if drop else {"train": 2, "heldout": 1})


def test_contact_sheet_shows_every_picture(tmp_path):
    prepare(source(good(0), good(1), good(2)), tmp_path / "out", resolution=16, channels=1)
    sheet = np.asarray(Image.open(tmp_path / "out/contact_sheet.png"))
    np.testing.assert_array_equal(sheet[2:18, 2:18], Prepared(tmp_path / "out")[0]["image"][..., 0])
    np.testing.assert_array_equal(sheet[2:18, 38:54], Prepared(tmp_path / "out")[2]["image"][..., 0])


@pytest.mark.parametrize("examples, out, options, message", [
    ([good(0)], "out", {"resolution": 7}, "resolution must be at least 8"),
    ([good(0)], "out", {"channels": 2}, "channels 1 or 3"),
    ([good(0)], "full", {}, "already exists"),
    ([good(0)], "full/file/below", {}, "cannot write to"),
    ([("a.png", b"", ("x",), "train")], "new/out", {}, "no usable training picture: not a picture"),
    ([good(0, "heldout")], "new/out", {}, "no usable training picture"),
])
def test_impossible_requests_leave_nothing_behind(tmp_path, examples, out, options, message):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("x")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=message) as caught:
        prepare(source(*examples), tmp_path / out, **{"resolution": 16} | options)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before
