"""BERT, T5 and CLIP's text tower against Hugging Face's, with random weights written by it and read by us."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references import REFERENCE, shaken

from t2i_jax.models.text.t5 import distance_buckets
from t2i_jax.pretrained import weights
from t2i_jax.pretrained.families import family
from t2i_jax.pretrained.language import EXAMPLE

VOCABULARY = 50
LENGTHS = (9, 4, 2, 7)
RANDOM = np.random.default_rng(0)
MASK = np.arange(max(LENGTHS))[None] < np.array(LENGTHS)[:, None]
TOKENS = np.where(MASK, RANDOM.integers(3, VOCABULARY - 1, MASK.shape), 0).astype(np.int32)
SIZES = [(32, 2, 2), (48, 3, 4)]  # width, depth, heads


def ours(network, tmp_path, tokens=TOKENS, pooling="mean", dtype=None, projected=True) -> tuple[np.ndarray, np.ndarray]:
    """(words, sentence) of our module with what the reference saves as its published files are saved."""
    network.save_pretrained(tmp_path)
    one = family(json.loads((tmp_path / "config.json").read_text()), pooling, False, projected)
    module = one.module.clone(dtype=dtype)
    variables = weights.load(weights.find(tmp_path / "model.safetensors"), module, EXAMPLE, one.naming)
    return jax.jit(module.apply)(variables, tokens, MASK)


def theirs(network, tokens=TOKENS):
    torch = pytest.importorskip("torch", reason=REFERENCE)
    with torch.no_grad():
        return network(input_ids=torch.from_numpy(tokens).long(), attention_mask=torch.from_numpy(MASK).long())


def assert_equal(found, expected, tolerance=1e-4):
    expected = expected.numpy()
    assert np.abs(expected[0] - expected[1]).max() > 0.1  # the tokens matter
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def assert_words_equal(words, expected, tolerance=1e-4):
    assert np.all(np.asarray(words)[~MASK] == 0)
    assert_equal(np.asarray(words), expected.where(pytest.importorskip("torch").from_numpy(MASK)[..., None], 0.0), tolerance)


def bert(width, depth, heads, **changes):
    transformers = pytest.importorskip("transformers", reason=REFERENCE)
    return shaken(transformers.BertModel, transformers.BertConfig(
        vocab_size=VOCABULARY, hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads,
        intermediate_size=3 * width, max_position_embeddings=12, **changes))


@pytest.mark.parametrize("sizes", SIZES)
def test_bert_is_hugging_faces(sizes, tmp_path):
    network = bert(*sizes, hidden_act=("gelu", "gelu_new")[sizes[1] % 2])
    expected = theirs(network)
    words, sentence = ours(network, tmp_path, pooling="pooler")
    assert_words_equal(words, expected.last_hidden_state)
    assert_equal(sentence, expected.pooler_output)


def t5(width, depth, heads, kind):
    transformers = pytest.importorskip("transformers", reason=REFERENCE)
    return shaken(transformers.T5EncoderModel, transformers.T5Config(
        vocab_size=VOCABULARY, d_model=width, num_layers=depth, num_heads=heads, d_kv=10, d_ff=2 * width,
        feed_forward_proj=kind, relative_attention_num_buckets=8, relative_attention_max_distance=7))


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("kind", ["relu", "gated-gelu"])
def test_t5_is_hugging_faces(sizes, kind, tmp_path):
    network = t5(*sizes, kind)
    words, _ = ours(network, tmp_path)
    assert_words_equal(words, theirs(network).last_hidden_state)


def test_a_file_of_the_whole_t5_is_read_too(tmp_path):
    transformers = pytest.importorskip("transformers", reason=REFERENCE)
    whole = shaken(transformers.T5ForConditionalGeneration, t5(*SIZES[0], "relu").config)
    words, _ = ours(whole, tmp_path)
    assert_words_equal(words, theirs(whole.encoder).last_hidden_state)


@pytest.mark.parametrize(("length", "buckets", "farthest"), [(300, 32, 128), (40, 8, 20)])
def test_distances_share_a_bias_as_in_the_reference(length, buckets, farthest):
    torch = pytest.importorskip("torch", reason=REFERENCE)
    modeling = pytest.importorskip("transformers.models.t5.modeling_t5", reason=REFERENCE)
    offset = torch.arange(length)[None] - torch.arange(length)[:, None]
    expected = modeling.T5Attention._relative_position_bucket(offset, True, buckets, farthest)
    np.testing.assert_array_equal(distance_buckets(length, buckets, farthest), expected)


def clip(width, depth, heads, **changes):
    transformers = pytest.importorskip("transformers", reason=REFERENCE)
    return shaken(transformers.CLIPTextModelWithProjection, transformers.CLIPTextConfig(
        vocab_size=VOCABULARY, hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads, projection_dim=20,
        intermediate_size=3 * width, max_position_embeddings=12, bos_token_id=0, pad_token_id=0, **changes))


def ended(end: int) -> np.ndarray:
    """The tokens, `end` the last of each sentence and after it, as CLIP's own tokenizer pads."""
    last = MASK & ~np.pad(MASK[:, 1:], [(0, 0), (0, 1)])
    return np.where(last | ~MASK, end, TOKENS).astype(np.int32)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(("end", "token"), [(7, 7), (2, VOCABULARY - 1)], ids=["", "wrong end"])
def test_clip_is_hugging_faces(sizes, end, token, tmp_path):
    network = clip(*sizes, eos_token_id=end, hidden_act=("quick_gelu", "gelu")[sizes[1] % 2])
    tokens = ended(token)
    expected = theirs(network, tokens)
    words, sentence = ours(network, tmp_path, tokens)
    assert_words_equal(words, expected.last_hidden_state)
    assert_equal(sentence, expected.text_embeds)


def test_without_a_projection_clips_sentence_is_the_feature_of_its_end(tmp_path):
    transformers = pytest.importorskip("transformers", reason=REFERENCE)
    network = shaken(transformers.CLIPTextModel, clip(*SIZES[0], eos_token_id=7).config)
    tokens = ended(7)
    expected = theirs(network, tokens)
    assert_equal(ours(network, tmp_path, tokens, projected=False)[1], expected.pooler_output)


@pytest.mark.parametrize("network", [lambda: bert(*SIZES[0]), lambda: t5(*SIZES[0], "gated-gelu"),
                                     lambda: clip(*SIZES[0], eos_token_id=7)], ids=["bert", "t5", "clip"])
def test_bfloat16_is_close(network, tmp_path):
    network = network()
    exact, rough = (ours(network, tmp_path, ended(7), dtype=dtype) for dtype in (None, jnp.bfloat16))
    assert exact[0].dtype == exact[1].dtype == rough[1].dtype == jnp.float32 and rough[0].dtype == jnp.bfloat16
    for one, other in zip(exact, rough, strict=True):
        difference = np.abs(np.asarray(one) - np.asarray(other, np.float32))
        assert 1e-4 < difference.max() < 0.3 and difference.mean() < 0.03


BERT = {"model_type": "bert", "vocab_size": 30522, "max_position_embeddings": 512, "type_vocab_size": 2,
        "hidden_act": "gelu", "layer_norm_eps": 1e-12, "num_attention_heads": 12}
T5 = {"model_type": "t5", "vocab_size": 32128, "d_kv": 64, "relative_attention_num_buckets": 32, "layer_norm_epsilon": 1e-6}


@pytest.mark.parametrize(("config", "pooling", "count", "width"), [
    (BERT | {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536}, "mean", 22_565_376, 384),
    (BERT | {"hidden_size": 768, "num_hidden_layers": 12, "intermediate_size": 3072}, "pooler", 109_482_240, 768),
    (T5 | {"d_model": 768, "d_ff": 3072, "num_layers": 12, "num_heads": 12}, "mean", 109_628_544, 768),
    (T5 | {"d_model": 4096, "d_ff": 10240, "num_layers": 24, "num_heads": 64, "feed_forward_proj": "gated-gelu"}, "mean",
     4_762_310_656, 4096),
    ({"model_type": "clip", "projection_dim": 512, "text_config": {}}, "mean", 63_428_096, 512),
    ({"model_type": "clip_text_model", "hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12,
      "projection_dim": 768}, "mean", 123_650_304, 768),
], ids=["MiniLM-L6", "BERT base", "T5 base", "T5 XXL 1.1", "CLIP B/32", "CLIP L/14"])
def test_published_models_have_as_many_parameters_as_the_reference(config, pooling, count, width):
    (words, sentence), variables = jax.eval_shape(
        family(config, pooling, False, True).module.init_with_output, jax.random.key(0), *EXAMPLE)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == count
    assert words.shape == (1, 2, width) and sentence.shape == (1, width)
