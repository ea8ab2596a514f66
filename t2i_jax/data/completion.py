"""Pictures for captions that the data lack: tables of captions, completed.

Captions that differ in one word make a table. "woman firefighter, _ skin tone" is one of its rows, "dark" and "light" are
columns, a cell is a picture, and cells are missing: no one drew or kept them. Where the columns hang together alike in
every row, the row's other pictures tell a missing one. The pixels at one place of a row's pictures are taken as a draw of
one normal distribution, whose mean and covariance are fitted to all rows, gaps and all (expectation maximization: Dempster,
Laird & Rubin 1977); the missing picture is its mean given the others.

How well that works is measured on rows whose half the fit has not seen, with the cell hidden, and what is not told well
stays missing: a skin tone follows from the other tones, a woman not from the man beside her. A model that trains on
the completed pictures too learns that words combine freely, also where its data never showed it. (Andreas 2020,
"Good-enough compositional data augmentation", exchanges parts of sentences to that end.)
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection
from itertools import combinations
from typing import NamedTuple

import numpy as np
from einops import rearrange

from t2i_jax.data.prepared import Prepared

ROWS = 16  # in which two words stand beside each other, at least, to be columns of one table; and that a fit is judged on
TOLD = 30.0  # dB of PSNR that nine in ten hidden cells must reach
STEPS = 60  # of expectation maximization
NOISE = 1e-9  # variance, of pixels in [0, 1], that keeps covariances regular

Cells = dict[str, int]  # word -> picture


class Completed(NamedTuple):
    """Told pictures uint8 [M, H, W, C], and of each the captions that are right for it, its own last."""

    captions: list[tuple[str, ...]]
    images: np.ndarray


def complete(prepared: Prepared) -> Completed:
    """The pictures that the others tell, for captions that no picture has as its last."""
    captions = [tuple(row["captions"]) for row in prepared.words]
    taken = {own[-1] for own in captions}
    shape = (prepared.resolution, prepared.resolution, prepared.channels)
    words, images = [], []
    for columns, rows in tables([own[-1] for own in captions]):
        for text, word, picture in _told(prepared, columns, rows):
            if (caption := text.format(word)) not in taken:
                taken.add(caption)
                beside = [captions[number] for number in rows[text].values()]
                shared = [other for other in beside[0] if all(other in own for own in beside)]
                words.append((*shared, caption))
                images.append(np.round(255 * picture).astype(np.uint8).reshape(shape))
    return Completed(words, np.stack(images) if images else np.zeros((0, *shape), np.uint8))


def tables(captions: list[str]) -> list[tuple[list[str], dict[str, Cells]]]:
    """Columns, sorted words that often stand for each other, and rows {text with a hole "{}": cells} of every table."""
    gaps = defaultdict(dict)
    for number, caption in reversed(list(enumerate(captions))):
        plain = caption.replace("{", "{{").replace("}", "}}")
        for word in re.finditer(r"[^\s,]+", plain):
            gaps[plain[: word.start()] + "{}" + plain[word.end() :]][word[0]] = number
    # Words that stand in few rows are no columns; a row of all class names has too many to pair.
    often = Counter(word for cells in gaps.values() for word in cells)
    gaps = _rows(dict(sorted(gaps.items())), {word for word, count in often.items() if count >= ROWS})
    together = Counter(pair for cells in gaps.values() for pair in combinations(sorted(cells), 2))
    table_of: dict[str, set[str]] = {}
    for (one, other), count in sorted(together.items()):
        if count >= ROWS:
            joined = table_of.get(one, {one}) | table_of.get(other, {other})
            table_of |= dict.fromkeys(joined, joined)
    found = sorted({tuple(sorted(columns)) for columns in table_of.values()})
    return [(list(columns), _rows(gaps, columns)) for columns in found]


def _rows(gaps: dict[str, Cells], columns: Collection[str]) -> dict[str, Cells]:
    """The parts of rows that lie in these columns, of rows with two cells or more there."""
    parts = {text: {word: number for word, number in cells.items() if word in columns} for text, cells in gaps.items()}
    return {text: cells for text, cells in parts.items() if len(cells) > 1}


def _told(prepared: Prepared, columns: list[str], rows: dict[str, Cells]) -> list[tuple[str, str, np.ndarray]]:
    """(row, missing word, pixels [H*W, C] in [0, 1]) of the cells that the others tell well."""
    place = {word: prepared.channels * column + np.arange(prepared.channels) for column, word in enumerate(columns)}
    places = lambda words: np.concatenate([place[word] for word in sorted(words)])
    pictures = lambda cells: prepared.images([cells[word] for word in sorted(cells)])
    pixels = lambda cells: rearrange(pictures(cells) / 255.0, "k h w c -> (h w) (k c)")
    sums = [defaultdict(int), defaultdict(int)]  # of both halves of the rows: known places -> moments
    for number, cells in enumerate(rows.values()):
        x = np.pad(pixels(cells), ((0, 0), (0, 1)), constant_values=1.0)
        sums[number % 2][tuple(places(cells))] += x.T @ x
    size = prepared.channels * len(columns)
    # Rows are judged by what the other half of them says.
    whole, *halves = (_normal(parts, size) for parts in ([*sums[0].items(), *sums[1].items()], sums[1].items(), sums[0].items()))
    missing = {(word, tuple(sorted(cells))) for cells in rows.values() for word in columns if word not in cells}
    errors = defaultdict(list)
    for number, cells in enumerate(rows.values()):
        picture = dict(zip(sorted(cells), np.split(pixels(cells), len(cells), axis=1), strict=True))
        for word, known in missing:
            if word in cells and all(other in cells for other in known):
                given = np.concatenate([picture[other] for other in known], axis=1)
                guess = _given(halves[number % 2], place[word], places(known), given)
                errors[word, known].append(np.mean((guess - picture[word]) ** 2))
    worst = 10 ** (-TOLD / 10)
    good = {key for key, found in errors.items() if len(found) >= ROWS and np.quantile(found, 0.9) <= worst}
    return [(text, word, _given(whole, place[word], places(cells), pixels(cells)))
            for text, cells in rows.items() for word in columns if (word, tuple(sorted(cells))) in good]


def _normal(moments: Collection[tuple[tuple[int, ...], np.ndarray]], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean [D] and covariance [D, D] of vectors of which parts are known.

    moments: of all vectors with the same part known its places [k] and the sum of products [k + 1, k + 1] of its values and 1."""
    mean, covariance = np.full(size, 0.5), 0.1 * np.eye(size) + 0.1
    for _ in range(STEPS):
        count, first, second = 0.0, np.zeros(size), np.zeros((size, size))
        for known, products in moments:
            effects, left = _effects(covariance, list(known))
            about = np.vstack([np.eye(len(known)), -mean[list(known)]])
            centred = np.hstack([about, np.eye(len(known) + 1)[:, -1:]])  # values and 1 -> values less the mean, and 1
            products = centred.T @ products @ centred
            count += products[-1, -1]
            first += products[-1, :-1] @ effects
            second += effects.T @ products[:-1, :-1] @ effects + products[-1, -1] * left
        step = first / count
        mean, covariance = mean + step, second / count - np.outer(step, step)
    return mean, covariance


def _effects(covariance: np.ndarray, known: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Of known values, less their means, on all [k, D], and the covariance [D, D] that is left once they are known."""
    effects = np.linalg.solve(covariance[np.ix_(known, known)] + NOISE * np.eye(len(known)), covariance[known])
    effects[:, known] = np.eye(len(known))
    left = covariance - covariance[:, known] @ effects
    left[known] = left[:, known] = 0
    return effects, left


def _given(normal: tuple[np.ndarray, np.ndarray], asked: np.ndarray, known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The mean at places asked [a] given values [N, k] at known places [k], in [0, 1]: [N, a]."""
    mean, covariance = normal
    effects, _ = _effects(covariance, list(known))
    return np.clip(mean[asked] + (values - mean[known]) @ effects[:, asked], 0, 1)
