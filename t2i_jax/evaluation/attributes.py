"""Reading attributes off pictures: linear classifiers that have learnt from real training pictures alone.

An evaluator that matches pictures with captions may hardly see a skin tone: on OpenMoji at 32 pixels a linear reader
of its features names 58 % of unseen tones, one of colours and coarse pixels (`sight`) 98 %. So readers see what they
are given.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from t2i_jax.data.attributes import Attribute, labels
from t2i_jax.errors import UserError

See = Callable[[np.ndarray], np.ndarray]  # pictures uint8 [N, H, W, C] -> features [N, D]

INVERSE_PENALTY = 1.0  # scikit-learn's C
NOISE, BLUR = 8.0, 0.5  # grey levels and pixels: copies of the training pictures that a reader learns from as well
COLOURS = 6  # levels of each channel in the histogram
COMPONENTS = 200  # principal components of the pixels
CHUNK = 128  # pictures whose colours are counted at once


class Reader:
    """Names the value of one attribute of any picture; made by `fit`."""

    def __init__(self, see: See, mean: np.ndarray, scale: float, classifier: LogisticRegression):
        self._see, self._mean, self._scale, self._classifier = see, mean, scale, classifier
        self.values = tuple(str(value) for value in classifier.classes_)

    @classmethod
    def fit(cls, see: See, images: np.ndarray, values: Sequence[str | None]) -> "Reader":
        """Multinomial logistic regression on what `see` makes of real training pictures uint8 [N, H, W, C], whose
        values are known; those whose value is None are left out. A noisy and a blurred copy of each are learnt from
        too, as drawn pictures are never quite clean. Features are centred and share one scale. The same input gives
        the same reader.

        UserError where fewer than two values occur: nothing could be told apart."""
        known = [index for index, value in enumerate(values) if value is not None]
        told = [values[index] for index in known]
        if len(set(told)) < 2:
            raise UserError(f"attributes: the training captions say {len(set(told))} value(s) where a reader needs two "
                            "or more: check the attribute's phrases against the captions")
        chosen = images[known]
        features = np.concatenate([see(part) for part in (chosen, noisy(chosen), blurred(chosen))]).astype(np.float64)
        mean, scale = features.mean(axis=0), max(float(features.std()), 1e-12)
        classifier = LogisticRegression(C=INVERSE_PENALTY, max_iter=1000).fit((features - mean) / scale, told * 3)
        return cls(see, mean, scale, classifier)

    def read(self, images: np.ndarray) -> list[str]:
        """The likeliest value of each picture, uint8 [N, H, W, C]."""
        if not len(images):
            return []
        return [str(value) for value in self._classifier.predict((self._see(images) - self._mean) / self._scale)]

    def accuracy(self, images: np.ndarray, values: Sequence[str | None]) -> tuple[float, int]:
        """(share of right readings, number of pictures) over those whose value is not None; (nan, 0) for none.

        On real held-out pictures this is the ceiling that generated ones are compared with."""
        known = [index for index, value in enumerate(values) if value is not None]
        right = [value == values[index] for index, value in zip(known, self.read(images[known]), strict=True)]
        return (float(np.mean(right)) if right else float("nan")), len(known)


def readers(attributes: Sequence[Attribute], images: np.ndarray,
            captions: Sequence[Sequence[str]]) -> dict[str, Reader]:
    """{attribute name: reader by `sight`} from real training pictures uint8 [N, H, W, C] and all captions of each, for
    every attribute of which the captions say two values or more."""
    found = {attribute.name: labels(attribute, captions) for attribute in attributes}
    found = {name: values for name, values in found.items() if len({*values} - {None}) > 1}
    see = sight(images) if found else None
    return {name: Reader.fit(see, images, values) for name, values in found.items()}


def legible(attributes: Sequence[Attribute], readers: dict[str, Reader], images: np.ndarray,
            captions: Sequence[Sequence[str]]) -> dict[str, list[str | None]]:
    """{attribute name: the value of every real training picture}, None where it has none, and where its reader reads
    another off the picture, its noisy or its blurred copy: frequencies of such readings would say little of what was
    drawn. Attributes without a reader are left out."""
    copies = (images, noisy(images), blurred(images))
    values = {}
    for attribute in attributes:
        if reader := readers.get(attribute.name):
            read = zip(*(reader.read(part) for part in copies))
            told = labels(attribute, captions)
            values[attribute.name] = [value if {value} == {*found} else None for value, found in zip(told, read)]
    return values


def common(values: Sequence[str | None], least: int = 5, known: Sequence[str | None] | None = None) -> list[str | None]:
    """The values with those that fewer than `least` rows of `known` (of `values` itself unless given) have made None:
    what pictures show, their tag "family", becomes an attribute of those families that can be learnt."""
    counts = Counter(values if known is None else known)
    return [value if value and counts[value] >= least else None for value in values]


def sight(images: np.ndarray) -> See:
    """What a reader sees without any network: how much there is of each colour, and where things are (the principal
    components of training pictures uint8 [N, H, W, C]). Both parts have deviation 1 over all their dimensions
    together."""
    flat = lambda pictures: pictures.reshape(len(pictures), -1).astype(np.float32) / 255
    model = PCA(min(COMPONENTS, len(images), images[0].size), svd_solver="randomized", random_state=0).fit(flat(images))
    parts = (colours, lambda pictures: model.transform(flat(pictures)))
    scales = [max(float((found - found.mean(axis=0)).std()), 1e-12) for found in (part(images) for part in parts)]
    return lambda pictures: np.hstack([part(pictures) / scale for part, scale in zip(parts, scales)])


def colours(images: np.ndarray) -> np.ndarray:
    """Square roots of the shares of 6 levels of each channel in pictures uint8 [N, H, W, C]: [N, 6^C]. A colour
    between levels is shared among the nearest, linearly in every channel; square roots give small areas a voice
    (Hellinger)."""
    return np.concatenate([_colours(part) for part in np.array_split(images, -(-len(images) // CHUNK))])


def _colours(images: np.ndarray) -> np.ndarray:
    count, channels = len(images), images.shape[-1]
    pixels = images.reshape(count, -1, channels) * ((COLOURS - 1) / 255)
    low = np.minimum(pixels.astype(np.int64), COLOURS - 2)
    bins = COLOURS**channels
    place = COLOURS ** np.arange(channels)
    total = np.zeros(count * bins)
    for corner in np.ndindex((2,) * channels):
        weight = np.where(corner, pixels - low, low + 1 - pixels).prod(axis=-1)
        where = (low + corner) @ place + bins * np.arange(count)[:, None]
        total += np.bincount(where.ravel(), weight.ravel(), total.size)
    return np.sqrt(total.reshape(count, bins) / pixels.shape[1])


def noisy(images: np.ndarray) -> np.ndarray:
    """A copy of pictures uint8 [N, H, W, C] with Gaussian noise, always the same."""
    noise = np.random.default_rng(0).normal(scale=NOISE, size=images.shape)
    return np.clip(np.round(images + noise), 0, 255).astype(np.uint8)


def blurred(images: np.ndarray) -> np.ndarray:
    """A slightly blurred copy of pictures uint8 [N, H, W, C]."""
    return np.round(gaussian_filter(images.astype(np.float32), (0, BLUR, BLUR, 0))).astype(np.uint8)
