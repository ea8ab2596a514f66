"""Completion: cells that others tell come back, others stay missing, and training shows the told ones by their own caption alone."""

import json

import numpy as np
import pytest
from PIL import Image

from t2i_jax.data import completion
from t2i_jax.data.completion import complete, tables
from t2i_jax.data.pipeline import Examples, batches
from t2i_jax.data.prepare import prepare
from t2i_jax.data.prepared import Prepared
from t2i_jax.data.sources import open_source
from t2i_jax.data.tokenizer import Tokenizer, caption_id
from t2i_jax.data.training import DataOptions, TrainingData

# Pictures of one thing in several paints differ by paint and glaze, on areas of the thing's own.
PAINTS = {"red": (200, 30, 40), "green": (20, 160, 60), "blue": (40, 60, 220), "grey": (128, 120, 110)}
GLAZES = {"red": (250, 200, 210), "green": (190, 240, 200), "blue": (180, 190, 250), "grey": (220, 215, 230)}
LACKING = {2: "red", 5: "blue", 9: "grey", 16: "green"}  # thing -> paint


def painted(thing: int, paint: str) -> np.ndarray:
    generator = np.random.default_rng(thing)
    pixels = np.full((16, 16, 3), 255, np.uint8)
    area = generator.integers(0, 3, size=(16, 16))
    pixels[area == 1], pixels[area == 2] = PAINTS[paint], GLAZES[paint]
    return pixels


def written(folder, pictures: dict[tuple[str, ...], np.ndarray]) -> Prepared:
    (folder / "pictures").mkdir(parents=True)
    rows = []
    for number, (captions, pixels) in enumerate(pictures.items()):
        Image.fromarray(pixels).save(folder / "pictures" / f"{number:04}.png")
        rows.append(json.dumps({"file_name": f"{number:04}.png", "text": list(captions)}))
    (folder / "pictures" / "metadata.jsonl").write_text("\n".join(rows))
    with open_source("folder", str(folder / "pictures"), heldout_fraction=0.0) as source:
        prepare(source, folder / "data", resolution=16)
    return Prepared(folder / "data")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    pictures = {(f"thing{thing}", f"{paint} thing{thing}, dry"): painted(thing, paint)
                for thing in range(20) for paint in PAINTS if LACKING.get(thing) != paint}
    return written(tmp_path_factory.mktemp("completion"), pictures)


def test_missing_cells_come_back_with_the_captions_that_their_row_shares(data):
    found = complete(data)
    expected = [(f"thing{thing}", f"{paint} thing{thing}, dry") for thing, paint in LACKING.items()]
    assert sorted(found.captions) == sorted(expected)
    for (thing, _), picture in zip(found.captions, found.images, strict=True):
        number = int(thing.removeprefix("thing"))
        wrong = np.abs(picture.astype(int) - painted(number, LACKING[number]).astype(int))
        assert wrong.max() <= 2, thing
    again = complete(data)
    assert again.captions == found.captions
    np.testing.assert_array_equal(again.images, found.images)


def test_a_picture_that_does_not_follow_from_the_others_stays_missing(tmp_path):
    pictures = {}
    for thing in range(20):
        for number, mood in enumerate(("happy", "sad", "calm")):
            if (thing, mood) != (3, "sad"):
                noise = np.random.default_rng(100 * thing + number).integers(0, 256, size=(16, 16, 3), dtype=np.uint8)
                pictures[(f"{mood} thing{thing}",)] = noise
    data = written(tmp_path, pictures)
    assert [columns for columns, _ in tables([row["captions"][-1] for row in data.words])] == [["calm", "happy", "sad"]]
    found = complete(data)
    assert found.captions == [] and found.images.shape == (0, 16, 16, 3)


def test_tables_are_of_words_that_often_stand_for_each_other():
    captions = [f"{paint} thing{thing}" for thing in range(16) for paint in ("red", "blue")]
    for begin, pair in ((20, ("tall", "wide")), (40, ("tall", "flat")), (60, ("wide", "flat"))):  # one too few of each
        captions += [f"{size} thing{thing}" for thing in range(begin, begin + 15) for size in pair]
    found = tables(captions)
    assert [columns for columns, _ in found] == [["blue", "red"]]
    assert found[0][1]["{} thing3"] == {"red": captions.index("red thing3"), "blue": captions.index("blue thing3")}
    assert len(found[0][1]) == 16


def test_names_of_many_classes_are_not_paired(monkeypatch):
    def few(words, size):
        assert len(words) < 100
        return []

    monkeypatch.setattr(completion, "combinations", few)
    assert tables([f"name{number}" for number in range(1000)]) == []


def test_captions_may_hold_braces_and_repeat_words():
    captions = [f"{paint}, {{odd}} {paint} thing{thing}" for thing in range(20) for paint in ("red", "blue")]
    captions += [f"red, {{odd}} blue thing{thing}" for thing in range(20)]
    (columns, rows), = tables(captions)
    assert columns == ["blue", "red"]
    texts = {text.format(word) for text, cells in rows.items() for word in cells}
    assert texts <= set(captions) and "red, {odd} blue thing7" in texts


def test_the_fitted_distribution_is_where_the_likelihood_of_all_that_is_known_is_highest():
    generator = np.random.default_rng(0)
    root = generator.normal(size=(4, 4))
    x = 0.4 + 0.2 * generator.normal(size=(600, 4)) @ root
    masks = np.array([[1, 1, 1, 1], [1, 0, 1, 1], [0, 1, 1, 0], [1, 1, 0, 1]], bool)
    parts = [(mask, x[number::4][:, mask]) for number, mask in enumerate(masks)]
    moments = [(tuple(np.flatnonzero(mask)), np.pad(part, ((0, 0), (0, 1)), constant_values=1.0)) for mask, part in parts]
    mean, covariance = completion._normal([(known, y.T @ y) for known, y in moments], 4)

    def likelihood(mean, covariance):
        total = 0.0
        for mask, part in parts:
            seen, apart = covariance[np.ix_(mask, mask)], part - mean[mask]
            total -= (np.linalg.slogdet(seen)[1] * len(part) + np.sum(apart @ np.linalg.inv(seen) * apart)) / 2
        return total

    def slopes(mean, covariance):
        """Of the likelihood along every mean and every pair of covariances."""
        changes = [(step, 0 * covariance) for step in np.eye(4)]
        for i, j in np.ndindex(4, 4):
            changes.append((0 * mean, np.maximum(np.outer(np.eye(4)[i], np.eye(4)[j]), np.outer(np.eye(4)[j], np.eye(4)[i]))))
        change = lambda step, sign: likelihood(mean + sign * 1e-6 * step[0], covariance + sign * 1e-6 * step[1])
        return np.array([(change(step, 1) - change(step, -1)) / 2e-6 for step in changes])

    assert np.abs(slopes(mean, covariance)).max() < 0.5
    assert np.abs(slopes(mean, 1.02 * covariance)).max() > 20 and np.abs(slopes(mean + 0.02, covariance)).max() > 20


def test_told_pictures_are_shown_with_their_own_caption_and_wrong_for_none_that_is_right(data):
    tokenizer = Tokenizer.train(data.captions(), 300)
    told = complete(data)
    examples = Examples(data, tokenizer, 12, completed=told)
    assert len(examples) == len(data) + 4
    pictures = np.arange(len(data), len(examples))
    own = np.array([caption_id(captions[-1]) for captions in told.captions], np.uint32)
    for choice in (np.zeros(4), np.full(4, 0.99), None):
        batch = examples.gather(pictures, examples.captions(pictures, choice))
        np.testing.assert_array_equal(batch["caption"], own)
        np.testing.assert_array_equal(batch["image"], told.images)
        assert [set(row) for row in batch["captions"]] == [{caption_id(c) for c in captions} for captions in told.captions]
    real = examples.gather(np.arange(len(data)), examples.captions(np.arange(len(data)), np.zeros(len(data))))
    np.testing.assert_array_equal(real["image"], data.images(range(len(data))))
    assert set(real["caption"]) == {caption_id(f"thing{thing}") for thing in range(20)}


def test_noise_never_chooses_a_told_picture(data):
    examples = Examples(data, Tokenizer.train(data.captions(), 300), 12, noise=4, completed=complete(data))
    pictures = np.tile(np.arange(len(data)), 20)
    chosen, _ = examples.couple(pictures, examples.captions(pictures, np.zeros(len(pictures))), 0, np.arange(len(pictures)))
    assert set(chosen) == set(range(len(data)))


def test_an_epoch_holds_told_pictures_whether_pixels_are_kept_or_read(data, monkeypatch):
    tokenizer = Tokenizer.train(data.captions(), 300)
    options = {"batch_size": 10, "scan_length": 8, "text_length": 12, "seed": 0, "completed": complete(data)}
    epoch = next(batches(data, tokenizer, **options))
    seen = {int(number) for number in epoch["caption"].ravel()}
    assert {caption_id(captions[-1]) for captions in options["completed"].captions} <= seen
    monkeypatch.setattr("t2i_jax.data.pipeline.CACHE_BYTES", 0)
    np.testing.assert_array_equal(next(batches(data, tokenizer, **options))["image"], epoch["image"])


@pytest.mark.parametrize("wanted", [True, False])
def test_training_data_are_completed_where_the_config_says_so(data, wanted):
    options = DataOptions(source="folder", resolution=16, path=str(data.directory), complete=wanted)
    opened = TrainingData(options, data.directory, None)
    stack = next(opened.batches(0, batch_size=10, scan_length=8, seed=0))
    assert opened.few_and_fixed and len(opened.pictures()) == len(data) + 4 * wanted
    np.testing.assert_array_equal(opened.pictures()[stack["picture"]], stack["image"])
    told = {caption_id(f"{paint} thing{thing}, dry") for thing, paint in LACKING.items()}
    assert bool(told & set(stack["caption"].ravel().tolist())) is wanted


@pytest.mark.parametrize("changes", [{"flip": True}, {"rotate": 5.0}, {"scale": 0.1}, {"bytes": 0}])
def test_pictures_that_are_varied_or_too_many_are_not_few_and_fixed(data, monkeypatch, changes):
    """Nothing can be kept of them, see training/kept.py."""
    monkeypatch.setattr("t2i_jax.data.pipeline.CACHE_BYTES", changes.pop("bytes", 2**20))
    options = DataOptions(source="folder", resolution=16, path=str(data.directory), **changes)
    assert not TrainingData(options, data.directory, None).few_and_fixed
