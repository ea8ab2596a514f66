"""Prompts that leave something open: is what they leave open drawn as often as the data show it?

"firefighter" has women and men of every skin tone among its training pictures, "flag" has many layouts. Over many draws
of one prompt the values drawn should occur as often as among its real pictures (total variation), and the draws should
be as far from each other as the real pictures are (diversity).
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import pdist
from sklearn.cluster import KMeans

from t2i_jax.evaluation.attributes import Reader

LOOK = "look"  # the attribute of prompts of which no named one is open: clusters of their real pictures
CLUSTERS = 6  # at most
VALUELESS = 0.1  # of a prompt's pictures, at most, where an attribute counts as open
PER_CLUSTER = 3  # pictures, at least on average
SLACK = 0.1  # of the total variation, above what a perfect sampler stays below 95 times of 100
DIVERSITY = 0.7  # of the real pictures', at least
REPEATS = 4000  # of the perfect sampler


class OpenPrompt(NamedTuple):
    """A caption of several training pictures and what it leaves open."""

    prompt: str
    pictures: tuple[int, ...]  # indices of its training pictures
    attributes: tuple[str, ...]  # open ones, (LOOK,) where none is


class Frequencies(NamedTuple):
    """One open attribute of one prompt."""

    attribute: str
    data: dict[str, float]  # {value: share} read off the prompt's real pictures
    drawn: dict[str, float]  # ... and off the draws
    total_variation: float  # of the two
    limit: float  # 95th percentile of the total variation of a perfect sampler with as many draws

    @property
    def passed(self) -> bool:
        return self.total_variation <= self.limit + SLACK


class Verdict(NamedTuple):
    """What became of one prompt."""

    prompt: str
    pictures: int
    draws: int
    frequencies: tuple[Frequencies, ...]
    diversity: float  # mean distance of two draws over that of two real pictures drawn with replacement

    @property
    def passed(self) -> bool:
        return self.diversity >= DIVERSITY and all(found.passed for found in self.frequencies)


def open_prompts(captions: Sequence[Sequence[str]], values: dict[str, Sequence[str | None]], *,
                 always: Sequence[str] = (), count: int = 24, least: int = 6) -> list[OpenPrompt]:
    """`count` prompts (fewer where there are no more) that leave something open, chosen from all captions of the
    training pictures, without randomness. Each has at least `least` pictures.

    values: {attribute name: every picture's value, None for none or an unreadable one} (`attributes.legible`).
    An attribute is open where at least nine in ten of the prompt's pictures have a value of it and not all the same.
    Prompts with no attribute open are judged by look and have at least 3 pictures for each of 3 clusters. Those of
    `always` that qualify come first; the other places are shared equally by the kinds of prompt (which attributes are
    open) and each kind's are spread evenly over its prompts from the most pictures to the fewest."""
    pictures = defaultdict(list)
    for index, texts in enumerate(captions):
        for text in dict.fromkeys(texts):
            pictures[text].append(index)

    def judged(text: str, members: list[int]) -> OpenPrompt | None:
        seen = {name: [value[index] for index in members] for name, value in values.items()}
        names = tuple(name for name, found in seen.items()
                      if found.count(None) <= VALUELESS * len(members) and len({*found} - {None}) > 1)
        enough = len(members) >= (least if names else max(least, 3 * PER_CLUSTER))
        return OpenPrompt(text, tuple(members), names or (LOOK,)) if enough else None

    candidates = {text: found for text, members in pictures.items() if (found := judged(text, members))}
    kinds = defaultdict(list)
    for found in sorted(candidates.values(), key=lambda found: (-len(found.pictures), found.prompt)):
        kinds[found.attributes].append(found)
    chosen = [candidates[text] for text in always if text in candidates]
    places = _shares({kind: len(found) for kind, found in kinds.items()}, max(count, len(chosen)))
    for kind in sorted(kinds):
        own = [found for found in chosen if found.attributes == kind]
        rest = [found for found in kinds[kind] if found not in own]
        wanted = min(places[kind] - len(own), len(rest), count - len(chosen))
        chosen += [rest[round(place)] for place in np.linspace(0, len(rest) - 1, max(wanted, 0))]
    return chosen


def _shares(sizes: dict[tuple, int], count: int) -> dict[tuple, int]:
    """Places given round-robin to kinds that have candidates left."""
    shares = dict.fromkeys(sorted(sizes), 0)
    while sum(shares.values()) < min(count, sum(sizes.values())):
        for kind in shares:
            if shares[kind] < sizes[kind] and sum(shares.values()) < count:
                shares[kind] += 1
    return shares


class Pictures(NamedTuple):
    """Pictures and what a feature network makes of them."""

    images: np.ndarray  # uint8 [N, H, W, C]
    features: np.ndarray  # [N, D]


def judge_open(prompts: Sequence[OpenPrompt], train: Pictures, readers: dict[str, Reader],
               draw: Callable[[list[str], int], np.ndarray], embed: Callable[[np.ndarray], np.ndarray], *,
               draws: int = 200, seed: int = 0) -> list[Verdict]:
    """Draws every prompt `draws` times and compares with its real pictures.

    train: all real training pictures, which `OpenPrompt.pictures` counts.
    readers: of every open attribute (`attributes.readers`).
    draw: (captions, seed) -> uint8 [n, H, W, C], whatever draws: the model or a baseline.
    embed: uint8 [n, H, W, C] -> [n, D], the network that gave `train.features`."""
    verdicts = []
    for prompt in prompts:
        members = list(prompt.pictures)
        images = draw([prompt.prompt] * draws, seed)
        real = Pictures(train.images[members], train.features[members])
        verdicts.append(judge(prompt, real, Pictures(images, embed(images)), readers, seed))
    return verdicts


def judge(prompt: OpenPrompt, real: Pictures, drawn: Pictures, readers: dict[str, Reader], seed: int = 0) -> Verdict:
    """One prompt's verdict from its real pictures and its draws. Named attributes are read off pictures by `readers`,
    looks and diversity are of the features."""
    found = []
    for name in prompt.attributes:
        if name == LOOK:
            nearest = _look(real.features, seed)
            data, made = nearest(real.features), nearest(drawn.features)
        else:
            data, made = readers[name].read(real.images), readers[name].read(drawn.images)
        values = sorted({*data, *made})
        p, q = ([texts.count(value) / len(texts) for value in values] for texts in (data, made))
        found.append(Frequencies(name, dict(zip(values, p)), dict(zip(values, q)), total_variation(p, q),
                                 perfect_limit(p, len(drawn.images), seed)))
    return Verdict(prompt.prompt, len(real.images), len(drawn.images), tuple(found),
                   diversity_ratio(drawn.features, real.features))


def _look(real: np.ndarray, seed: int) -> Callable[[np.ndarray], list[str]]:
    """A reader of looks: the nearest of up to 6 centres that k-means finds among the features of real pictures [n,
    D]."""
    clusters = max(1, min(CLUSTERS, len(real) // PER_CLUSTER))
    means = KMeans(clusters, n_init=10, random_state=seed).fit(np.asarray(real, np.float64))
    return lambda features: [f"{LOOK} {label + 1}" for label in means.predict(np.asarray(features, np.float64))]


def total_variation(p: Sequence[float], q: Sequence[float]) -> float:
    """Half the sum of |p_i - q_i| over two distributions: the largest difference they give any event."""
    return float(np.abs(np.subtract(p, q)).sum() / 2)


def perfect_limit(p: Sequence[float], draws: int, seed: int = 0, repeats: int = REPEATS) -> float:
    """The 95th percentile of the total variation between p and the frequencies of `draws` samples of p itself."""
    p = np.asarray(p, np.float64)
    counts = np.random.default_rng(seed).multinomial(draws, p / p.sum(), repeats)
    return float(np.quantile(np.abs(counts / draws - p).sum(axis=1) / 2, 0.95))


def diversity_ratio(drawn: np.ndarray, real: np.ndarray) -> float:
    """Mean Euclidean distance of two different draws [m, D] over the one expected of two real pictures [n, D] drawn at
    random with replacement, which may be the same one: a perfect sampler scores 1. nan where the real ones are
    equal."""
    expected = pdist(np.asarray(real, np.float64)).mean() * (len(real) - 1) / len(real)
    return float(pdist(np.asarray(drawn, np.float64)).mean() / expected) if expected else float("nan")
