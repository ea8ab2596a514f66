"""Whether image and caption belong together: content losses, and which captions of a batch are wrong for an image.

Captions come at several levels of detail, so two examples of a batch may well have exchangeable captions. Nothing may
treat such a pair as a mismatch: `right_pairs` finds them, the others take its answer.
"""

import jax
import jax.numpy as jnp
from jax import Array

from t2i_jax.objectives.precision import at_least_float32


def content_mse(image_embedding: Array, text_embedding: Array) -> Array:
    """`1/N Σ_i ‖text_i - image_i‖²`, from embeddings `[B, D]`: a float32 scalar.

    Training both embedders with it alone collapses them to a constant: keep one fixed, or use `info_nce`.
    """
    difference = at_least_float32(text_embedding) - at_least_float32(image_embedding)
    return jnp.mean(jnp.sum(difference**2, axis=-1))


def info_nce(image_embedding: Array, text_embedding: Array, temperature: Array | float, right: Array) -> Array:
    """Symmetric InfoNCE of cosine similarities: a float32 scalar.

    With `s_ij = cos(image_i, text_j) / temperature`: the mean of `-log softmax_j(s_i.)_i` and `-log softmax_i(s_.j)_j`,
    where other captions that are right for image i are left out of the sum rather than counted as negatives
    (van den Oord et al. 2018, eq. 4; symmetric as in CLIP, Radford et al. 2021).

    image_embedding, text_embedding: `[B, D]`, of any length; temperature > 0; right: `[B, B]` bool, see `right_pairs`
    (for generated images `compatible_pairs`).
    """
    image, text = unit(image_embedding), unit(text_embedding)
    similarity = jnp.matmul(image, text.T, precision="highest") / temperature
    own = jnp.eye(len(image), dtype=bool)
    similarity = jnp.where(right & ~own, -jnp.inf, similarity)
    image_to_text = jnp.diagonal(jax.nn.log_softmax(similarity, axis=1))
    text_to_image = jnp.diagonal(jax.nn.log_softmax(similarity, axis=0))
    return -(jnp.mean(image_to_text) + jnp.mean(text_to_image)) / 2


def unit(embedding: Array) -> Array:
    """Embeddings `[B, D]` at length 1 in at least float32; near 0 they stay short and keep a derivative."""
    embedding = at_least_float32(embedding)
    return embedding * jax.lax.rsqrt(jnp.sum(embedding**2, axis=-1, keepdims=True) + 1e-12)


def right_pairs(caption_ids: Array, picture_caption_ids: Array) -> Array:
    """`[B, B]` bool: is caption j right for image i?

    caption_ids: `[B]` uint32, the caption each example was drawn with; 0 is none, right for no image but its own.
    picture_caption_ids: `[B, C]` uint32, every caption of each example's picture, at all levels of detail, padded by 0.
    """
    listed = jnp.any(picture_caption_ids[:, :, None] == caption_ids[None, None, :], axis=1)
    same = caption_ids[:, None] == caption_ids[None, :]
    return (listed | same) & (caption_ids != 0)[None, :] | jnp.eye(len(caption_ids), dtype=bool)


def compatible_pairs(right: Array) -> Array:
    """`[B, B]` bool: may caption j be right for an image *generated* from caption i?

    A draw for "firefighter" may show a woman although picture i does not. If caption i is right for picture j, that
    picture shows what both captions say, so neither is wrong for a draw from the other.

    right: `[B, B]` from `right_pairs`.
    """
    return right | right.T


def wrong_captions(right: Array) -> tuple[Array, Array]:
    """For each image the nearest following caption, cyclically, that is really wrong for it.

    right: `[B, B]` bool from `right_pairs` (`compatible_pairs` for generated images).
    Returns index `[B]` int32 and valid `[B]` bool; where the batch holds no wrong caption, valid is false and index is
    the image's own.
    """
    position = jnp.arange(len(right))
    distance = (position[None, :] - position[:, None]) % len(right)
    distance = jnp.where(right | (distance == 0), len(right), distance)
    valid = jnp.min(distance, axis=1) < len(right)
    return jnp.where(valid, jnp.argmin(distance, axis=1), position), valid
