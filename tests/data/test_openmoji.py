import io
from collections import Counter

import pytest
from PIL import Image

from t2i_jax.data import openmoji, openmoji_captions
from t2i_jax.data.openmoji_splits import SPLITS, pictures, words
from t2i_jax.data.sources import open_source
from t2i_jax.errors import UserError


@pytest.fixture(scope="module")
def english():
    return pictures()


def of(english, split):
    return [picture for picture in english if picture.split == split]


@pytest.mark.parametrize("emoji, captions", [
    ("👩🏿‍🚒", ("firefighter", "woman firefighter", "woman firefighter, dark skin tone")),
    ("🧑‍🚒", ("firefighter", "firefighter, yellow skin tone")),
    ("👫", ("people holding hands", "woman and man holding hands", "woman and man holding hands, yellow skin tone")),
    ("🏃🏻‍♀‍➡", ("person running", "woman running", "woman running facing right",
                  "woman running facing right, light skin tone")),
    ("👩🏻‍❤‍👨🏿", ("couple with heart", "couple with heart, woman and man",
                    "couple with heart, woman and man, light skin tone, dark skin tone")),
    ("👦🏽", ("child", "boy", "boy, medium skin tone")),
    ("😎", ("face", "smiling face", "smiling face with sunglasses")),
    ("🇱🇸", ("flag", "flag of lesotho")),
    ("➡", ("arrow", "right arrow")),
    ("🐈", ("cat", "plain cat")),
    ("😀", ("face", "grinning face", "plain grinning face")),
    ("🕒", ("clock", "clock at three o’clock", "three o’clock")),
])
def test_captions_go_from_general_to_detailed(emoji, captions):
    assert openmoji_captions.captions(emoji) == captions


def test_captions_in_chinese_have_the_same_levels():
    assert openmoji_captions.captions("👩🏿‍🚒", "zh") == ("消防员", "女消防员", "女消防员, 较深肤色")


def test_whoever_can_have_a_tone_can_be_asked_for_without_one(english):
    said = Counter(text for picture in english for text in picture.captions)
    toned = {picture.family for picture in english if picture.tones}
    people = [picture for picture in english if picture.family in toned]
    assert len(people) > 1900 and {said[picture.captions[-1]] for picture in people} == {1}
    assert openmoji_captions.captions("🧑‍🚒", "zh") == ("消防员",)  # no word of OpenMoji's or ours for it


def test_every_picture_has_a_caption_of_its_own(english):
    said = Counter(text for picture in english for text in picture.captions)
    assert {said[picture.captions[-1]] for picture in english} == {1}


def test_unknown_language_is_refused():
    with pytest.raises(UserError, match="'xx'.* zh"):
        pictures(("en", "xx"))


def test_every_picture_has_a_file_and_captions(english):
    assert len(english) > 3800 and len({picture.code for picture in english}) == len(english)
    assert all(picture.captions and picture.code in openmoji_captions.svg_files() for picture in english)
    assert all(text == text.lower() for picture in english for text in picture.captions)


def test_split_sizes(english):
    sizes = {split: len(of(english, split)) for split in SPLITS}
    assert sizes["train"] > 3300
    assert 250 < sizes["heldout_compositions"] < 450 and 120 < sizes["heldout_concepts"] < 250


def test_held_out_compositions_use_known_words_in_new_combinations(english):
    train = of(english, "train")
    known = set().union(*(words(text) for picture in train for text in picture.captions))
    with_tone = {(picture.family, picture.gender, picture.tones) for picture in train}
    with_gender = {(picture.family, picture.gender) for picture in train}
    said = {picture.captions[-1] for picture in train}
    cuts = {"A": 0, "B": 0}
    for picture in of(english, "heldout_compositions"):
        cuts[picture.cut] += 1
        assert all(words(text) <= known for text in picture.captions)
        assert picture.captions[-1] not in said
        combination = (picture.family, picture.gender)
        if picture.cut == "A":
            assert (*combination, picture.tones) not in with_tone and combination in with_gender
        else:
            assert combination not in with_gender
            assert any(family == picture.family for family, _ in with_gender)
    assert cuts["A"] > 150 and cuts["B"] > 80


def test_held_out_concepts_need_a_word_never_seen(english):
    known = set().union(*(words(text) for picture in of(english, "train") for text in picture.captions))
    assert all(words(picture.captions[-1]) - known for picture in of(english, "heldout_concepts"))


def test_every_caption_has_its_language_and_may_have_two():
    both = {captions[-1]: dict(zip(captions, languages, strict=True)) for captions, languages in
            ((picture.captions, picture.languages) for picture in pictures(("en", "zh")))}
    assert both["dna"] == {"dna": "en zh"}
    assert both["女消防员, 较深肤色"]["woman firefighter"] == "en" and both["女消防员, 较深肤色"]["女消防员"] == "zh"


@pytest.mark.parametrize("language", ["zh", "de", "ru"])
def test_languages_do_not_move_pictures_between_splits_nor_bring_unknown_words(english, language):
    both = pictures(("en", language))
    assert [(p.code, p.split) for p in both] == [(p.code, p.split) for p in english]
    train = {unit for p in both if p.split == "train" for text in p.captions for unit in words(text, language)}
    for picture in both:
        if picture.split == "heldout_compositions":
            assert all(words(text, language) <= train for text in picture.captions)


def test_rasterized_pictures_are_opaque_on_white():
    image = Image.open(io.BytesIO(openmoji.rasterize("2764-FE0F" if "2764-FE0F" in openmoji_captions.svg_files()
                                                     else "2764", 64))).convert("RGBA")
    assert image.size == (64, 64)
    assert image.getpixel((0, 0)) == (255, 255, 255, 255)
    red, green, blue, _ = image.getpixel((32, 32))
    assert red > 180 > 100 > max(green, blue)


def test_source_reads_the_builder_without_tensorflow():
    with open_source("openmoji", languages=("en", "zh"), limit=3) as source:
        examples = list(source.examples())
        assert source.count == len(examples) == 9 and "CC BY-SA 4.0" in source.licence
        assert [example.split for example in examples] == sorted((example.split for example in examples),
                                                                 key=lambda split: (split != "train", split))
        assert Image.open(io.BytesIO(examples[0].read())).size == (128, 128)
        for example in examples:
            chinese = [any("\u4e00" <= letter for letter in text) for text in example.captions]
            assert ["zh" in entry for entry in example.languages] == chinese, example.captions
        assert any("国旗" in text or "肤色" in text for example in examples for text in example.captions)
        assert {example.tags["cut"] for example in examples} >= {"", "concept"}
