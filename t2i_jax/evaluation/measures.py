"""The figures of one group, from features and pictures of all rows; each function writes its own down with `note`."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from einops import rearrange

from t2i_jax.data.attributes import Attribute, labels
from t2i_jax.evaluation import distances, pixels, retrieval
from t2i_jax.evaluation import memorisation as copies
from t2i_jax.evaluation.attributes import Reader, common, readers
from t2i_jax.evaluation.baselines import Baseline, Captioned
from t2i_jax.evaluation.groups import Group

LEAST = 8  # pictures below which distances between sets say nothing
OVERLAPS = (  # names, what measures them, neighbours that a picture reaches to
    (("precision", "recall"), distances.precision_recall, 3),
    (("density", "coverage"), distances.density_coverage, 5),
)
SUBSETS, SUBSET = 100, 1000  # of the kernel distance
WRONG = 99  # captions a picture's own one stands among
BOOTSTRAP = 2000
PROMPTS, DRAWS = 32, 8  # of the per-prompt diversity
CAP = 100.0  # dB, for pictures that are reproduced exactly
FAMILY = "what it shows"  # the attribute that the data's tag "family" gives
PIXELS = {"name": "pixels"}  # where no network looks

Note = Callable[..., None]  # (row, figure, value, error=None, *, network, **settings)


class Space(NamedTuple):
    """Where pictures are compared."""

    about: dict[str, Any]  # what is stated of the network
    features: Callable[[np.ndarray], np.ndarray]  # uint8 [N, H, W, C] -> [N, D]


class Text(NamedTuple):
    """Captions in the evaluator's space."""

    own: np.ndarray  # [N, D]
    pool: np.ndarray  # [M, D], what wrong captions are drawn from
    right: np.ndarray  # bool [N, M]
    pool_sha256: str


class Nearest(NamedTuple):
    """The nearest training picture of each of the model's."""

    index: np.ndarray  # [N]
    distance: np.ndarray  # [N], root mean square grey levels


def fidelity(note: Note, space: Space, seen: dict[str, np.ndarray], seed: int) -> None:
    """Distances and overlaps of the features `seen` {row: [N, D]} with those of the real pictures."""
    real = seen["real"]
    if len(real) < LEAST:
        return
    reference = distances.moments(real)
    for row, drawn in seen.items():
        if row == "real":
            continue
        note(row, "frechet", distances.frechet(reference, distances.moments(drawn)), network=space.about)
        size = min(SUBSET, len(real) // 2)  # of all of them every subset would be the same
        kernel = distances.kernel_distance(real, drawn, subsets=SUBSETS, size=size, seed=seed)
        note(row, "kernel", *kernel, network=space.about, subsets=SUBSETS, size=size)
        for names, measure, k in OVERLAPS:
            for name, value in zip(names, measure(real, drawn, k), strict=True):
                note(row, name, value, network=space.about, neighbours=k)


def alignment(note: Note, space: Space, seen: dict[str, np.ndarray], text: Text, seed: int) -> None:
    """R-precision, how far it stays below the real pictures', and similarity to the captions."""
    enough = len(text.right) > 0 and (~text.right).sum(axis=1).min() >= WRONG
    settings = {"wrong": WRONG, "pool": len(text.pool), "pool_sha256": text.pool_sha256}
    ceiling = None
    for row, drawn in seen.items():  # the real ones come first
        if enough:
            hits = retrieval.hits(drawn, text.own, text.pool, text.right, wrong=WRONG, seed=seed)
            note(row, "r_precision", hits.mean(), network=space.about, **settings)
            if ceiling is None:
                ceiling = hits
            else:
                below = retrieval.paired_bootstrap(ceiling, hits, draws=BOOTSTRAP, seed=seed)
                note(row, "r_precision_below_real", *below, network=space.about, draws=BOOTSTRAP, **settings)
        note(row, "similarity", retrieval.similarity(drawn, text.own), network=space.about)


def fit_readers(
    space: Space, train: Captioned, families: Sequence[str], attributes: Sequence[Attribute]
) -> dict[str, Reader]:
    """{attribute: its reader}, learnt from the real training pictures; with what pictures show, their `families`, read
    off their features in `space`, as an attribute of its own where several families are large enough to learn."""
    found = readers(attributes, train.images, train.captions)
    shows = common(families)
    if len({*shows} - {None}) > 1:
        found[FAMILY] = Reader.fit(space.features, train.images, shows)
    return found


def accuracy(
    note: Note, space: Space, pictures: dict[str, np.ndarray], group: Group, train: Captioned,
    attributes: Sequence[Attribute], readers: dict[str, Reader],
) -> None:
    """Share of `pictures` {row: uint8 [N, H, W, C]} off which each attribute's reader reads what their captions say.

    A caption that says no value leaves it open: any is right, and none is counted."""
    values = {attribute.name: labels(attribute, group.captions, train.captions) for attribute in attributes}
    values[FAMILY] = [family or None for family in group.families]
    unsaid = {attribute.name: attribute.default for attribute in attributes}
    for name, reader in readers.items():
        said = {*reader.values} - {unsaid.get(name)}
        told = [value if value in said else None for value in values[name]]
        network = space.about if name == FAMILY else PIXELS
        for row, drawn in pictures.items():
            share, count = reader.accuracy(drawn, told)
            if count:
                note(row, f"accuracy/{name}", share, network=network, pictures=count, values=len(reader.values), said=sorted(said))


def diversity(
    note: Note, space: Space, seen: dict[str, np.ndarray], group: Group, rows: Sequence[Baseline], seed: int
) -> None:
    """Mean over general captions, which several pictures of the group share, of the diversity of what is drawn for
    each."""
    sharing: dict[str, list[int]] = {}
    for i, captions in enumerate(group.asked):
        sharing.setdefault(captions[0], []).append(i)
    sharing = {caption: index[:DRAWS] for caption, index in sharing.items() if len(index) > 1}
    chosen = list(sharing)[:: max(1, -(-len(sharing) // PROMPTS))]
    if not chosen:
        return
    prompts = [caption for caption in chosen for _ in sharing[caption]]
    ends = np.cumsum([len(sharing[caption]) for caption in chosen])[:-1]
    mean = lambda found: float(np.mean([distances.diversity(part) for part in np.split(found, ends)]))
    index = np.concatenate([sharing[caption] for caption in chosen])
    settings = {"prompts": len(chosen), "draws": len(prompts)}
    for row in ("real", "reconstructions"):
        if row in seen:
            note(row, "diversity", mean(seen[row][index]), network=space.about, **settings)
    for row in rows:
        note(row.name, "diversity", mean(space.features(row.draw(prompts, seed))), network=space.about, **settings)


def memorisation(
    note: Note, space: Space, drawn: dict[str, np.ndarray], seen: dict[str, np.ndarray], train: np.ndarray,
    train_features: np.ndarray, split: str,
) -> Nearest:
    """How near every row's pictures are to training pictures; real ones are compared where they are held out, and the perfect
    sampler's are training pictures."""
    flat = lambda images: rearrange(images, "n h w c -> n (h w c)")
    values = train[0].size
    threshold = copies.pixel_threshold(values, span=255)
    for row, pictures in drawn.items():
        if row in ("reconstructions", "sampler") or row == "real" and split == "train":
            continue
        index, distance = copies.nearest(flat(train), flat(pictures))
        if row == "model":
            model = Nearest(index, distance / values**0.5)
        note(row, "near_copies", copies.near_copies(distance, threshold), network=PIXELS, below=copies.NEAR_COPY)
        note(row, "nearest_pixels", np.median(distance) / values**0.5 / 255, network=PIXELS)
        note(row, "nearest_features", np.median(copies.nearest(train_features, seen[row])[1]), network=space.about)
    return model


def reconstruction(note: Note, images: np.ndarray, made: dict[str, np.ndarray], size: int) -> None:
    """How well pictures come back through a latent of `size` dimensions; `made`: {row: uint8 [N, H, W, C]}."""
    for row, pictures in made.items():
        note(row, "psnr", np.minimum(pixels.psnr(images, pictures), CAP).mean(), network=PIXELS, latent=size, cap=CAP)
        if min(images.shape[1:3]) >= pixels.WINDOW:
            note(row, "ssim", pixels.ssim(images, pictures).mean(), network=PIXELS, latent=size, window=pixels.WINDOW)
