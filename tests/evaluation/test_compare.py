"""Two cards side by side, and when that would mean nothing."""

import copy
import json

import pytest

from t2i_jax.errors import UserError
from t2i_jax.evaluation.compare import by_key, compare, differing, read
from t2i_jax.evaluation.figures import Ledger


def card(name, frechet=0.5, **protocol):
    """A card with three figures."""
    ledger = Ledger(data="f0", seed=0)
    given = {"network": {"name": "evaluator", "size": 32}, "real": 100, "weights": "ema", "settings": {}} | protocol
    ledger.add("train", "model", "frechet", frechet, **given)
    ledger.add("train", "model", "r_precision", 0.9, 0.01, **given)
    ledger.add("train", "ridge", "frechet", 0.7, **given | {"weights": None})
    return {"format": 1, "model": {"name": name}, "groups": {"train": 100}, "figures": ledger.figures,
            "protocols": ledger.protocols}


def test_the_better_model_is_named_and_the_difference_written():
    lines = compare(card("one", 0.5), card("other", 0.25))
    assert lines[:2] == ["A: one", "B: other"]
    (frechet,) = [line for line in lines if "Fréchet" in line and " model" in line]
    assert frechet.split()[-1] == "B" and "-0.25" in frechet and "0.500" in frechet
    assert [line for line in lines if "R-precision" in line][0].split()[-1] == "+0"
    assert compare(card("one", 0.25), card("other", 0.5))[4].split()[-1] == "A"


@pytest.mark.parametrize("change, field", [
    ({"real": 50}, "real: 100 and 50"),
    ({"weights": "raw"}, "weights: 'ema' and 'raw'"),
    ({"network": {"name": "evaluator", "size": 64}}, "network.size: 32 and 64"),
    ({"settings": {"wrong": 9}}, "settings.wrong: None and 9"),
])
def test_different_protocols_are_refused_by_name(change, field):
    with pytest.raises(UserError, match=field) as refusal:
        compare(card("one"), card("other", **change))
    assert "different protocols" in str(refusal.value) and "\n" not in str(refusal.value)


def test_only_what_both_have_is_compared():
    more = card("more")
    more["figures"].append(more["figures"][0] | {"group": "heldout"})
    assert compare(card("one"), more)[-1].strip() == "1 figures stand on one card only"
    less = card("less")
    less["figures"] = []
    with pytest.raises(UserError, match="no figure in common"):
        compare(card("one"), less)


def test_a_real_card_equals_itself_and_another_seed_is_another_protocol(tiny_card):
    mine = read(tiny_card)
    lines = compare(mine, copy.deepcopy(mine))
    assert len(lines) > len(by_key(mine))
    assert not any(line.endswith((" A", " B")) for line in lines)
    other = copy.deepcopy(mine)
    for protocol in other["protocols"].values():
        protocol["seed"] = 1
    with pytest.raises(UserError, match="seed: 0 and 1"):
        compare(mine, other)


def test_fields_that_differ():
    assert differing({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3, "d": 4}}) == {"b.c": (2, 3), "b.d": (None, 4)}


def test_cards_are_found_in_files_runs_and_directories(tmp_path):
    text = json.dumps(card("one"))
    (tmp_path / "run/evaluation").mkdir(parents=True)
    for file in (tmp_path / "run/evaluation/card.json", tmp_path / "card.json", tmp_path / "mine.json"):
        file.write_text(text)
    assert read(tmp_path / "run") == read(tmp_path) == read(tmp_path / "mine.json") == card("one")


@pytest.mark.parametrize("content", ["{", "[]", '{"figures": [{}]}', "{}"])
def test_what_is_no_card_is_refused(tmp_path, content):
    (tmp_path / "card.json").write_text(content)
    with pytest.raises(UserError, match="not an evaluation card"):
        read(tmp_path)
    with pytest.raises(UserError, match="no card in .*nowhere"):
        read(tmp_path / "nowhere")
