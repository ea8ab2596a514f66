import random
import subprocess
import sys
import warnings

import numpy as np
import pytest

from t2i_jax.data.tokenizer import END, PAD, Tokenizer, caption_id, normalize
from t2i_jax.errors import UserError

CAPTIONS = ["woman firefighter, dark skin tone", "man firefighter", "红心", "一只猫在草地上玩耍", "red heart"] * 3


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.train(CAPTIONS, 320)


@pytest.mark.parametrize("text", ["woman firefighter", "一只狗", "👩🏿‍🚒", "<pad> and <end>", "cafe\u0301",
                                  "مرحبا"])
def test_any_unicode_comes_back(tokenizer, text):
    tokens, mask = tokenizer.encode([text], 80)
    assert tokens.dtype == np.int32 and mask.dtype == bool and tokens.shape == mask.shape == (1, 80)
    assert tokenizer.decode(tokens[0]) == normalize(text)
    count = mask[0].sum()
    assert tokens[0, count - 1] == END and (tokens[0, count:] == PAD).all() and not mask[0, count:].any()
    assert ((tokens[0, : count - 1] > END) & (tokens[0, : count - 1] < tokenizer.size)).all()


def test_training_learns_the_captions(tokenizer):
    _, mask = tokenizer.encode(["firefighter", "qzxqzxqzxqz", "红心"], 30)
    assert mask.sum(1).tolist()[0] == 2 and mask.sum(1)[1] > 8 and mask.sum(1)[2] < 5
    assert tokenizer.size <= 320


def test_training_is_deterministic(tokenizer):
    shuffled = random.Random(0).sample(CAPTIONS, len(CAPTIONS))
    assert Tokenizer.train(shuffled, 320).sha256 == tokenizer.sha256
    code = f"from t2i_jax.data.tokenizer import Tokenizer; print(Tokenizer.train({CAPTIONS!r}, 320).sha256)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == tokenizer.sha256


def test_case_unicode_form_and_spaces_do_not_matter(tokenizer):
    same = ["caf\u00e9 Au lait", "cafe\u0301  au LAIT "]
    tokens, _ = tokenizer.encode(same, 40)
    np.testing.assert_array_equal(tokens[0], tokens[1])
    assert caption_id(same[0]) == caption_id(same[1]) != caption_id("tea")


def test_long_captions_are_cut_with_one_warning_and_keep_the_end(tokenizer):
    with pytest.warns(UserWarning, match="2 of 3 captions are longer than 3 tokens.*'q z x w v'") as caught:
        tokens, mask = tokenizer.encode(["q z x w v", "red heart", "1 2 3 4 5 6"], 4)
    assert len(caught) == 1 and tokens[0, -1] == tokens[2, -1] == END and mask[[0, 2]].all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenizer.encode(["red heart", ""], 4)


def test_json_round_trip(tokenizer):
    again = Tokenizer.from_json(tokenizer.to_json())
    assert again.sha256 == tokenizer.sha256 and again.size == tokenizer.size
    np.testing.assert_array_equal(again.encode(CAPTIONS, 32)[0], tokenizer.encode(CAPTIONS, 32)[0])
    with pytest.raises(UserError, match="not a tokenizer"):
        Tokenizer.from_json("{}")


def test_caption_ids_fill_32_bits_and_are_never_zero():
    assert caption_id("red heart") == 0x7ECC0819
    assert caption_id("") == 1  # whose CRC is 0
    identities = [caption_id(f"thing {number}") for number in range(1000)]
    assert len(set(identities)) == 1000 and max(identities) < 2**32


def test_too_small_a_vocabulary_is_refused():
    with pytest.raises(UserError, match="at least 258"):
        Tokenizer.train(CAPTIONS, 257)


def test_every_chinese_character_is_read_by_itself():
    tokenizer = Tokenizer.train(["女生游泳", "女生游泳", "男人游泳", "男人跑步"], 400)
    seen, unseen = (tokenizer.encode([text], 8)[0][0] for text in ("女生游泳", "男生游泳"))
    assert (seen != unseen).sum() == 1 and (seen != 0).sum() == 6  # a space, four characters, END
    assert tokenizer.decode(unseen) == "男生游泳"
