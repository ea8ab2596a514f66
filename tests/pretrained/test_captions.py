"""Language models that read for a run: what checkpoints keep, and what is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from running import CONFIGS, call
from tiny_models import write_tiny

from t2i_jax import config as configs
from t2i_jax.data.tokenizer import Tokenizer
from t2i_jax.errors import UserError
from t2i_jax.pretrained import captions
from t2i_jax.pretrained.captions import CachedText, TunedText
from t2i_jax.pretrained.language import LanguageModel, load_language_model
from t2i_jax.training.checkpoint import newest_good

PROMPTS = ["a red heart", "cat", "a woman with a white cat on the house"]


@pytest.fixture(scope="module")
def model(tiny_bert):
    return load_language_model(tiny_bert)


def config_of(encoder, kind="cached"):
    return configs.from_json(json.dumps({"text": {"kind": kind, "encoder": str(encoder)}}))


def test_stored_and_fresh_features_are_the_same_whatever_is_read_beside_them(model, lm_run):
    fresh = CachedText(model, "float16")
    text = captions.of_run(config_of("toy"), newest_good(lm_run)[1].tokenizer, lm_run)
    stored = text.beside(lm_run / "data", 20, encode=False)
    known = next(iter(stored._stored._number))
    for name, array in stored.arrays([known], 20).items():
        np.testing.assert_allclose(array, fresh.arrays([known], 20)[name], atol=2e-3)
    alone, among = fresh.arrays(PROMPTS[:1], 20), fresh.arrays([*PROMPTS[::-1], *["flag"] * 9], 20)
    for name in alone:
        assert np.array_equal(alone[name][0], among[name][2]) and alone[name].dtype in (bool, np.float16)
    with pytest.raises(ValueError, match="see `beside`"):
        fresh.rows(PROMPTS, 20)


def test_a_run_keeps_its_model_once_and_reads_with_nothing_else(lm_run, model):
    (kept,) = (lm_run / "encoders").iterdir()
    assert kept.name == model.sha256 and {file.name for file in kept.iterdir()} == {name.split("/")[0] for name in model.files}
    stored = json.loads(newest_good(lm_run)[1].tokenizer)
    assert stored == {"encoder": model.name, "sha256": model.sha256}
    text = captions.of_run(config_of("nowhere"), json.dumps(stored), lm_run)  # the config's source is not looked at
    assert isinstance(text, CachedText) and text.model.sha256 == model.sha256 and json.loads(text.to_json()) == stored
    before = (kept / "config.json").stat().st_mtime_ns
    captions.keep(text, lm_run)
    assert (kept / "config.json").stat().st_mtime_ns == before


def test_a_missing_or_changed_model_is_refused(lm_run, tmp_path):
    text = newest_good(lm_run)[1].tokenizer
    with pytest.raises(UserError, match="the run's language model .* is missing: it was kept in"):
        captions.of_run(config_of("toy"), text, tmp_path)
    shutil.copytree(lm_run / "encoders", tmp_path / "encoders")
    (directory,) = (tmp_path / "encoders").iterdir()
    write_tiny(directory, "bert", seed=1)
    with pytest.raises(UserError, match="does not hold the run's language model .*: its files have SHA-256"):
        captions.of_run(config_of("toy"), text, tmp_path)


def test_a_run_without_one_reads_by_its_tokenizer(tiny_run):
    run = newest_good(tiny_run)[1]
    assert isinstance(captions.of_run(configs.from_json(run.config), run.tokenizer, tiny_run), Tokenizer)
    assert captions.opened(configs.from_json(run.config)) is None


def test_tuned_models_are_given_tokens(model):
    text = TunedText(model)
    arrays = text.arrays(PROMPTS, 20)
    assert {name: (array.shape, str(array.dtype)) for name, array in arrays.items()} == {
        "tokens": ((3, 20), "int32"), "mask": ((3, 20), "bool")}
    np.testing.assert_array_equal(text.rows(PROMPTS, 20)(np.array([2, 0]))["tokens"], arrays["tokens"][[2, 0]])


def test_encode_by_the_command_line_and_a_run_on_data_in_place(lm_run, tiny_bert, tmp_path, capsys):
    data = tmp_path / "data"
    shutil.copytree(lm_run / "data", data)
    shutil.rmtree(data / "features")
    train = ("train", "--config", f"{CONFIGS / 'lm_gan.py'}:tiny", "--workdir", tmp_path / "run", f"--config.data.path={data}",
             f"--config.text.encoder={tiny_bert}")
    assert call(*train) == 2
    assert "holds no features of encoder" in (error := capsys.readouterr().err) and "run t2i data encode" in error
    other = write_tiny(tmp_path / "other", "bert", seed=5)
    assert call("data", "encode", data, "--encoder", other) == 0
    assert f"features/{load_language_model(other).sha256[:16]}-20-float16" in capsys.readouterr().out
    assert call(*train) == 2 and f"only of {str(other)!r}" in capsys.readouterr().err
    assert call("data", "encode", tmp_path / "no", "--encoder", other) == 2
    capsys.readouterr()
    assert call("data", "encode", data, "--encoder", tmp_path / "no") == 2
    assert (error := capsys.readouterr().err).startswith("t2i: ") and error.count("\n") == 1


def test_a_run_goes_on_without_the_source_of_its_model_and_without_running_it(lm_run, tiny_bert, tmp_path, monkeypatch):
    shutil.copytree(lm_run, tmp_path / "run")
    shutil.rmtree(max((tmp_path / "run/checkpoints").iterdir()))

    def load(source):
        assert tmp_path in Path(source).parents, "only what the run keeps is to be read"
        return load_language_model(source)

    def encode(*_):
        raise AssertionError("captions of the data are read from stored features")

    monkeypatch.setattr(captions, "load_language_model", load)
    monkeypatch.setattr(LanguageModel, "encode", encode)
    assert call("train", "--config", f"{CONFIGS / 'lm_gan.py'}:tiny", "--workdir", tmp_path / "run",
                f"--config.text.encoder={tiny_bert}") == 0
    assert newest_good(tmp_path / "run")[1].about["finished"]
