import shutil

import numpy as np
import pytest

from t2i_jax.data import pipeline
from t2i_jax.data.augment import Augment
from t2i_jax.data.pipeline import batches, first
from t2i_jax.data.prepared import Prepared
from t2i_jax.data.tokenizer import Tokenizer, caption_id
from t2i_jax.data.training import DataOptions
from t2i_jax.errors import UserError

LENGTH = 12


@pytest.fixture
def data(prepared_folder):
    return Prepared(prepared_folder)


@pytest.fixture
def tokenizer(data):
    return Tokenizer.train(data.captions(), 300)


def take(data, tokenizer, count, **options):
    """The first stacks, joined: every leaf [examples, ...] in global order."""
    stream = batches(data, tokenizer, **{"batch_size": 8, "scan_length": 2, "text_length": LENGTH, "seed": 3,
                                         "augment": Augment(True, 5, 0.1)} | options)
    return [next(stream) for _ in range(count)]


def flat(stacks):
    return {name: np.concatenate([leaf.reshape(-1, *leaf.shape[2:]) for leaf in (stack[name] for stack in stacks)])
            for name in stacks[0]}


def same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_shapes_and_types(data, tokenizer):
    (stack,) = take(data, tokenizer, 1)
    assert {name: (leaf.shape, str(leaf.dtype)) for name, leaf in stack.items()} == {
        "image": ((2, 8, 16, 16, 3), "uint8"), "tokens": ((2, 8, LENGTH), "int32"), "mask": ((2, 8, LENGTH), "bool"),
        "caption": ((2, 8), "uint32"), "captions": ((2, 8, 2), "uint32"), "picture": ((2, 8), "int32"),
        "index": ((2, 8), "uint32")}


def test_a_batch_as_large_as_the_data_holds_every_picture_once_in_every_step(data, tokenizer):
    """So that optimizer "sgd" is full-batch gradient descent."""
    (stack,) = take(data, tokenizer, 1, batch_size=len(data), scan_length=3, augment=Augment())
    pictures = {image.tobytes() for image in data.images(range(len(data)))}
    assert len(pictures) == len(data)
    for batch in stack["image"]:
        assert {image.tobytes() for image in batch} == pictures
    assert not np.array_equal(stack["image"][0], stack["image"][1])  # in another order


def test_leaves_belong_together(data, tokenizer):
    stacks = flat(take(data, tokenizer, 3, augment=Augment()))
    pictures = data.images(range(len(data)))
    for image, tokens, mask, caption, captions in zip(*(stacks[name] for name in (
            "image", "tokens", "mask", "caption", "captions")), strict=True):
        (which,) = np.flatnonzero((pictures == image).all((1, 2, 3)))
        texts = data.words[which]["captions"]
        assert captions[captions != 0].tolist() == [caption_id(text) for text in texts]
        text = {caption_id(text): text for text in texts}[int(caption)]
        expected = tokenizer.encode([text], LENGTH)
        np.testing.assert_array_equal(tokens, expected[0][0])
        np.testing.assert_array_equal(mask, expected[1][0])
    assert len(set(stacks["caption"])) > 10


def test_whole_sentences_say_more_only_where_a_caption_stands_for_several_pictures(data, tokenizer):
    for number, row in enumerate(data.words):
        row["captions"] = (f"no {number}", *row["captions"])
    stacks = flat(take(data, tokenizer, 6, augment=Augment(), whole=True))
    pictures, texts = data.images(range(len(data))), [row["captions"] for row in data.words]
    text = {caption_id(one): one for own in texts for one in own}
    kinds = set()
    for place, image in enumerate(stacks["image"]):
        (which,) = np.flatnonzero((pictures == image).all((1, 2, 3)))
        caption = text[int(stacks["caption"][place])]
        several = sum(caption in own for own in texts) > 1
        whole = texts[which][-1] if several else caption
        kinds.add((several, whole == caption, caption == texts[which][-1]))
        for name, expected in zip(("tokens", "mask"), tokenizer.encode([whole], LENGTH), strict=True):
            np.testing.assert_array_equal(stacks[f"whole_{name}"][place], expected[0])
    assert kinds == {(True, False, False), (False, True, False), (False, True, True)}
    same({name: leaf for name, leaf in stacks.items() if not name.startswith("whole_")},
         flat(take(data, tokenizer, 6, augment=Augment())))
    assert not any(name.startswith("whole_") for name in first(data, tokenizer, 4, LENGTH))


def test_choices_are_draws_of_noise_under_captions_of_several_pictures(data, tokenizer):
    for number, row in enumerate(data.words):
        row["captions"] = (f"no {number}", *row["captions"])
    options = {"augment": Augment(), "whole": True, "noise": 4}
    stacks = flat(take(data, tokenizer, 40, choices=3, **options))
    texts = [row["captions"] for row in data.words]
    open_texts = sorted({text for own in texts for text in own if sum(text in other for other in texts) > 1})
    encoded = {tokenizer.encode([text], LENGTH)[0].tobytes(): text for text in (*open_texts, *(own[-1] for own in texts))}
    captions, wholes = ([[encoded[row.tobytes()] for row in rows] for rows in stacks[name]]
                        for name in ("choice_tokens", "choice_whole_tokens"))
    assert {text for row in captions for text in row} == set(open_texts)
    examples = pipeline.Examples(data, tokenizer, LENGTH, noise=4, whole=True)
    numbers = {text: number for number, text in enumerate(dict.fromkeys(text for own in texts for text in own))}
    for place, (row, wholes) in enumerate(zip(captions, wholes, strict=True)):
        among = np.array([numbers[text] for text in row])
        anyone = np.array([[text in own for own in texts].index(True) for text in row])
        chosen = examples._coupling.choose(anyone, among, stacks["choice_noise"][place])
        assert [texts[picture][-1] for picture in chosen] == wholes
    drawn = [text for row in captions for text in row]
    usual = [text for text in (data_caption(texts, number) for number in stacks["caption"]) if text in open_texts]
    share = lambda found: np.array([found.count(text) / len(found) for text in open_texts])
    np.testing.assert_allclose(share(drawn), share(usual), atol=0.06)
    assert np.abs(stacks["choice_noise"].mean()) < 0.05 and np.abs(stacks["choice_noise"].std() - 1) < 0.05
    assert len(np.unique(stacks["choice_noise"].reshape(-1, 4), axis=0)) == 3 * len(stacks["noise"])
    assert not np.isin(stacks["choice_noise"], stacks["noise"]).any()
    same({name: leaf for name, leaf in stacks.items() if not name.startswith("choice_")}, flat(take(data, tokenizer, 40, **options)))


def data_caption(texts, number):
    return next(text for own in texts for text in own if caption_id(text) == number)


@pytest.mark.parametrize("lacking", [{"whole": False}, {"noise": 0}])
def test_choices_without_noise_or_whole_sentences_are_refused(lacking):
    with pytest.raises(UserError, match="data.choices = 2 is impossible; accepted: 0 where data.whole is False or data.noise 0"):
        DataOptions(**{"source": "openmoji", "resolution": 16, "whole": True, "noise": 4, "choices": 2} | lacking)


def test_choices_of_data_without_captions_of_several_pictures_choose_nothing(data, tokenizer):
    for number, row in enumerate(data.words):
        row["captions"] = (f"no {number}",)
    stacks = flat(take(data, tokenizer, 20, whole=True, noise=4, choices=2))
    np.testing.assert_array_equal(stacks["choice_tokens"], stacks["choice_whole_tokens"])
    assert len(np.unique(stacks["choice_tokens"].reshape(-1, LENGTH), axis=0)) == len(data)


@pytest.mark.parametrize("start", [16, 48, 7 * 16])
def test_a_stream_resumes_from_its_next_index(data, tokenizer, start):
    stacks = take(data, tokenizer, start // 16 + 2)
    for resumed, continued in zip(take(data, tokenizer, 2, start=start), stacks[start // 16 :], strict=True):
        same(resumed, continued)


def test_order_does_not_depend_on_batch_size_scan_length_or_prefetch(data, tokenizer):
    reference = flat(take(data, tokenizer, 6))
    same(flat(take(data, tokenizer, 4, batch_size=24, scan_length=1, prefetch=0)), reference)


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_together_hold_the_single_process_batch(data, tokenizer, processes):
    options = {"whole": True, "noise": 2, "choices": 2}
    whole = take(data, tokenizer, 2, **options)
    shares = [np.arange(8)[index::processes] for index in range(processes)]  # any places, not neighbours alone
    parts = [take(data, tokenizer, 2, rows=rows, **options) for rows in shares]
    for number, expected in enumerate(whole):
        for rows, part in zip(shares, parts, strict=True):
            same(part[number], {name: leaf[:, rows] for name, leaf in expected.items()})


def test_every_epoch_shows_every_picture_once_in_another_order(data, tokenizer):
    count = len(data)
    stacks = flat(take(data, tokenizer, 3 * count // 16 + 1, augment=Augment()))["image"]
    orders = []
    for epoch in range(3):
        images = stacks[epoch * count : (epoch + 1) * count]
        pictures = data.images(range(count))
        orders.append([int(np.flatnonzero((pictures == image).all((1, 2, 3)))[0]) for image in images])
        assert sorted(orders[-1]) == list(range(count))
    assert orders[0] != orders[1] != orders[2] != list(range(count))


def test_data_smaller_than_a_batch(data, tokenizer):
    (stack,) = take(data, tokenizer, 1, batch_size=64, scan_length=1)
    assert stack["image"].shape[:2] == (1, 64)
    np.testing.assert_array_equal(stack["index"][0], np.arange(64))


def test_seeds_differ_in_order_and_captions(data, tokenizer):
    one, other = (flat(take(data, tokenizer, 4, seed=seed, augment=Augment())) for seed in (0, 1))
    assert (one["caption"] != other["caption"]).mean() > 0.5


def test_index_counts_past_32_bits(data, tokenizer):
    start = 2**32 - 16
    before, after = take(data, tokenizer, 2, start=start)
    assert before["index"].ravel().tolist() == list(range(2**32 - 16, 2**32))
    assert after["index"].ravel().tolist() == list(range(16))
    with np.testing.assert_raises(AssertionError):  # not the start of the run again
        same(after, take(data, tokenizer, 1)[0])


def test_large_data_are_read_from_disk(data, tokenizer, monkeypatch):
    cached = take(data, tokenizer, 2)
    monkeypatch.setattr(pipeline, "CACHE_BYTES", 0)
    for one, other in zip(cached, take(data, tokenizer, 2), strict=True):
        same(one, other)


def test_the_fixed_sample_takes_the_most_detailed_caption(data, tokenizer):
    sample = first(data, tokenizer, 6, LENGTH)
    assert sample["image"].shape == (6, 16, 16, 3) and len(np.unique(sample["image"], axis=0)) == 6
    last = {caption_id(row["captions"][-1]) for row in data.words}
    assert set(sample["caption"].tolist()) <= last
    same(sample, first(data, tokenizer, 6, LENGTH))
    assert first(data, tokenizer, 50, LENGTH)["image"].shape[0] == 50


def test_data_cut_short_while_they_are_read_are_named(data, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "CACHE_BYTES", 0)  # larger data than memory holds
    shutil.copytree(data.directory, tmp_path / "data")
    copy = Prepared(tmp_path / "data")
    stream = pipeline.batches(copy, tokenizer, batch_size=8, scan_length=2, text_length=LENGTH, seed=0)
    next(stream)
    file = tmp_path / "data" / "train.array_record"
    with file.open("r+b") as stored:
        stored.truncate(4096)  # behind the first few pictures
    with pytest.raises(UserError, match=r"train.array_record is damaged: prepare the data again"):
        for _ in range(8):
            next(stream)
