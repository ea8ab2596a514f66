"""What a model must beat: ways from captions to pictures that need no adversary, learnt from the same pictures.

    ridge        bag of words -> pixels, ridge regression in closed form
    regression   bag of words -> the autoencoder's latent, a small network trained on the square error, then the decoder
    copy         the training picture whose caption is nearest
    real         a training picture with the very caption asked for: no baseline but the perfect sampler of the data

The first two answer a prompt that leaves something open with one average picture, however often they are asked.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import Ridge

from t2i_jax.data.randomness import bits, uniform
from t2i_jax.errors import UserError
from t2i_jax.evaluation.regression import fit_network

# A word, a mark, or one character of Chinese and Japanese, which are written without spaces.
WORDS = r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+|[^\w\s]"
PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # of the ridge
VALIDATION = 0.1  # of the training pictures choose among them
WITHIN = 1.1  # of the least validation error
NEAR = 1e-6  # captions whose similarities differ by less are equally near


class Captioned(NamedTuple):
    """Training pictures."""

    images: np.ndarray  # uint8 [N, H, W, C]
    captions: list[tuple[str, ...]]  # all captions of each picture, from general to detailed


class Baseline(NamedTuple):
    """`draw`: (captions, seed) -> pictures uint8 [n, H, W, C]. Picture i depends on the seed, its caption and how
    often the same caption stands before it."""

    name: str
    draw: Callable[[list[str], int], np.ndarray]


def ridge(train: Captioned) -> Baseline:
    """Binary bag of words plus a constant -> pixels; a row for every caption of every picture. Without randomness.

    W = (XᵀX + λI)⁻¹ XᵀY on centred X, Y (Hoerl & Kennard 1970, eq. 2.1); the constant is not penalised. λ is the least
    whose square error on a held-back tenth of the training pictures is at most 1.1 times the best; then all are fitted.
    (Held-back pictures hardly tell penalties apart, training captions do: the stronger baseline is taken.)"""
    texts, owners = _rows(train.captions)
    words = _bag_of_words(texts)
    x, pixels = words(texts), _pixels(train.images)
    held = uniform(bits(0, "ridge validation", np.arange(len(train.images))))[owners] < VALIDATION

    def error(penalty: float) -> float:
        model = _ridge(penalty).fit(x[~held], pixels[owners[~held]])
        return float(np.square(np.clip(model.predict(x[held]), 0, 1) - pixels[owners[held]]).mean())

    errors = {penalty: error(penalty) for penalty in PENALTIES} if held.any() and not held.all() else {1.0: 0.0}
    penalty = min(penalty for penalty, found in errors.items() if found <= WITHIN * min(errors.values()))
    model = _ridge(penalty).fit(x, pixels[owners])
    shape = train.images.shape[1:]
    return Baseline("ridge", lambda prompts, seed: _to_uint8(model.predict(words(prompts)).reshape(-1, *shape)))


def regression(train: Captioned, encode: Callable[[np.ndarray], np.ndarray],
               decode: Callable[[np.ndarray], np.ndarray], seed: int = 0) -> Baseline:
    """Binary bag of words -> latents of the model's own autoencoder, by the square error; what a generator without an
    adversary would be. encode: uint8 [N, H, W, C] -> [N, Z]; decode: [N, Z] -> uint8 [N, H, W, C]. Without randomness
    when drawing; the same input and seed give the same network."""
    texts, owners = _rows(train.captions)
    words = _bag_of_words(texts)
    predict = fit_network(words(texts), np.asarray(encode(train.images), np.float32), owners, seed)
    return Baseline("regression", lambda prompts, seed: decode(predict(words(prompts))))


def copy(train: Captioned) -> Baseline:
    """The training picture with the nearest *other* caption, by the cosine of bags of words weighted by rarity
    (tf-idf); among equally near pictures one at random.

    Pictures with the very caption asked for are left out. Otherwise the copy of a training caption would be the right
    picture itself, at distance zero, and say nothing of how far copying carries; where a caption is new, nothing
    changes. Similarities that differ by less than 1e-6 count as equal.
    UserError where a prompt is left without any picture."""
    texts, owners = _rows(train.captions)
    vectorizer = TfidfVectorizer(token_pattern=WORDS, binary=True)
    known = vectorizer.fit_transform(texts)
    having = _having(train.captions)

    def draw(prompts: list[str], seed: int) -> np.ndarray:
        nearest = {}
        for prompt in dict.fromkeys(prompts):
            similarity = (known @ vectorizer.transform([prompt]).T).toarray()[:, 0]
            own = np.isin(owners, having.get(prompt.casefold(), []))
            if own.all():
                raise UserError(f"copy: every training picture is captioned {prompt!r}; there is no other to copy")
            best = similarity[~own].max()
            nearest[prompt] = np.unique(owners[~own & (similarity >= best - NEAR)])
        return train.images[_choose(nearest, prompts, seed, "copy")]

    return Baseline("copy", draw)


def real(train: Captioned) -> Baseline:
    """A training picture with the very caption asked for, at random with replacement: what a perfect sampler of the
    data draws, and the ceiling of every figure on training captions. UserError for a caption that no picture has."""
    having = _having(train.captions)

    def draw(prompts: list[str], seed: int) -> np.ndarray:
        unknown = [prompt for prompt in prompts if prompt.casefold() not in having]
        if unknown:
            raise UserError(f"real: no training picture is captioned {unknown[0]!r}; ask for training captions only")
        return train.images[_choose({p: having[p.casefold()] for p in prompts}, prompts, seed, "real")]

    return Baseline("real", draw)


def pca(images: np.ndarray, dimensions: int) -> Callable[[np.ndarray], np.ndarray]:
    """Reconstruction (uint8 [n, H, W, C] -> the same) by the first `dimensions` principal components of training
    pictures uint8 [N, H, W, C] (as many as they have, at most): the floor of an autoencoder of the same size."""
    pixels = _pixels(images)
    model = PCA(min(dimensions, *pixels.shape), svd_solver="randomized", random_state=0).fit(pixels)
    return lambda other: _to_uint8(model.inverse_transform(model.transform(_pixels(other))).reshape(other.shape))


def _rows(captions: Sequence[tuple[str, ...]]) -> tuple[list[str], np.ndarray]:
    """Every caption, and the index of the picture it belongs to."""
    return ([text for texts in captions for text in texts],
            np.repeat(np.arange(len(captions)), [len(texts) for texts in captions]))


def _bag_of_words(texts: list[str]) -> Callable[[list[str]], np.ndarray]:
    """captions -> float32 [n, words], 1 where a word of `texts` occurs."""
    vectorizer = CountVectorizer(token_pattern=WORDS, binary=True, dtype=np.float32).fit(texts)
    return lambda others: vectorizer.transform(others).toarray()


def _having(captions: Sequence[tuple[str, ...]]) -> dict[str, list[int]]:
    """{caption: indices of the pictures that have it}."""
    having = defaultdict(list)
    for index, texts in enumerate(captions):
        for text in {text.casefold() for text in texts}:
            having[text].append(index)
    return having


def _choose(choices: dict[str, Sequence[int]], prompts: list[str], seed: int, use: str) -> np.ndarray:
    """For each prompt one of its choices at random, int64 [n]; depends on nothing drawn beside it."""
    seen, chosen = Counter(), []
    for prompt in prompts:
        chance = uniform(bits(seed, f"{use} {prompt}", np.array([seen[prompt]])))[0]
        chosen.append(choices[prompt][int(chance * len(choices[prompt]))])
        seen[prompt] += 1
    return np.array(chosen, np.int64)


def _ridge(penalty: float) -> Ridge:
    return Ridge(alpha=penalty, solver="cholesky")


def _pixels(images: np.ndarray) -> np.ndarray:
    """float32 [N, H*W*C] in [0, 1]."""
    return images.reshape(len(images), -1).astype(np.float32) / 255


def _to_uint8(pixels: np.ndarray) -> np.ndarray:
    return np.clip(np.round(pixels * 255), 0, 255).astype(np.uint8)
