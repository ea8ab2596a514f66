"""Vector quantisation: a codebook of K vectors, of which each latent is replaced by the nearest.

Latents are [..., D], a codebook is [K, D], tokens are int32 below K. A codebook that follows its encoder is an aux entry
{"vectors" [K, D], "counts" [K], "sums" [K, D]}: averages of how many latents chose each code and of their sum.
"""

import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array


def nearest(latents: Array, codebook: Array) -> Array:
    """`argmin_k ‖z - c_k‖²`: tokens int32 [...] (VQ-VAE, van den Oord et al. 2017, eq. 1). Of equal distances the first."""
    squares = jnp.expand_dims(jnp.sum(codebook**2, axis=-1), range(latents.ndim - 1))
    # ‖z‖² is the same for every code.
    return jnp.argmin(squares - 2 * jnp.matmul(latents, codebook.T, precision="highest"), axis=-1).astype(jnp.int32)


def lookup(choice: Array, codebook: Array) -> Array:
    """`Σ_k p_k c_k`: vectors [..., D] from one-hot choices or probabilities [..., K], through which gradients pass."""
    return jnp.matmul(choice, codebook, precision="highest")


def straight_through(encoded: Array, quantised: Array) -> Array:
    """The value of `quantised` with the gradient of `encoded`, [..., D] each (van den Oord et al. 2017, section 3.2)."""
    return encoded + jax.lax.stop_gradient(quantised - encoded)


def fit_codebook(latents: Array, size: int, key: Array, iterations: int) -> Array:
    """K-means: the `size` vectors [size, D] from latents [N, D] (Lloyd 1982; started as k-means++, Arthur & Vassilvitskii
    2007). Codes that no latent chooses stay where they are. Needs N x size numbers of memory.
    """

    apart = lambda vector: jnp.sum((latents - vector[None]) ** 2, axis=-1)

    def add(squares: Array, key: Array) -> tuple[Array, Array]:
        """One more start, drawn with probability proportional to its squared distance from those before."""
        total = jnp.cumsum(squares)
        drawn = jnp.searchsorted(total, jax.random.uniform(key) * total[-1], side="right")
        vector = latents[jnp.minimum(drawn, len(latents) - 1)]
        return jnp.minimum(squares, apart(vector)), vector

    far = jnp.full(len(latents), 1e30, latents.dtype)  # from nothing yet, all the same: the first choice is even
    _, vectors = jax.lax.scan(add, far, jax.random.split(key, size))

    def lloyd(vectors: Array, _) -> tuple[Array, None]:
        counts, sums = _members(latents, nearest(latents, vectors), size)
        return jnp.where(counts[:, None] > 0, sums / jnp.maximum(counts, 1)[:, None], vectors), None

    return jax.lax.scan(lloyd, vectors, length=iterations)[0]


def start_codebook(vectors: Array) -> dict:
    """The aux entry of a codebook [K, D] whose codes have all been chosen equally often."""
    return {"vectors": vectors, "counts": jnp.ones(len(vectors), vectors.dtype), "sums": jnp.copy(vectors)}


def update_codebook(codebook: dict, latents: Array, tokens: Array, decay: float, key: Array, least: float) -> dict:
    """The aux entry after one batch: averages moved by `1 - γ`, each vector the mean of the latents that chose it.

    N_k ← γ N_k + (1 - γ) n_k,  m_k ← γ m_k + (1 - γ) Σ z,  c_k = m_k / N_k   (van den Oord et al. 2017, appendix A.1)

    both in units of the even share, batch / K, so that the batch size may change. Codes whose average count falls below
    `least` start again at latents of this batch, drawn by `key` (Dhariwal et al. 2020, section 3).
    latents [N, D], constant; tokens [N], what they chose; decay is γ.
    """
    size = len(codebook["vectors"])
    counts, sums = _members(latents, tokens, size)
    share = (1 - decay) * size / len(latents)
    counts = decay * codebook["counts"] + share * counts
    sums = decay * codebook["sums"] + share * sums
    unused = counts < least
    fresh = jax.random.choice(key, latents, (size,), replace=len(latents) < size)
    counts = jnp.where(unused, 1, counts)
    sums = jnp.where(unused[:, None], fresh, sums)
    return {"vectors": sums / counts[:, None], "counts": counts, "sums": sums}


def _members(latents: Array, tokens: Array, size: int) -> tuple[Array, Array]:
    """How many latents chose each code [size], and their sums [size, D]."""
    return jnp.bincount(tokens, length=size).astype(latents.dtype), jax.ops.segment_sum(latents, tokens, size)
