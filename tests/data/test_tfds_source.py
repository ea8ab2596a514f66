import io

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data.conftest import encoded, picture
from t2i_jax.data.sources import open_source
from t2i_jax.errors import UserError


class _Tiny(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    FEATURES = {}

    def _info(self):
        image = tfds.features.Image(shape=(None, None, 3), encoding_format="png")
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict({"image": image, **self.FEATURES}))

    def _split_generators(self, dl_manager):
        return {"test": self._generate_examples(1), "train": self._generate_examples(3)}

    def _generate_examples(self, count):
        for number in range(count):
            yield number, {"image": io.BytesIO(encoded(picture(number, (9, 9)))), **self.row(number)}


class TinyTexts(_Tiny):
    FEATURES = {"id": tfds.features.Text(), "caption": tfds.features.Sequence(tfds.features.Text())}

    def row(self, number):
        return {"id": str(number), "caption": [f"thing {number}", "物"]}


class TinyLabels(_Tiny):
    FEATURES = {"label": tfds.features.ClassLabel(names=["tabby_cat", "dog"])}

    def row(self, number):
        return {"label": number % 2}


class TinyNumbers(_Tiny):
    FEATURES = {"size": np.int32}

    def row(self, number):
        return {"size": number}


def examples(name, folder, **options):
    with open_source(f"tfds:{name}", str(folder), **options) as source:
        return list(source.examples())


def test_texts_become_captions_and_train_comes_first(tmp_path):
    found = examples("tiny_texts", tmp_path)
    assert [example.split for example in found] == ["train"] * 3 + ["test"]
    assert sorted(example.captions for example in found[:3]) == [(f"thing {number}", "物") for number in range(3)]
    assert found[0].read().startswith(b"\x89PNG")


def test_labels_become_captions_by_the_template(tmp_path):
    found = examples("tiny_labels", tmp_path, template="a {}!")
    assert sorted(example.captions for example in found[:3]) == [("a dog!",), ("a tabby cat!",), ("a tabby cat!",)]


def test_unknown_and_unfit_data_sets_are_refused(tmp_path):
    with pytest.raises(UserError, match="tiny_numbers needs an image feature and a text or class label"):
        examples("tiny_numbers", tmp_path)
    with pytest.raises(UserError, match="TFDS cannot open 'no_such_data_set'") as caught:
        examples("no_such_data_set", tmp_path)
    assert "\n" not in str(caught.value)
