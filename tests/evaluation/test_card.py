"""The card: rows, protocols, figures that agree with their definitions, the same card for the same seed."""

import json
import math

import numpy as np
import pytest
from running import evaluate

from t2i_jax.commands.models_judged import as_judged
from t2i_jax.data.prepared import Prepared
from t2i_jax.distributed.mesh import make_mesh
from t2i_jax.evaluation import card as cards
from t2i_jax.evaluation import baselines, distances, retrieval
from t2i_jax.evaluation.compare import read
from t2i_jax.evaluation.evaluator import Evaluator
from t2i_jax.evaluation.figures import KINDS, terminal_lines
from t2i_jax.evaluation.groups import caption_pool, groups
from t2i_jax.evaluation.network import FeatureNetwork
from t2i_jax.inference.pipeline import load
from t2i_jax.training.checkpoint import newest_good

STATED = {"network", "real", "generated", "reference", "training", "weights", "captions_sha256", "settings", "data",
          "quantisation", "seed"}


@pytest.fixture(scope="module")
def card(tiny_card):
    return read(tiny_card)


def value(card, group, row, figure, network="evaluator"):
    (found,) = [entry["value"] for entry in card["figures"]
                if (entry["group"], entry["row"], entry["figure"], entry["network"]) == (group, row, figure, network)]
    return found


@pytest.fixture(scope="module")
def judged(tiny_run, tiny_evaluator):
    """(evaluator, model, {split: prepared}) of the tiny card."""
    model = as_judged(load(tiny_run), newest_good(tiny_run)[1].about, "ema", make_mesh())
    splits = ("train", "heldout_compositions", "heldout_concepts")
    data = {split: Prepared(tiny_run / "data", split) for split in splits}
    return Evaluator.load(tiny_evaluator), model, data


def test_every_group_has_all_rows_and_every_figure_its_protocol(card):
    for group in card["groups"]:
        rows = {entry["row"] for entry in card["figures"] if entry["group"] == group}
        assert rows == {"real", "reconstructions", "model", "ridge", "regression", "copy", "pca",
                        *(["sampler"] if group == "train" else [])}
    kinds = {entry["figure"].split("/")[0] for entry in card["figures"]}
    assert kinds == {name for name in KINDS if not name.startswith("open_")}  # so few pictures leave no prompt open
    for entry in card["figures"]:
        protocol = card["protocols"][entry["protocol"]]
        assert set(protocol) == STATED and protocol["network"]["name"] == entry["network"]
        assert protocol["weights"] == ("ema" if entry["row"] in ("model", "reconstructions", "regression") else None)
        if entry["network"] == "evaluator":
            assert protocol["network"]["weights_sha256"] == card["evaluator"]["sha256"]
            assert {"size", "filter", "normalisation"} <= set(protocol["network"])
        assert (protocol["generated"] == 0) == (entry["row"] == "real") and protocol["quantisation"] == "uint8"
        assert math.isfinite(entry["value"])
    assert all(protocol["real"] == 24 for protocol in card["protocols"].values() if protocol["reference"] == "train"
               and "draws" not in protocol["settings"] and protocol["settings"].get("prompts") is None)


def test_figures_agree_with_their_definitions(card, judged):
    evaluator, model, data = judged
    group = groups(data, 24, 0)[0]
    real, drawn = evaluator.images(group.images), evaluator.images(model.draw(group.prompts, 0))
    frechet = distances.frechet(distances.moments(real), distances.moments(drawn))
    assert value(card, "train", "model", "frechet") == pytest.approx(frechet, rel=1e-5)
    own, pool = evaluator.texts(group.prompts), caption_pool(data["train"])
    right = np.array([[caption in captions for caption in pool] for captions in group.captions])
    train = baselines.Captioned(data["train"].images(range(len(data["train"]))),
                                [row["captions"] for row in data["train"].words])
    perfect = evaluator.images(baselines.real(train).draw(group.prompts, 0))
    frechet = distances.frechet(distances.moments(real), distances.moments(perfect))
    assert value(card, "train", "sampler", "frechet") == pytest.approx(frechet, rel=1e-5)
    for row, seen in (("real", real), ("model", drawn), ("sampler", perfect)):
        share = retrieval.hits(seen, own, evaluator.texts(pool), right, seed=0).mean()
        assert value(card, "train", row, "r_precision") == pytest.approx(share, rel=1e-5)
    below = value(card, "train", "real", "r_precision") - value(card, "train", "model", "r_precision")
    assert value(card, "train", "model", "r_precision_below_real") == pytest.approx(below, abs=1e-5)
    returned = model.codec.decode(model.codec.encode(group.images)).astype(float)
    psnr = 10 * np.log10(255**2 / ((returned - group.images) ** 2).mean(axis=(1, 2, 3)))
    assert value(card, "train", "reconstructions", "psnr", "pixels") == pytest.approx(psnr.mean(), rel=1e-5)
    gaps = [np.sqrt(((train.images.astype(float) - picture) ** 2).mean(axis=(1, 2, 3))).min() for picture in model.draw(group.prompts, 0)]
    assert value(card, "train", "model", "nearest_pixels", "pixels") == pytest.approx(np.median(gaps) / 255, rel=1e-5)
    assert value(card, "train", "model", "near_copies", "pixels") == pytest.approx(np.mean(np.array(gaps) < 0.05 * 255))


def test_the_same_seed_gives_the_same_card_and_another_seed_another(tiny_card, tiny_run, tiny_evaluator, tmp_path):
    options = ("--split", "heldout_compositions", "--num", 24)
    cards = []
    for number, seed in enumerate((0, 0, 1)):
        assert evaluate("--workdir", tiny_run, "--evaluator", tiny_evaluator, *options, "--seed", seed,
                        "--out", tmp_path / str(number)) == 0
        cards.append(tmp_path / str(number))
    text = [(path / "card.json").read_bytes() for path in cards]
    assert text[0] == text[1] != text[2]
    assert (cards[0] / "card.html").read_bytes() == (cards[1] / "card.html").read_bytes()
    # What is judged beside a group does not change its figures.
    only = [entry for entry in read(tiny_card)["figures"] if entry["group"].startswith("heldout_compositions")]
    assert only == [entry for entry in read(cards[0])["figures"] if entry["group"] != "open prompts"]


def test_an_evaluator_of_other_data_is_refused(judged):
    with pytest.raises(cards.UserError, match="trained on other data"):
        cards.check_evaluator(judged[0], "another fingerprint")
    cards.check_evaluator(judged[0], judged[2]["train"].fingerprint)


def test_small_groups_leave_out_what_they_cannot_say(judged):
    evaluator, model, data = judged
    made, shown = cards.make(model, data, evaluator, [], (), splits=["heldout_compositions"], num=3, seed=0, say=print)
    figures = {entry["figure"] for entry in made["figures"] if entry["group"] == "heldout_compositions/A"}
    assert {"r_precision", "psnr", "near_copies"} <= figures and not {"frechet", "precision", "coverage"} & figures
    assert [len(found) for found in shown.groups.values()] == [3, 3]
    json.loads(cards.to_json(made))


def test_published_networks_judge_beside_the_evaluator_and_a_model_may_lack_an_autoencoder(judged):
    evaluator, model, data = judged
    half = lambda images, size: images[:, ::2, ::2].astype(np.float32) / 127.5 - 1
    apply = lambda params, images: images.mean(axis=(1, 2)) @ params
    tower = FeatureNetwork("tower", "f" * 64, 8, "every other pixel", "[-1, 1]", 6, apply,
                           np.eye(3, 6, dtype=np.float32), half)
    made, _ = cards.make(model._replace(codec=None), data, evaluator, [tower], (), splits=["heldout_concepts"], num=12,
                         seed=0, say=print)
    group = groups({"heldout_concepts": data["heldout_concepts"]}, 12, 0)[0]
    mean = lambda images: np.pad(half(images, 8).mean(axis=(1, 2)), ((0, 0), (0, 3)))
    frechet = distances.frechet(*(distances.moments(mean(x)) for x in (group.images, model.draw(group.prompts, 0))))
    assert value(made, "heldout_concepts", "model", "frechet", "tower") == pytest.approx(frechet, rel=1e-4)
    seen = [entry for entry in made["figures"] if entry["network"] == "tower"]
    (network,) = {json.dumps(made["protocols"][entry["protocol"]]["network"]) for entry in seen}
    assert {entry["figure"] for entry in seen} == {"frechet", "kernel", "precision", "recall", "density", "coverage"}
    assert json.loads(network) == {"name": "tower", "weights_sha256": "f" * 64, "size": 8, "filter": "every other pixel",
                       "normalisation": "[-1, 1]"}
    assert {entry["row"] for entry in made["figures"]} == {"real", "model", "ridge", "copy"}
    assert any(line.startswith("  Fréchet distance (tower)") for line in terminal_lines(made))


def test_a_line_for_every_figure(card):
    lines = terminal_lines(card)
    for group in ("train", "heldout_compositions/A"):
        (start,) = [i for i, line in enumerate(lines) if line.startswith(f"{group} (24 pictures)")]
        rows = ["real", "reconstructions", *(["sampler"] if group == "train" else []), "model", "ridge", "regression", "copy", "pca"]
        assert lines[start].split("pictures)")[1].split() == rows
        assert len({len(line) for line in lines[start:start + lines[start:].index("")]}) == 1
    figures = {(entry["group"], entry["figure"], entry["network"]) for entry in card["figures"]}
    assert sum(len(line) > 0 for line in lines) == len(figures) + len(card["groups"])
