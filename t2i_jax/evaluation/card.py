"""The evaluation card of a model: every figure with its protocol, for each group of captions, beside what it is worth.

Rows: `real` pictures (the ceiling), their `reconstructions` by the model's autoencoder, of training captions what a perfect
`sampler` of the data draws, the `model`, and baselines that need no adversary. All pictures are judged as uint8. The same model, data, evaluator and seed give the same card, byte
for byte.
"""

import importlib.metadata
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from t2i_jax.data.attributes import Attribute
from t2i_jax.data.prepared import Prepared
from t2i_jax.errors import UserError
from t2i_jax.evaluation import baselines, measures, open_figures
from t2i_jax.evaluation.baselines import Baseline, Captioned
from t2i_jax.evaluation.evaluator import Evaluator
from t2i_jax.evaluation.figures import Ledger
from t2i_jax.evaluation.groups import (
    Group, all_images, caption_pool, captions_sha256, groups, right_captions,
)
from t2i_jax.evaluation.network import FeatureNetwork, features

FORMAT = 1
SHOWN = 12  # pictures of each group kept for the page
LIBRARIES = ("t2i_jax", "jax", "numpy", "scipy", "scikit-learn", "scikit-image")


class Codec(NamedTuple):
    """A model's autoencoder on the host."""

    encode: Callable[[np.ndarray], np.ndarray]  # uint8 [N, H, W, C] -> latents [N, size]
    decode: Callable[[np.ndarray], np.ndarray]  # latents [N, size] -> uint8 [N, H, W, C]
    size: int


class Model(NamedTuple):
    """What is judged."""

    about: dict[str, Any]  # JSON-able: name, images, data
    weights: str  # "ema" or "raw"
    draw: Callable[[list[str], int], np.ndarray]  # (prompts, seed) -> uint8 [N, H, W, C]
    codec: Codec | None = None


class Shown(NamedTuple):
    """Pictures for the page."""

    groups: dict[str, list[dict[str, Any]]]  # {group: [{"caption", "pictures": {row: uint8 [H, W, C]}}]}
    nearest: list[dict[str, Any]]  # the model's pictures nearest to a training picture: {"caption", "distance", ...}
    prompts: list[dict[str, Any]]  # open prompts: {"prompt", "pictures": {row: uint8 [N, H, W, C]}}


def make(
    model: Model, data: Mapping[str, Prepared], evaluator: Evaluator, towers: Sequence[FeatureNetwork],
    attributes: Sequence[Attribute], *, splits: Sequence[str], num: int, seed: int, say: Callable[[str], None],
    language: str = "",
) -> tuple[dict[str, Any], Shown]:
    """The card as JSON-able values, and pictures to show beside it.

    data: {split: prepared}, `train` among them; splits: those judged, at most `num` pictures of each group; language:
    that of all prompts and wrong captions, "" for any. `say` is told what is going on. Raises UserError where the
    evaluator does not fit the data, and where no caption is known to be in the language.
    """
    prepared = data["train"]
    check_evaluator(evaluator, prepared.fingerprint)
    train = Captioned(all_images(prepared), [row["captions"] for row in prepared.words])
    say("fitting the baselines")
    rows = [Baseline("model", model.draw), *fit_baselines(train, model.codec, seed)]
    sampler = baselines.real(train)._replace(name="sampler")
    pca = baselines.pca(train.images, model.codec.size) if model.codec else None
    spaces = [measures.Space(about(tower), lambda images, tower=tower: features(tower, images, evaluator.mesh))
              for tower in towers]
    say("learning to read attributes off training pictures")
    own = measures.Space(about(evaluator.network), evaluator.images)
    known = own.features(train.images)
    readers = measures.fit_readers(own, train, [row["tags"].get("family", "") for row in prepared.words], attributes)
    spoken = {"language": language} if language else {}
    ledger = Ledger(data=prepared.fingerprint, quantisation="uint8", seed=seed, **spoken)
    shown = Shown({}, [], [])
    counts = {}
    for group in groups({split: data[split] for split in splits}, num, seed, language):
        say(f"{group.name}: {len(group.images)} pictures")
        counts[group.name] = len(group.images)
        drawn = {"real": group.images}
        if model.codec is not None:
            drawn["reconstructions"] = model.codec.decode(model.codec.encode(group.images))
        drawing = [sampler, *rows] if group.split == "train" else rows  # it knows no other captions
        drawn |= {row.name: row.draw(group.prompts, seed) for row in drawing}
        note = _notes(ledger, group, model, len(train.images))
        seen = {row: own.features(pictures) for row, pictures in drawn.items()}
        measures.fidelity(note, own, seen, seed)
        measures.diversity(note, own, seen, group, drawing, seed)
        pool = caption_pool(*{name: data[name] for name in ("train", group.split)}.values(), language=language)
        measures.alignment(note, own, seen, text_of(evaluator, group, pool), seed)
        measures.accuracy(note, own, drawn, group, train, attributes, readers)
        if model.codec is not None:
            returned = {"reconstructions": drawn["reconstructions"], "pca": pca(group.images)}
            measures.reconstruction(note, group.images, returned, model.codec.size)
        nearest = measures.memorisation(note, own, drawn, seen, train.images, known, group.split)
        for space in spaces:
            measures.fidelity(note, space, {row: space.features(pictures) for row, pictures in drawn.items()}, seed)
        _show(shown, group, drawn, nearest, train)
    say("prompts that leave something open")
    prompts = open_figures.judge(ledger, shown.prompts, rows, own, train, known, attributes, readers,
                                 prepared.info["source"], seed, {row.name: weights_of(row.name, model) for row in rows},
                                 prepared.in_language(language))
    return {
        "format": FORMAT,
        "model": model.about | {"weights": model.weights},
        "data": {"source": prepared.info["source"], "fingerprint": prepared.fingerprint, "licence": prepared.licence}
                | spoken,
        "evaluator": {"sha256": evaluator.sha256},
        "groups": counts,
        "figures": ledger.figures,
        "open_prompts": prompts,
        "protocols": dict(sorted(ledger.protocols.items())),
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
    }, shown


def to_json(card: dict[str, Any]) -> str:
    """The card as JSON text, the same for the same card."""
    return json.dumps(card, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def check_evaluator(evaluator: Evaluator, data: str) -> None:
    """Raise UserError unless the evaluator learnt from the training pictures of the data with this fingerprint."""
    if evaluator.data_fingerprint != data:
        raise UserError(
            f"evaluator: it was trained on other data (fingerprint {evaluator.data_fingerprint[:12]}) than the model "
            f"({data[:12]}): give one trained on the model's, or leave --evaluator out and one is trained"
        )


def about(network: FeatureNetwork) -> dict[str, Any]:
    """What is stated of a feature network beside every figure made with it."""
    return {"name": network.name, "weights_sha256": network.weights_sha256, "size": network.size,
            "filter": network.filter, "normalisation": network.normalisation}


def text_of(evaluator: Evaluator, group: Group, pool: list[str]) -> measures.Text:
    """The group's captions, and those that wrong ones are drawn from, in the evaluator's space."""
    return measures.Text(evaluator.texts(group.prompts), evaluator.texts(pool), right_captions(group.captions, pool),
                         captions_sha256(pool))


def fit_baselines(train: Captioned, codec: Codec | None, seed: int) -> list[Baseline]:
    """Ridge regression, regression to latents where there are any, and copying."""
    found = [baselines.ridge(train)]
    if codec is not None:
        found.append(baselines.regression(train, codec.encode, codec.decode, seed))
    return [*found, baselines.copy(train)]


def weights_of(row: str, model: Model) -> str | None:
    """Which of the model's weights a row's pictures were made with, None where it has no part in them."""
    return model.weights if row in ("reconstructions", "model", "regression") else None


def _notes(ledger: Ledger, group: Group, model: Model, training: int) -> measures.Note:
    """Writes figures of one group down, with what is the same for all of them."""
    captions = captions_sha256(group.prompts)

    def note(row: str, figure: str, value: float, error: float | None = None, *, network: dict, **settings) -> None:
        ledger.add(
            group.name, row, figure, value, error, network=network, real=len(group.images),
            generated=0 if row == "real" else len(group.images), reference=group.split, training=training,
            weights=weights_of(row, model), captions_sha256=captions, settings=settings,
        )

    return note


def _show(
    shown: Shown, group: Group, drawn: dict[str, np.ndarray], nearest: measures.Nearest, train: Captioned
) -> None:
    count = len(group.images)
    for i in sorted({i * count // SHOWN for i in range(SHOWN)}) if count else ():
        shown.groups.setdefault(group.name, []).append(
            {"caption": group.prompts[i], "pictures": {row: pictures[i] for row, pictures in drawn.items()}})
    for i in np.argsort(nearest.distance, kind="stable")[: SHOWN // 2]:
        j = int(nearest.index[i])
        shown.nearest.append({"group": group.name, "caption": group.prompts[i], "distance": float(nearest.distance[i]),
                              "drawn": drawn["model"][i], "training": train.images[j],
                              "training_caption": train.captions[j][-1]})
