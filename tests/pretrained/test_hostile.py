"""Whatever is typed as a prompt: every encoder's tokenizer takes it, its features are finite, what is cut is said."""

import numpy as np
import pytest
from hostile import PROMPTS, STRINGS
from pretrained.tiny_models import write_tiny

from t2i_jax.pretrained.language import load_language_model


def assert_takes_all(model, length: int):
    with pytest.warns(UserWarning, match="captions are longer than .* tokens and are cut"):
        found = model.encode(PROMPTS, length)
    assert np.isfinite(found["words"]).all() and np.isfinite(found["sentence"]).all()
    lengths = found["words_mask"].sum(1)
    assert lengths.min() >= 1 and lengths.max() == min(length, model.longest)
    assert len({vector.tobytes() for vector in found["sentence"]}) > len(PROMPTS) / 3  # most are told apart


@pytest.mark.parametrize("family", ["bert", "t5", "clip"])
def test_tiny_models_take_all(family, tmp_path):
    assert len(set(STRINGS)) >= 50 and max(len(prompt.split()) for prompt in PROMPTS) == 1000
    assert_takes_all(load_language_model(write_tiny(tmp_path / family, family)), 24)
