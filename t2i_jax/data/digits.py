"""Real handwritten digits: the 1,797 pictures of 8x8 grey levels 0 to 16 that come inside scikit-learn; no download.

Captions go from the digit to what is read off the picture, "three" < "a handwritten three" < "a three in bold strokes"
< "a three in bold strokes, leaning left" < "a narrow three in bold strokes, leaning left":

    strokes   2 A / P, the width of a line with area A and outline P: A the sum of ink, P that of the absolute
              differences between neighbouring pixels. thin, medium or bold
    slant     -cov(x, y) / var(y), how far right the ink moves with every pixel up. leaning left, upright, leaning right
    width     sqrt(var(x) / var(y)). narrow, of average width, wide

Moments are of the ink, y grows downwards. Each measure is cut at its tertiles over all pictures of the same digit:
"a wide one" is wide for a one. Splits by hashes, no randomness:

    train                  everything else
    heldout                one in ten of the pictures whose most detailed caption stays in training
    heldout_compositions   one in ten of the most detailed captions, with all their pictures: each word is known, all of
                           them together are new
"""

import hashlib
import io
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from typing import NamedTuple

import numpy as np
from PIL import Image

from t2i_jax.data.sources import Example, Source
from t2i_jax.errors import UserError

LICENCE = ("Pictures: Optical Recognition of Handwritten Digits (E. Alpaydin, C. Kaynak, UCI Machine Learning "
           "Repository, 1998), CC BY 4.0; test part as distributed by scikit-learn")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
STROKES = ("thin strokes", "medium strokes", "bold strokes")
SLANTS = ("leaning left", "upright", "leaning right")
WIDTHS = ("a narrow {}", "{} of average width", "a wide {}")
SPLITS = ("train", "heldout", "heldout_compositions")
HELDOUT, COMPOSITIONS = 0.1, 0.1  # shares of pictures and of most detailed captions


class Digit(NamedTuple):
    """One picture [8, 8] of ink in [0, 1], its captions from general to detailed, and what it is used for."""

    ink: np.ndarray
    name: str
    word: str
    captions: tuple[str, ...]
    split: str


def digits(limit: int = 0) -> nullcontext[Source]:
    """Opens the digits as a source, PNG files of 8x8 pixels, light on dark; tag "family" is the digit's word.

    limit: at most so many pictures a split, evenly spread; 0: all. UserError where scikit-learn is not installed."""
    found = pictures()
    chosen = []
    for split in SPLITS:
        part = [digit for digit in found if digit.split == split]
        chosen += part[:: max(1, len(part) // limit)][:limit] if limit else part

    def examples() -> Iterator[Example]:
        for digit in chosen:
            tags = {"cut": "", "family": digit.word}
            languages = ("en",) * len(digit.captions)
            yield Example(partial(png, digit.ink), digit.captions, digit.name, digit.split, tags, languages)

    return nullcontext(Source("digits", LICENCE, len(chosen), examples, ()))


def pictures() -> list[Digit]:
    """Every digit with captions and split, in scikit-learn's order. UserError where scikit-learn is not installed."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UserError("digits needs the package scikit-learn: run pip install 't2i_jax[evaluate]'") from error
    data = load_digits()
    ink, labels = data.images / 16, data.target
    thirds = np.zeros((len(ink), 3), np.int64)
    for label in range(10):
        own = labels == label
        measured = measures(ink[own])
        thirds[own] = (measured[:, None] > np.quantile(measured, [1 / 3, 2 / 3], axis=0)[None]).sum(axis=1)
    made = []
    for number, (picture, label, third) in enumerate(zip(ink, labels, thirds, strict=True)):
        texts = captions(DIGITS[label], *third)
        name = f"digit-{number:04}"
        split = "heldout" if _chance(name) < HELDOUT else "train"
        made.append(Digit(picture, name, DIGITS[label], texts,
                          "heldout_compositions" if _chance(texts[-1]) < COMPOSITIONS else split))
    return made


def captions(word: str, stroke: int, slant: int, width: int) -> tuple[str, ...]:
    """Captions of a digit's word and thirds 0, 1, 2 of each measure, general to detailed."""
    a = lambda phrase: phrase if phrase.startswith("a ") else f"{'an' if phrase.startswith('eight') else 'a'} {phrase}"
    drawn, leaning = f"in {STROKES[stroke]}", SLANTS[slant]
    return (word, f"a handwritten {word}", f"{a(word)} {drawn}", f"{a(word)} {drawn}, {leaning}",
            f"{a(WIDTHS[width].format(word))} {drawn}, {leaning}")


def measures(ink: np.ndarray) -> np.ndarray:
    """(stroke width in pixels, slant, width over height) of pictures [N, H, W] of ink in [0, 1], none empty: [N, 3]."""
    area = ink.sum(axis=(1, 2))
    framed = np.pad(ink, ((0, 0), (1, 1), (1, 1)))
    outline = sum(np.abs(np.diff(framed, axis=axis)).sum(axis=(1, 2)) for axis in (1, 2))
    y, x = np.mgrid[: ink.shape[1], : ink.shape[2]]
    mean = lambda values: (ink * values).sum(axis=(1, 2)) / area
    across, down = x[None] - mean(x[None])[:, None, None], y[None] - mean(y[None])[:, None, None]
    height = mean(down**2)
    return np.stack([2 * area / outline, -mean(across * down) / height, np.sqrt(mean(across**2) / height)], axis=1)


def png(ink: np.ndarray) -> bytes:
    """Ink [H, W] in [0, 1] as a grey PNG file, white ink on black."""
    file = io.BytesIO()
    Image.fromarray(np.round(ink * 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def _chance(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
