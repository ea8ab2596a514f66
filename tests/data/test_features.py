"""Features of captions beside the pictures: read back as written, refused where they are not those that are meant."""

import json

import numpy as np
import pytest

from t2i_jax.data import features
from t2i_jax.data.features import Features, Kind
from t2i_jax.data.tokenizer import caption_id
from t2i_jax.errors import UserError

KIND = Kind("toy", "ab" * 32, 5)
WIDTH, SENTENCE = 3, 2


def encode(captions, length):
    """Features that are a function of the caption alone, as many words as the caption has."""
    counts = [min(len(caption.split()), length) for caption in captions]
    mask = np.arange(length) < np.array(counts)[:, None]
    named = np.array([caption_id(caption) % 1000 / 8 for caption in captions], np.float32)
    words = named[:, None, None] + np.arange(length, dtype=np.float32)[:, None] + np.zeros(WIDTH, np.float32)
    return {"words": np.where(mask[..., None], words, 0), "words_mask": mask, "sentence": -named[:, None].repeat(SENTENCE, 1)}


@pytest.fixture
def stored(prepared_folder):
    features.write(prepared_folder, KIND, encode)
    return prepared_folder


@pytest.mark.parametrize("in_memory", [True, False])
def test_what_was_written_is_read_by_caption_in_any_order(stored, in_memory, monkeypatch):
    monkeypatch.setattr(features, "CACHE_BYTES", 2**30 if in_memory else 0)
    captions = features.distinct_captions(stored)
    assert len(captions) == len(set(captions)) > 20
    found = Features(stored, KIND)
    rows, order = found.rows(captions), np.array([7, 0, 3, 7])
    expected = encode([captions[number] for number in order], KIND.length)
    for name, array in rows(order).items():
        assert array.dtype == (bool if name == "words_mask" else np.float16)
        np.testing.assert_array_equal(array, expected[name])
    assert captions[0] in found and "a caption of no picture" not in found


def test_each_caption_is_encoded_once_and_what_is_there_stays(prepared_folder):
    seen = []
    record = lambda captions, length: seen.extend(captions) or encode(captions, length)
    count = features.write(prepared_folder, KIND, record)
    assert count == len(seen) == len(set(seen))
    assert features.write(prepared_folder, KIND, None) == count  # would fail if it encoded again


def test_an_interrupted_run_leaves_nothing_that_looks_whole(prepared_folder):
    def interrupted(captions, length):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        features.write(prepared_folder, KIND, interrupted)
    with pytest.raises(UserError, match="holds no features of encoder 'toy'"):
        Features(prepared_folder, KIND)
    features.write(prepared_folder, KIND, encode)
    Features(prepared_folder, KIND)


def test_features_of_another_model_length_or_type_are_refused_with_what_there_is(stored):
    for other in (KIND._replace(sha256="cd" * 32), KIND._replace(length=6), KIND._replace(dtype="float32")):
        with pytest.raises(UserError, match=r"t2i data encode .* only of 'toy' \(abababababababab..., length 5, float16\)|"
                           r"only of 'toy' .*; run t2i data encode"):
            Features(stored, other)
    with pytest.raises(UserError, match="was made by a language model with SHA-256 abab"):
        Features(stored, KIND._replace(sha256=KIND.sha256[:16] + "0" * 48))
    with pytest.raises(UserError, match="--dtype: 'int8' is unknown"):
        features.write(stored, KIND._replace(dtype="int8"), encode)


def test_features_of_other_data_and_damaged_ones_are_refused(stored):
    about, records = (stored / "features" / f"{KIND.name}{suffix}" for suffix in (".json", ".array_record"))
    whole = about.read_text()
    about.write_text(json.dumps(json.loads(whole) | {"fingerprint": "another"}))
    with pytest.raises(UserError, match="belongs to other data"):
        Features(stored, KIND)
    about.write_text(whole)
    content = records.read_bytes()
    records.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match="is damaged: delete it"):
        Features(stored, KIND)
    records.write_bytes(content)
    about.write_text("{")
    with pytest.raises(UserError, match="json is damaged"):
        Features(stored, KIND)
