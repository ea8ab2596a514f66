"""Fine-tuning on few labelled pairs: which of all pictures they are, decided from a batch alone."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

GOLDEN = np.uint32(0x9E3779B1)  # a multiplier that mixes bits (Knuth, The Art of Computer Programming 3, section 6.4)


def few_pairs(batch: dict, share: float) -> dict:
    """The batch with only those of its pictures, again and again, that belong to the few, about `share` of them all.

    Whether a picture belongs depends on `belongs` alone, so they are the same in every batch of every run. A batch
    without any of them stays as it is.
    """
    chosen = belongs(batch["captions"], share)
    order = jnp.argsort(~chosen, stable=True)
    count = jnp.where(jnp.any(chosen), jnp.sum(chosen), len(chosen))
    return jax.tree.map(lambda x: x[order[jnp.arange(len(chosen)) % count]], batch)


def belongs(captions: Array, share: float) -> Array:
    """Whether pictures are among the few, [B] bool, by a hash of the numbers of all their captions, uint32 [B, C]."""
    mixed = jnp.sum(captions, axis=-1, dtype=jnp.uint32) * GOLDEN
    return (mixed ^ mixed >> 15).astype(jnp.float32) < share * 2.0**32
