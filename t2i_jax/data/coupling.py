"""Noise tied to pictures: which of a caption's pictures a draw of noise stands for.

A caption such as "firefighter" has many right pictures. To learn from examples that noise decides among them, each picture
gets a cell of noise space: noise n ~ N(0, I) of caption t stands for picture

    argmax_i <n, c_i> + b_i    over the pictures i of caption t,

where the codes c_i say how picture i differs from the caption's others and the offsets b_i give every cell the same
probability. That is the optimal transport from N(0, I) to the caption's pictures (semi-discrete: Aurenhammer et al. 1998;
Genevay et al. 2016). Trained on such pairs, a generator that is handed fresh noise draws a caption's pictures as often as
the data show them, with no posterior whose gaps the prior would fall into.

Codes hold what the captions do not share (words of the most detailed ones) and what the pictures do not share (their look at
16 x 16 pixels), so that near noise means near pictures, and one direction means the same skin tone under every profession: what
a network learns of it from one caption holds for the others. Looks are heard even where words tell all: were a direction the skin
tone alone, the cells of a profession would teach that its tones end with those in the data, and a tone that is asked for in
words would end there too (measured: configs/quickstart.py).
"""

from collections import defaultdict

import numpy as np
from einops import reduce
from scipy.special import ndtri

from t2i_jax.data.prepared import Prepared
from t2i_jax.data.randomness import bits, uniform
from t2i_jax.data.tokenizer import Tokenizer

SIDE = 16  # pixels that looks are compared at
WORDS = 256  # dimensions that bags of words are projected to
POOL = 2**14  # draws that offsets are fitted on, at most
ROUNDS, UNEVEN = 600, 0.02  # of fitting; total variation from even cells that is good enough


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
        half = dimensions // 2
        words, looks = _bags(prepared, tokenizer), _looks(prepared)
        word_basis, look_basis = _basis(words, groups, half), _basis(looks, groups, dimensions - half)
        pool = normal(0, np.arange(POOL), dimensions)
        for number, pictures in groups.items():
            word, share = _project(words[pictures], word_basis)
            look, _ = _project(looks[pictures], look_basis)
            codes = np.concatenate([np.sqrt(share) * word, look], axis=1)
            self.cells[number] = pictures, *even_cells(codes, pool)

    def choose(self, pictures: np.ndarray, captions: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """The pictures [N] that noise [N, D] stands for under captions [N]; `pictures` [N] where a caption has only one."""
        chosen = pictures.copy()
        for number in np.unique(captions):
            if number in self.cells:
                members, codes, offsets = self.cells[number]
                here = captions == number
                chosen[here] = members[np.argmax(noise[here] @ codes.T + offsets, axis=1)]
        return chosen


def normal(seed: int, index: np.ndarray, dimensions: int) -> np.ndarray:
    """Standard normal numbers by index [N]: float32 [N, dimensions]."""
    draws = np.stack([uniform(bits(seed, f"noise {d}", index)) for d in range(dimensions)], axis=1)
    return ndtri(np.maximum(draws, 2.0**-53)).astype(np.float32)


def even_cells(codes: np.ndarray, pool: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes [M, D], centred and scaled to mean square 1 a dimension, and offsets [M] under which cells are equally likely.

    pool: standard normal [P, D]. The offsets rise where a cell is drawn too rarely: the dual ascent of the transport
    (Genevay et al. 2016, algorithm 2, here on fixed draws). Pictures with equal codes share a cell as ties would: the first.
    """
    count, dimensions = codes.shape
    codes = codes - codes.mean(axis=0)
    codes = (codes / np.sqrt(np.mean(codes**2) + 1e-12)).astype(np.float32)
    scores = pool[: max(2000, 200 * count)] @ codes.T
    offsets = best = -np.sum(codes**2, axis=1) / 2
    least = np.inf
    for number in range(ROUNDS):
        drawn = np.bincount(np.argmax(scores + offsets.astype(np.float32), axis=1), minlength=count) / len(scores)
        uneven = np.abs(drawn - 1 / count).sum() / 2
        if uneven < least:
            least, best = uneven, offsets
        if uneven < UNEVEN:
            break
        step = 0.06 * dimensions / (1 + number / 40)
        offsets = offsets + step * np.clip(1 - count * drawn, -2, 2)
    return codes, best.astype(np.float32)


def _bags(prepared: Prepared, tokenizer: Tokenizer) -> np.ndarray:
    """Which tokens each picture's most detailed caption holds, projected at random: float32 [N, WORDS]."""
    detailed = [row["captions"][-1] for row in prepared.words]
    tokens, mask = tokenizer.encode(detailed, max(map(len, detailed)))
    directions = normal(1, np.arange(tokenizer.size), WORDS) / np.sqrt(WORDS)
    return np.stack([directions[np.unique(row[keep])].sum(axis=0) for row, keep in zip(tokens, mask, strict=True)])


def _looks(prepared: Prepared) -> np.ndarray:
    """Small versions of the pictures: float32 [N, D]."""
    small = []
    for begin in range(0, len(prepared), 1024):
        images = prepared.images(range(begin, min(begin + 1024, len(prepared)))).astype(np.float32)
        side = min(SIDE, images.shape[1])
        even = images[:, : images.shape[1] // side * side, : images.shape[2] // side * side]
        small.append(reduce(even, "n (h a) (w b) c -> n (h w c)", "mean", h=side, w=side))
    return np.concatenate(small)


def _basis(features: np.ndarray, groups: dict[int, np.ndarray], dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """The directions [D, d] and variances [d] in which pictures of one caption differ most, averaged over captions."""
    weighed = []
    for pictures in groups.values():
        apart = features[pictures] - features[pictures].mean(axis=0)
        # Each caption counts by the root of its size: else one with hundreds of pictures would rule.
        weighed.append(np.sqrt(np.sqrt(len(pictures)) / (np.sum(apart**2) + 1e-9)) * apart)
    every = np.concatenate(weighed)
    variances, directions = np.linalg.eigh((every.T @ every).astype(np.float64))
    return directions[:, ::-1][:, :dimensions], np.maximum(variances[::-1][:dimensions], 1e-9)


def _project(features: np.ndarray, basis: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, float]:
    """(coordinates [M, d] of mean square length 1, share of the group's variance that they hold)."""
    directions, variances = basis
    apart = features - features.mean(axis=0)
    inside = apart @ directions
    share = np.sum(inside**2) / (np.sum(apart**2) + 1e-9)
    # Half-way to whitening: strong directions lead, weak ones are heard.
    inside = inside / variances**0.25
    return inside / np.sqrt(np.mean(np.sum(inside**2, axis=1)) + 1e-12), float(share)
