"""Open prompts on the card: a perfect sampler passes, one that always draws the same fails, and both stand there."""

import json

import numpy as np
import pytest

from t2i_jax.data.attributes import Attribute
from t2i_jax.evaluation.attributes import readers
from t2i_jax.evaluation.baselines import Baseline, Captioned, real
from t2i_jax.evaluation.figures import Ledger
from t2i_jax.evaluation.measures import Space
from t2i_jax.evaluation.open_figures import DRAWS, SHOWN, judge

HUES = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (40, 40, 200)}
ATTRIBUTES = (Attribute("colour", {hue: (hue,) for hue in HUES}),)
SPACE = Space({"name": "evaluator"}, lambda images: images.reshape(len(images), -1) / 255)


@pytest.fixture(scope="module")
def judged():
    """(ledger, verdicts, pictures shown) of a perfect sampler as the model and of one that always draws the same."""
    images, captions = [], []
    for hue, value in HUES.items():
        for place in range(4):
            for side in (4, 8):
                image = np.full((12, 12, 3), 255, np.uint8)
                image[place:place + side, 2:2 + side] = value
                images.append(image)
                captions.append(("square", f"{hue} square"))
    train = Captioned(np.stack(images), captions)
    rows = [Baseline("model", real(train).draw),
            Baseline("ridge", lambda prompts, seed: train.images[[0] * len(prompts)])]
    ledger, shown = Ledger(data="f0"), []
    found = judge(ledger, shown, rows, SPACE, train, SPACE.features(train.images), ATTRIBUTES,
                  readers(ATTRIBUTES, train.images, train.captions), "folder", 0, {"model": "ema"}, train.captions)
    return ledger, found, shown


def test_figures_sum_up_the_verdicts(judged):
    ledger, found, _ = judged
    value = {(entry["row"], entry["figure"]): entry["value"] for entry in ledger.figures}
    for row in ("real", "model"):
        assert value[row, "open_passed"] == value[row, "open_diverse"] == 1
        assert value[row, "open_diversity"] == pytest.approx(1, abs=0.1) and value[row, "open_excess"] < 0.1
    assert value["ridge", "open_passed"] == value["ridge", "open_diversity"] == 0
    (square,) = [verdict for verdict in found if verdict["prompt"] == "square"]
    (colour,) = square["rows"]["ridge"]["attributes"]
    assert colour["drawn"]["red"] == 1 and colour["total_variation"] == pytest.approx(2 / 3, rel=1e-4)
    assert value["ridge", "open_excess"] == pytest.approx(colour["total_variation"] - colour["limit"], rel=1e-4)
    json.dumps(found, allow_nan=False)


def test_protocols_say_how_many_were_drawn_and_by_which_weights(judged):
    ledger, found, shown = judged
    protocols = {entry["row"]: ledger.protocols[entry["protocol"]] for entry in ledger.figures}
    assert {row: protocol["generated"] for row, protocol in protocols.items()} == {
        "real": 0, "model": DRAWS * len(found), "ridge": DRAWS * len(found)}
    assert protocols["model"]["weights"] == "ema" and protocols["ridge"]["weights"] is None
    assert [item["prompt"] for item in shown] == [verdict["prompt"] for verdict in found]
    kept = {row: len(pictures) for row, pictures in shown[0]["pictures"].items()}
    assert kept == dict.fromkeys(("real", "model", "ridge"), SHOWN)


def test_data_that_leave_nothing_open_have_no_such_figures():
    train = Captioned(np.zeros((3, 12, 12, 3), np.uint8), [("a",), ("b",), ("c",)])
    ledger = Ledger()
    features = SPACE.features(train.images)
    assert judge(ledger, [], [], SPACE, train, features, (), {}, "folder", 0, {}, train.captions) == []
    assert not ledger.figures
