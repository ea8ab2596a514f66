"""What is judged: groups by split and cut, and which captions are right for a picture."""

import numpy as np
import pytest

from t2i_jax.data.prepared import Prepared
from t2i_jax.errors import UserError
from t2i_jax.evaluation.groups import all_images, caption_pool, captions_sha256, choose_splits, groups, right_captions


@pytest.fixture(scope="module")
def data(tiny_run):
    splits = ("train", "heldout_compositions", "heldout_concepts")
    return {split: Prepared(tiny_run / "data", split) for split in splits}


def test_cuts_are_groups_of_their_own_and_together_the_whole_split(data):
    found = {group.name: group for group in groups(data, 1000, 0)}
    assert list(found) == ["train", "heldout_compositions/A", "heldout_compositions/B", "heldout_concepts"]
    cuts = [row["tags"]["cut"] for row in data["heldout_compositions"].words]
    assert [len(found[f"heldout_compositions/{cut}"].images) for cut in "AB"] == [cuts.count("A"), cuts.count("B")]
    names = [name for cut in "AB" for name in found[f"heldout_compositions/{cut}"].names]
    assert sorted(names) == sorted(row["name"] for row in data["heldout_compositions"].words)
    picture = found["heldout_compositions/B"]
    index = [row["name"] for row in data["heldout_compositions"].words].index(picture.names[0])
    np.testing.assert_array_equal(picture.images[0], data["heldout_compositions"][index]["image"])
    assert picture.prompts[0] == data["heldout_compositions"].words[index]["captions"][-1]


def test_fewer_are_chosen_by_the_seed(data):
    names = lambda num, seed: groups({"train": data["train"]}, num, seed)[0].names
    assert names(20, 0) == names(20, 0) != names(20, 1) and len(set(names(20, 0))) == 20
    assert set(names(20, 0)) < set(names(1000, 0)) and len(names(1000, 0)) == len(data["train"])


def test_all_images_reads_every_picture_in_order(data, monkeypatch):
    monkeypatch.setattr("t2i_jax.evaluation.groups.READ", 7)
    np.testing.assert_array_equal(all_images(data["train"]), data["train"].images(range(len(data["train"]))))


def test_every_caption_of_a_picture_is_right_and_no_other():
    captions = [("flag", "flag: Chad"), ("flag", "flag: Peru"), ("cat",)]
    pool = ["cat", "flag", "flag: Chad", "flag: Peru", "dog"]
    np.testing.assert_array_equal(right_captions(captions, pool),
                                  np.array([[0, 1, 1, 0, 0], [0, 1, 0, 1, 0], [1, 0, 0, 0, 0]], bool))


def test_the_pool_holds_each_caption_once(data):
    pool = caption_pool(data["train"], data["heldout_concepts"])
    said = {caption for split in ("train", "heldout_concepts") for caption in data[split].captions()}
    assert len(pool) == len(set(pool)) and set(pool) == said


def test_lists_of_captions_are_told_apart():
    assert captions_sha256(["a", "b"]) == captions_sha256(["a", "b"])
    assert len({captions_sha256(texts) for texts in (["a", "b"], ["b", "a"], ["ab"], ["a"], [])}) == 5


def test_unknown_splits_are_refused():
    assert choose_splits(["train", "heldout"], []) == ["train", "heldout"]
    assert choose_splits(["train", "heldout"], ["heldout"]) == ["heldout"]
    with pytest.raises(UserError, match="no split 'test'; accepted: train, heldout"):
        choose_splits(["train", "heldout"], ["test"])


class Spoken:
    """Prepared data with captions in two languages, as far as groups need it."""

    words = [{"captions": texts, "tags": {}, "name": str(number)}
             for number, texts in enumerate([("cat", "a cat", "猫"), ("dna",), ("dog",)])]

    def images(self, index):
        return np.zeros((len(index), 2, 2, 3), np.uint8)

    def in_language(self, language):
        return {"": [row["captions"] for row in self.words], "zh": [("猫",), ("dna",), ()]}[language]


def test_one_language_asks_for_its_captions_and_leaves_out_pictures_without():
    (every,), (chinese,) = (groups({"train": Spoken()}, 9, 0, language) for language in ("", "zh"))
    assert every.prompts == ["猫", "dna", "dog"] and every.asked == every.captions
    assert chinese.prompts == ["猫", "dna"] and chinese.names == ["0", "1"]
    assert chinese.captions == [("cat", "a cat", "猫"), ("dna",)]
    assert caption_pool(Spoken(), language="zh") == ["猫", "dna"]
    assert right_captions(chinese.captions, ["猫", "dna"]).tolist() == [[True, False], [False, True]]
