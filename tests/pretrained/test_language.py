"""Language models from a directory: what they read, what they give, what they refuse."""

import json
import shutil
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pretrained.tiny_models import WIDTH, write_tiny
from safetensors.numpy import load_file, save_file

from t2i_jax.errors import UserError
from t2i_jax.pretrained.language import load_language_model

FAMILIES = ("bert", "t5", "clip")
CAPTIONS = ["a red heart", "", "a red cat and two red", "a flag", "woman", "a red heart"]


@pytest.fixture(scope="module")
def directories(tmp_path_factory):
    """{family: a tiny model's directory}; not to be changed."""
    return {name: write_tiny(tmp_path_factory.mktemp("models") / name, name) for name in FAMILIES}


@pytest.fixture(scope="module")
def models(directories):
    return {name: load_language_model(path) for name, path in directories.items()}


@pytest.fixture
def copy(directories, tmp_path):
    """A copy of the tiny BERT that may be changed."""
    return shutil.copytree(directories["bert"], tmp_path / "copy")


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("family", FAMILIES)
def test_captions_give_the_same_one_by_one_and_together(models, family):
    model = models[family]
    found = model.encode(CAPTIONS, 20, batch=4)
    assert {name: array.shape for name, array in found.items()} == {
        "words": (6, 20, WIDTH), "words_mask": (6, 20), "sentence": (6, WIDTH)}
    assert found["words"].dtype == found["sentence"].dtype == np.float32 and found["words_mask"].dtype == bool
    text = model.tokenize(CAPTIONS, 20)
    np.testing.assert_array_equal(found["words_mask"], text["mask"])
    words, sentence = jax.jit(model.module.apply)({"params": model.params}, text["tokens"], text["mask"])
    np.testing.assert_allclose(found["words"], words, atol=1e-5)
    np.testing.assert_allclose(found["sentence"], sentence, atol=1e-5)
    assert np.abs(found["sentence"][0] - found["sentence"][3]).max() > 0.05
    assert np.all(found["words"][~text["mask"]] == 0)
    for number, caption in enumerate(CAPTIONS):
        alone = model.encode([caption], 20, batch=4)
        for name in found:
            np.testing.assert_array_equal(alone[name][0], found[name][number])  # by the bit


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_cut_is_said_and_the_ends_stay(models, family):
    model = models[family]
    with pytest.warns(UserWarning, match="1 of 2 captions are longer than 6 tokens and are cut, 'a red .* for one") as said:
        text = model.tokenize(["a red heart and a blue cat", "a"], 6)
    assert len(said) == 1 and said[0].filename == __file__
    assert text["tokens"].dtype == np.int32 and text["mask"].dtype == bool and text["mask"].sum(1)[0] == 6
    with warnings.catch_warnings(action="error"):
        short = model.tokenize(["a"], 6)
    ends = {"bert": (0, -1), "t5": (-1,), "clip": (0, -1)}[family]
    for end in ends:
        assert text["tokens"][0, end] == short["tokens"][0][short["mask"][0]][end]
    with pytest.warns(UserWarning, match=f"longer than {model.longest} tokens"):
        assert model.tokenize(["a " * 100], 500)["tokens"].shape == (1, model.longest)
    with pytest.raises(UserError, match=f"text length 1: .* take at least {len(ends) + 1}" if len(ends) > 1 else "length 1"):
        model.tokenize(["a"], 1)


@pytest.mark.parametrize(("family", "said"), [("bert", "[SEP]"), ("clip", "<|endoftext|>")])
def test_a_caption_cannot_end_itself(models, family, said):
    tokens = models[family].tokenize([f"a {said} red"], 24)
    end = tokens["tokens"][0][tokens["mask"].sum() - 1]
    assert np.count_nonzero(tokens["tokens"] == end) == 1 and tokens["mask"].sum() > 7


def test_nothing_to_encode_gives_nothing(models):
    found = models["bert"].encode([], 10)
    assert found["words"].shape == (0, 10, WIDTH) and found["sentence"].shape == (0, WIDTH)


def test_the_files_are_all_that_is_needed_and_the_hash_names_them(models, directories, tmp_path):
    model = models["bert"]
    assert model.sha256 == load_language_model(directories["bert"]).sha256
    for name, path in model.files.items():
        (tmp_path / "kept" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "kept" / name)
    kept = load_language_model(tmp_path / "kept")
    assert kept.sha256 == model.sha256 and kept.name == str(tmp_path / "kept")
    np.testing.assert_array_equal(kept.encode(CAPTIONS, 20)["sentence"], model.encode(CAPTIONS, 20)["sentence"])
    assert len({one.sha256 for one in models.values()}) == 3
    assert load_language_model(write_tiny(tmp_path / "other", "bert", seed=1)).sha256 != model.sha256


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "modules.json", "1_Pooling/config.json"])
def test_another_content_of_any_file_is_another_hash(models, copy, name):
    (copy / name).write_text((copy / name).read_text() + " ")
    assert load_language_model(copy).sha256 != models["bert"].sha256


def test_shards_are_read_as_one(models, copy):
    tensors = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    names, files = sorted(tensors), ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    listed = {name: files[number % 2] for number, name in enumerate(names)}
    for file in files:
        save_file({name: tensors[name] for name in names if listed[name] == file}, copy / file)
    index = copy / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": listed}))
    model = load_language_model(copy)
    jax.tree.map(np.testing.assert_array_equal, model.params, models["bert"].params)
    assert {*files, index.name} < model.files.keys()
    (copy / files[1]).unlink()
    with pytest.raises(UserError, match=f"{files[1]}: cannot be read: No such file"):
        load_language_model(copy)
    index.write_text(json.dumps({"weight_map": {"a": "../config.json"}}))
    with pytest.raises(UserError, match=r"index\.json: not an index .* files beside it"):
        load_language_model(copy)


@pytest.mark.parametrize(("pooling", "layers"), [("cls", 2), ("mean", 3), ("mean_sqrt_len", 2), ("max", 3)])
def test_sentences_are_made_as_the_directory_says(models, copy, pooling, layers):
    key = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens", "mean_sqrt_len": "mean_sqrt_len_tokens"}[pooling]
    (copy / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{key}": True, "pooling_mode_x": False}))
    (copy / "modules.json").write_text(json.dumps(json.loads((copy / "modules.json").read_text())[:layers]))
    found = load_language_model(copy).encode(CAPTIONS[:3], 20)
    for words, mask, sentence in zip(*found.values(), strict=True):
        words = words[mask]
        expected = {"cls": words[0], "mean": words.mean(0), "mean_sqrt_len": words.sum(0) / np.sqrt(len(words)),
                    "max": words.max(0)}[pooling]
        length = np.linalg.norm(expected) if layers == 3 else 1
        np.testing.assert_allclose(sentence, expected / length, rtol=1e-5, atol=1e-6)


def test_sentence_transformers_limit_counts(copy):
    (copy / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 9}))
    assert load_language_model(copy).longest == 9


def test_bfloat16_runs_and_gives_float32(models, directories):
    half = load_language_model(directories["bert"], dtype=jnp.bfloat16)
    assert half.sha256 == models["bert"].sha256
    rough, exact = half.encode(CAPTIONS, 20), models["bert"].encode(CAPTIONS, 20)
    assert rough["words"].dtype == np.float32 and 1e-4 < np.abs(rough["words"] - exact["words"]).max() < 0.1


def test_damaged_weights_are_refused_by_name(copy):
    tensors = load_file(copy / "model.safetensors")
    name = "encoder.layer.1.output.dense.weight"
    misshapen = {name: np.zeros((3, 4), np.float32)}
    for wrong, said in (({}, f"lacks {name}; is"), (misshapen, rf"shape: {name} \[3, 4\] instead")):
        save_file({key: array for key, array in tensors.items() if key != name} | wrong, copy / "model.safetensors")
        with pytest.raises(UserError, match=said):
            load_language_model(copy)
    (copy / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors: cannot be read: No such file"):
        load_language_model(copy)
    (copy / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(UserError, match=r"pytorch_model\.bin: files of this kind can run code .* convert"):
        load_language_model(copy)


def test_the_oldest_names_of_bert_are_understood(models, copy):
    old = lambda name: "bert." + name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta")
    tensors = {old(name): array for name, array in load_file(copy / "model.safetensors").items()}
    save_file(tensors | {"cls.predictions.bias": np.zeros(3, np.float32)}, copy / "model.safetensors")
    jax.tree.map(np.testing.assert_array_equal, load_language_model(copy).params, models["bert"].params)


@pytest.mark.parametrize(("spoil", "said"), [
    (lambda d: change(d / "config.json", model_type="gpt2"), "copy: config.json: text encoders of model_type 'gpt2' are"),
    (lambda d: change(d / "config.json", position_embedding_type="rope"), "position_embedding_type 'rope' is not known"),
    (lambda d: change(d / "config.json", hidden_act="swish"), "hidden_act 'swish' is not known; accepted: gelu, "),
    (lambda d: change(d / "config.json", vocab_size=20), r"tokenizer\.json has \d+ tokens, config.json 20"),
    (lambda d: change(d / "config.json", num_hidden_layers=1), r"without a place: encoder\.layer\.1\."),
    (lambda d: (d / "config.json").write_text("{"), "config.json: not JSON"),
    (lambda d: (d / "config.json").write_text('{"model_type": "bert"}'), "config.json lacks max_position_embeddings"),
    (lambda d: (d / "config.json").unlink(), "config.json: cannot be read: No such file"),
    (lambda d: (d / "tokenizer.json").unlink(), r"tokenizer\.json: cannot be read: .*save_pretrained"),
    (lambda d: (d / "tokenizer.json").write_text("{}"), r"tokenizer\.json: not a tokenizer"),
    (lambda d: change(d / "1_Pooling/config.json", pooling_mode_weightedmean_tokens=True), "weightedmean_tokens is not"),
    (lambda d: (d / "modules.json").write_text('[{"type": "a.Transformer", "path": ""}, {"type": "a.Dense", "path": "2"}]'),
     "modules.json: layers .*Dense.* are not known"),
])
def test_a_directory_with_a_fault_is_refused_by_it(copy, spoil, said):
    spoil(copy)
    with pytest.raises(UserError, match=said) as error:
        load_language_model(copy)
    assert "\n" not in str(error.value)
