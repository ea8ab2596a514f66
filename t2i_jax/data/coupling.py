"""Noise tied to pictures: which of a caption's pictures a draw of noise stands for.

A caption such as "firefighter" has many right pictures. To learn from examples that noise decides among them, each picture
gets a cell of noise space: noise n ~ N(0, I) of caption t stands for picture

    argmax_i <n, c_i> + b_i    over the pictures i of caption t,

where the codes c_i say how picture i differs from the caption's others and the offsets b_i give every cell the same
probability. That is the optimal transport from N(0, I) to the caption's pictures (semi-discrete: Aurenhammer et al. 1998;
Genevay et al. 2016). Trained on such pairs, a generator that is handed fresh noise draws a caption's pictures as often as
the data show them, with no posterior whose gaps the prior would fall into.

Codes are how pictures of a caption differ at 16 x 16 pixels, most of it told by words: what a word of the most detailed
captions changes in a picture, on average over all captions that leave it open (ridge regression). So near noise means near
pictures, skin tones lie in the order of their colours, and one direction means the same tone under every profession: what a
network learns of it from one caption holds for the others. The rest is what the picture itself differs in, which sets apart
what words do not.
"""

from collections import defaultdict

import numpy as np
from einops import reduce
from scipy.special import ndtri

from t2i_jax.data.prepared import Prepared
from t2i_jax.data.randomness import bits, uniform
from t2i_jax.data.tokenizer import Tokenizer

SIDE = 16  # pixels that looks are compared at
WORDS = 512  # whose effects are fitted: the commonest
RIDGE = 1.0  # pictures: a word that one picture of one caption has counts for half
OWN = 0.3  # of codes: the picture's own look; the rest is what its words tell of it
POOL = 2**14  # draws that offsets are fitted on, at most
ROUNDS, UNEVEN = 600, 0.02  # of fitting; total variation from even cells that is good enough
MOMENTUM = 0.7  # of the ascent


class Coupling:
    """The cells of every caption with several pictures; captions and pictures go by their numbers in `Examples`."""

    def __init__(self, prepared: Prepared, tokenizer: Tokenizer, rows: list[list[int]], dimensions: int):
        """Fit codes and offsets. rows: numbers of each picture's captions, most detailed last; dimensions: of the noise."""
        members = defaultdict(list)
        for picture, numbers in enumerate(rows):
            for number in numbers:
                members[number].append(picture)
        groups = {number: np.array(pictures) for number, pictures in members.items() if len(pictures) > 1}
        self.cells: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}  # caption -> pictures, codes, offsets
        if not groups:
            return
        looks = _looks(prepared)
        features = OWN * looks + (1 - OWN) * _told(_bags(prepared, tokenizer), looks, groups)
        basis = _basis(features, groups, dimensions)
        pool = normal(0, np.arange(POOL), dimensions)
        for number, pictures in groups.items():
            self.cells[number] = pictures, *even_cells(_project(features[pictures], basis), pool)

    def choose(self, pictures: np.ndarray, captions: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """The pictures [N] that noise [N, D] stands for under captions [N]; `pictures` [N] where a caption has only one."""
        chosen = pictures.copy()
        for number in np.unique(captions):
            if number in self.cells:
                members, codes, offsets = self.cells[number]
                here = captions == number
                chosen[here] = members[np.argmax(noise[here] @ codes.T + offsets, axis=1)]
        return chosen


def normal(seed: int, index: np.ndarray, dimensions: int, draw: str = "noise") -> np.ndarray:
    """Standard normal numbers by index [N] and the name of the draw: float32 [N, dimensions]."""
    draws = np.stack([uniform(bits(seed, f"{draw} {d}", index)) for d in range(dimensions)], axis=1)
    return ndtri(np.maximum(draws, 2.0**-53)).astype(np.float32)


def even_cells(codes: np.ndarray, pool: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes [M, D], centred and scaled to mean square 1 a dimension, and offsets [M] under which cells are equally likely.

    pool: standard normal [P, D]. The offsets rise where a cell is drawn too rarely: the dual ascent of the transport
    (Genevay et al. 2016, algorithm 2, here on fixed draws, with momentum). Pictures with equal codes share a cell as ties
    would: the first.
    """
    count, dimensions = codes.shape
    codes = codes - codes.mean(axis=0)
    codes = (codes / np.sqrt(np.mean(codes**2) + 1e-12)).astype(np.float32)
    scores = pool[: max(2000, 200 * count)] @ codes.T
    offsets = best = -np.sum(codes**2, axis=1) / 2
    least, velocity = np.inf, 0.0
    for number in range(ROUNDS):
        drawn = np.bincount(np.argmax(scores + offsets.astype(np.float32), axis=1), minlength=count) / len(scores)
        uneven = np.abs(drawn - 1 / count).sum() / 2
        if uneven < least:
            least, best = uneven, offsets
        if uneven < UNEVEN:
            break
        step = 0.06 * dimensions / (1 + number / 40)
        velocity = MOMENTUM * velocity + step * np.clip(1 - count * drawn, -2, 2)
        offsets = offsets + velocity
    return codes, best.astype(np.float32)


def _bags(prepared: Prepared, tokenizer: Tokenizer) -> np.ndarray:
    """Which of the WORDS commonest tokens each picture's most detailed caption holds: float32 [N, at most WORDS], 0 or 1."""
    detailed = [row["captions"][-1] for row in prepared.words]
    tokens, mask = tokenizer.encode(detailed, max(map(len, detailed)))
    held = [np.unique(row[keep]) for row, keep in zip(tokens, mask, strict=True)]
    commonest = np.argsort(-np.bincount(np.concatenate(held)), kind="stable")[:WORDS]
    return np.stack([np.isin(commonest, row) for row in held]).astype(np.float32)


def _looks(prepared: Prepared) -> np.ndarray:
    """Small versions of the pictures: float32 [N, D]."""
    small = []
    for begin in range(0, len(prepared), 1024):
        images = prepared.images(range(begin, min(begin + 1024, len(prepared)))).astype(np.float32)
        side = min(SIDE, images.shape[1])
        even = images[:, : images.shape[1] // side * side, : images.shape[2] // side * side]
        small.append(reduce(even, "n (h a) (w b) c -> n (h w c)", "mean", h=side, w=side))
    return np.concatenate(small)


def _told(bags: np.ndarray, looks: np.ndarray, groups: dict[int, np.ndarray]) -> np.ndarray:
    """What words tell of the looks [N, D], from bags [N, V]: their effects where pictures of one caption differ, added up."""
    weights = _weights(looks, groups)
    words, changes = (_differences(features, groups, weights).astype(np.float64) for features in (bags, looks))
    shrink = RIDGE * np.mean([weight**2 for weight in weights.values()])
    effects = np.linalg.solve(words.T @ words + shrink * np.eye(words.shape[1]), words.T @ changes)
    return bags @ effects.astype(np.float32)


def _weights(features: np.ndarray, groups: dict[int, np.ndarray]) -> dict[int, float]:
    """What makes each caption count by the root of its size, however much its pictures differ: hundreds would rule else."""
    spread = {number: np.sum((features[pictures] - features[pictures].mean(axis=0)) ** 2) for number, pictures in groups.items()}
    return {number: float(np.sqrt(np.sqrt(len(groups[number])) / (square + 1e-9))) for number, square in spread.items()}


def _differences(features: np.ndarray, groups: dict[int, np.ndarray], weights: dict[int, float]) -> np.ndarray:
    """Pictures less the mean of their caption's, weighed, for one caption after the other: [sum of sizes, D]."""
    return np.concatenate([weights[number] * (features[pictures] - features[pictures].mean(axis=0))
                           for number, pictures in groups.items()])


def _basis(features: np.ndarray, groups: dict[int, np.ndarray], dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """The `dimensions` directions [D, d] and variances [d] in which pictures of one caption differ most, over all captions."""
    every = _differences(features, groups, _weights(features, groups))
    variances, directions = np.linalg.eigh((every.T @ every).astype(np.float64))
    spare = max(0, dimensions - len(variances))  # of noise that has more dimensions than pictures: it chooses nothing
    directions, variances = np.pad(directions[:, ::-1], ((0, 0), (0, spare))), np.pad(variances[::-1], (0, spare))
    return directions[:, :dimensions], np.maximum(variances[:dimensions], 1e-9)


def _project(features: np.ndarray, basis: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Coordinates [M, d], half-way to whitened: strong directions lead, weak ones are heard."""
    directions, variances = basis
    return (features @ directions) / variances**0.25
