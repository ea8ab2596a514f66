import json

import pytest

from t2i_jax.data.attributes import OPENMOJI, Attribute, attributes_of, labels, read_attributes
from t2i_jax.data.openmoji_splits import pictures
from t2i_jax.errors import UserError

TONE, GENDER = OPENMOJI
COLOUR = Attribute("colour", {"red": ("red", "crimson"), "dark red": ("dark red",), "other": ()})


def test_the_longest_phrase_wins_and_words_are_whole():
    assert COLOUR.said(["A Dark Red rose"]) == {"dark red"}
    assert COLOUR.said(["a red rose on dark red velvet"]) == {"red", "dark red"}
    assert COLOUR.said(["a bored infrared crimsonite"]) == set()
    assert TONE.said(["thumbs up, medium-light skin tone"]) == {"medium-light"}
    assert COLOUR.default == "other" and Attribute("x", {"a": ("a",), "b": ("b",)}).default == ""


def test_a_picture_that_says_nothing_has_the_default_only_where_others_of_its_captions_say_something():
    captions = [("rose",), ("rose", "red rose"), ("rose", "red rose", "dark red rose"), ("stone",)]
    assert labels(COLOUR, captions) == ["other", "red", None, None]


def test_held_out_pictures_are_read_in_the_light_of_the_training_captions():
    train = [("rose", "red rose"), ("stone",)]
    assert labels(COLOUR, [("rose",), ("stone",), ("stone", "crimson stone")], train) == ["other", None, "red"]


@pytest.mark.parametrize("captions, tone, gender", [
    (("firefighter",), None, "person"),
    (("firefighter", "woman firefighter", "woman firefighter, yellow skin tone"), "yellow", "woman"),
    (("firefighter", "woman firefighter", "woman firefighter, medium-dark skin tone"), "medium-dark", "woman"),
    (("person with crown", "prince", "prince, dark skin tone"), "dark", "man"),
    (("handshake", "handshake, light skin tone, dark skin tone"), None, None),
    (("kiss", "kiss, man and man", "kiss, man and man, light skin tone"), "light", None),
    (("flag", "flag of isle of man"), None, None),
    (("flag", "flag of france"), None, None),
    (("shoe", "man’s shoe"), None, None),
    (("heart", "red heart"), None, None),
    (("people wrestling", "men wrestling", "men wrestling, yellow skin tone"), "yellow", None),
])
def test_openmoji_captions_are_labelled(captions, tone, gender):
    train = [picture.captions for picture in pictures() if picture.split == "train"]
    assert labels(TONE, [captions], train) == [tone]
    assert labels(GENDER, [captions], train) == [gender]


def test_openmoji_labels_agree_with_the_structure_of_the_emojis():
    train = [picture for picture in pictures() if picture.split == "train"]
    tones = labels(TONE, [picture.captions for picture in train])
    for picture, tone in zip(train, tones, strict=True):
        named = {name.removesuffix(" skin tone") for name in picture.tones}
        assert tone == (named.pop() if len(named) == 1 else None if named else tone) and (named or tone != "")
    genders = labels(GENDER, [picture.captions for picture in train])
    told = [(picture.gender, gender) for picture, gender in zip(train, genders, strict=True)
            if gender and picture.gender in ("woman", "man", "person")]
    assert len(told) > 1000 and all(structure == gender for structure, gender in told)


def test_sources_without_attributes_have_none():
    assert attributes_of("folder") == () and len(attributes_of("openmoji")) == 2


def test_attributes_are_read_from_a_file(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"colour": {"red": ["red", "crimson"], "other": []}}))
    assert read_attributes(tmp_path / "a.json") == (Attribute("colour", {"red": ("red", "crimson"), "other": ()}),)


@pytest.mark.parametrize("content, says", [
    ("{", "not JSON"), ("[]", "write"), ('{"colour": ["red"]}', "write"), ('{"colour": {"red": "red"}}', "write"),
    ('{"colour": {"red": ["red"]}}', "two values"), ('{"colour": {"red": [], "blue": []}}', "at most one"),
    ('{"colour": {"red": [1], "blue": ["blue"]}}', "write"),
    ('{"colour": {"red": ["Red"], "blue": ["red"]}}', "two things"),
])
def test_a_wrong_file_is_refused_in_one_line(tmp_path, content, says):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match=says) as error:
        read_attributes(tmp_path / "a.json")
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="absent.json"):
        read_attributes(tmp_path / "absent.json")
