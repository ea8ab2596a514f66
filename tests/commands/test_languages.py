"""A model of English and Chinese captions, and its cards in either language."""

import json

import numpy as np
import pytest
from running import CONFIGS, call, evaluate

import t2i_jax
from t2i_jax import config as configs
from t2i_jax.data.prepared import Prepared
from t2i_jax.evaluation.groups import captions_sha256
from t2i_jax.training.checkpoint import newest_good

BOTH = "--config.data.languages=('en', 'zh')"
SPLIT, NUM = "heldout_concepts", 200


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on both languages, with its cards in each."""
    run = tmp_path_factory.mktemp("languages") / "run"
    assert call("train", "--config", f"{CONFIGS / 'latent_gan.py'}:tiny", "--workdir", run, BOTH) == 0
    for language in ("en", "zh"):
        assert evaluate("--workdir", run, "--evaluator", f"{CONFIGS / 'evaluator.py'}:tiny", "--split", SPLIT,
                        "--num", NUM, "--language", language) == 0
    return run


def card(run, language):
    return json.loads((run / f"evaluation-{language}" / "card.json").read_text(encoding="utf-8"))


def test_prompts_and_wrong_captions_are_in_the_language(run):
    for language in ("en", "zh"):
        found = card(run, language)
        asked = [texts for texts in Prepared(run / "data", SPLIT).in_language(language) if texts]
        pool = {text for split in ("train", SPLIT) for texts in Prepared(run / "data", split).in_language(language)
                for text in texts}
        (entry,) = [entry for entry in found["figures"] if entry["figure"] == "r_precision" and entry["row"] == "model"]
        protocol = found["protocols"][entry["protocol"]]
        assert found["data"]["language"] == protocol["language"] == language
        assert protocol["captions_sha256"] == captions_sha256(texts[-1] for texts in asked)
        assert protocol["settings"]["pool"] == len(pool) and found["groups"] == {SPLIT: len(asked)}
    assert "prompts in zh" in (run / "evaluation-zh/card.html").read_text(encoding="utf-8")


def test_the_evaluator_learns_the_languages_of_the_run(run):
    about = newest_good(run / "evaluator")[1]
    assert configs.from_json(about.config).data.languages == ("en", "zh")
    assert about.about["data"] == Prepared(run / "data").fingerprint


def test_cards_in_two_languages_are_not_set_side_by_side(run, capsys):
    capsys.readouterr()
    assert evaluate("--compare", run / "evaluation-en", run / "evaluation-zh") == 2
    assert "language: 'en' and 'zh'" in capsys.readouterr().err


def test_a_language_that_no_caption_is_in_is_refused(run, tmp_path, capsys):
    capsys.readouterr()
    assert evaluate("--workdir", run, "--language", "de", "--out", tmp_path / "card") == 2
    error = capsys.readouterr().err.strip()
    assert "is known to be in 'de'; accepted: en, zh" in error and "\n" not in error
    assert not (tmp_path / "card").exists()


def test_chinese_prompts_draw_what_they_name(run):
    model = t2i_jax.load(run)
    first, second, again = (np.asarray(model(text)[0]) for text in ("消防员", "国旗", "消防员"))
    assert first.shape == (16, 16, 3) and np.array_equal(first, again) and not np.array_equal(first, second)
