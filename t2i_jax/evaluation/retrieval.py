"""Do pictures show what their captions say, judged in the shared space of an image-text evaluator."""

import numpy as np
from einops import einsum

from t2i_jax.errors import UserError


def similarity(image: np.ndarray, text: np.ndarray) -> float:
    """Mean cosine of the embeddings of pictures and their captions, both [N, D], in [-1, 1]."""
    return float(einsum(_unit(image), _unit(text), "n d, n d -> n").mean())


def hits(
    image: np.ndarray, own_text: np.ndarray, pool_text: np.ndarray, right: np.ndarray, *, wrong: int = 99, seed: int = 0
) -> np.ndarray:
    """R-precision, top 1 of `wrong + 1` (Xu et al. 2018, section 4): bool [N], whose mean is the figure; chance is
    `1 / (wrong + 1)`.

    A picture is a hit where its own caption is nearer to it, by cosine, than every one of `wrong` wrong captions, drawn
    for each picture without replacement; as near is a miss, so that embeddings without content score nothing. The
    draws depend on `right`, `wrong` and `seed` alone: several models judged on the same captions meet the same ones.

    image, own_text: [N, D]; pool_text: [M, D], distinct captions; right: bool [N, M], captions that are right for the
    picture and never drawn. Raises UserError where a picture has fewer than `wrong` wrong captions.
    """
    right = np.asarray(right, bool)
    if right.shape != (len(image), len(pool_text)) or len(own_text) != len(image):
        raise ValueError(f"{len(image)} images, {len(own_text)} texts, pool of {len(pool_text)}, right {right.shape}")
    image, own_text, pool_text = _unit(image), _unit(own_text), _unit(pool_text)
    rng = np.random.default_rng(seed)
    found = np.empty(len(image), bool)
    for i, columns in enumerate(np.flatnonzero(~row) for row in right):
        if len(columns) < wrong:
            few = f"R-precision needs {wrong} wrong captions for every picture, number {i} has {len(columns)}"
            raise UserError(f"{few}: judge more pictures")
        candidates = np.vstack([own_text[i], pool_text[rng.choice(columns, wrong, replace=False)]])
        cosines = (candidates * image[i]).sum(axis=1)  # each row summed alike: equal captions stay exactly equal
        found[i] = np.all(cosines[0] > cosines[1:])
    return found


def paired_bootstrap(a: np.ndarray, b: np.ndarray, *, draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Difference of two hit rates on the same pictures: (mean of `a - b`, half-width of its 95 % percentile interval)
    (Efron and Tibshirani 1993, chapter 13).

    a, b: bool [N]. A difference is -1, 0 or 1, so resampling N pictures is one multinomial draw of three counts.
    """
    if np.shape(a) != np.shape(b) or np.ndim(a) != 1 or len(a) == 0:
        raise ValueError(f"hits of shapes {np.shape(a)} and {np.shape(b)}, expected twice [N] with N > 0")
    difference = np.asarray(a, bool).astype(np.int64) - np.asarray(b, bool)
    shares = np.array([np.mean(difference == value) for value in (-1, 0, 1)])
    counts = np.random.default_rng(seed).multinomial(len(difference), shares, size=draws)
    low, high = np.percentile((counts[:, 2] - counts[:, 0]) / len(difference), [2.5, 97.5])
    return float(difference.mean()), float(high - low) / 2


def _unit(embedding: np.ndarray) -> np.ndarray:
    """Embeddings [N, D] in float64, scaled to length 1; zeros stay zeros."""
    embedding = np.asarray(embedding, np.float64)
    length = np.linalg.norm(embedding, axis=1, keepdims=True)
    return embedding / np.where(length > 0, length, 1)
