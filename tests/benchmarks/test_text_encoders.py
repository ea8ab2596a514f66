"""The comparison of text encoders: its paraphrases, what they are judged by, its table."""

import json

import numpy as np
import pytest

pytest.importorskip("emoji", reason="captions come from the extra `openmoji`")

import text_encoders
from PIL import Image

from t2i_jax.data import openmoji_splits
from t2i_jax.data.prepare import prepare
from t2i_jax.data.prepared import Prepared
from t2i_jax.data.sources import open_source


def test_paraphrases_are_no_captions_but_say_those_of_training_pictures():
    pictures = openmoji_splits.pictures()
    captions = {text for picture in pictures for text in picture.captions}
    trained = {text for picture in pictures if picture.split == "train" for text in picture.captions}
    prompts = json.loads(text_encoders.PARAPHRASES.read_text())
    assert len(prompts) >= 50 and len(set(prompts.values())) > 0.95 * len(prompts)
    assert set(prompts.values()) <= trained and not set(prompts) & captions


def test_a_paraphrase_is_drawn_and_judged_by_the_caption_it_stands_for(tmp_path):
    rows = []
    for number, texts in enumerate([["heart", "red heart"], ["heart", "blue heart"], ["flag"]]):
        Image.new("RGB", (16, 16), (80 * number, 90, 20)).save(tmp_path / f"{number}.png")
        rows.append(json.dumps({"file_name": f"{number}.png", "text": texts}))
    (tmp_path / "metadata.jsonl").write_text("\n".join(rows))
    with open_source("folder", str(tmp_path), heldout_fraction=0.0) as source:
        prepare(source, tmp_path / "prepared", resolution=16)
    train = Prepared(tmp_path / "prepared")
    asked, same = text_encoders.paraphrased({"azure love": "blue heart", "a banner": "flag", "love": "heart"}, train)
    assert asked.prompts == ["azure love", "a banner", "love"] and same.prompts == ["blue heart", "flag", "heart"]
    assert [captions[-1] for captions in asked.captions] == same.prompts and asked.captions[0] == ("heart", "blue heart")
    assert [int(image[0, 0, 0]) for image in asked.images] == [80, 160, 0]
    with pytest.raises(KeyError):
        text_encoders.paraphrased({"a": "no caption"}, train)


def test_the_table_gives_means_and_deviations():
    found = {"real pictures": {"train": [(1.0, 0.0)]}, "own": {"train": [(0.5, 0.01), (0.7, 0.03)]}}
    assert text_encoders.table(found).splitlines()[-1].split() == ["own", "(2)", "0.600", "±0.141", "/", "0.0200", "±0.0141"]


def test_figures_are_best_for_the_real_pictures(tiny_evaluator):
    from t2i_jax.evaluation.evaluator import Evaluator
    from t2i_jax.evaluation.groups import caption_pool, groups

    data = {"train": Prepared(tiny_evaluator / "data")}
    (group,) = groups(data, 60, 0)
    pool = caption_pool(data["train"])
    asked = text_encoders.Asked("train", group.prompts, group.captions, group.images, pool)
    evaluator = Evaluator.load(tiny_evaluator)
    drawn = group.images, np.roll(group.images, 1, axis=0)
    good, bad = (text_encoders.figures(evaluator, asked, images) for images in drawn)
    assert good[0] > bad[0] and good[1] < 1e-6 and bad[1] < 1e-6  # the same set of pictures, beside other captions
