"""Drawing tokens from logits. All randomness comes in as Gumbel noise: the same noise draws the same tokens.

argmax_v (l_v + g_v), g_v ~ Gumbel(0, 1), is a draw from softmax(l) (Gumbel 1954; Maddison et al. 2014, section 2).
"""

import jax
import jax.numpy as jnp
from jax import Array

COLD = 1e-6  # the temperature below which probabilities are those of the likeliest tokens alone


def choose(logits: Array, gumbel: Array, temperature: Array | float, top_k: int, top_p: Array | float) -> Array:
    """Tokens int32 [...] from softmax(logits / temperature), logits and gumbel [..., V].

    temperature: 0 takes the likeliest. top_k: only among the k likeliest, 0 for all. top_p: only among the fewest likeliest
    that together have this probability at this temperature, 1 for all (nucleus sampling, Holtzman et al. 2020, section 3.1).
    The likeliest is never excluded, nor a token as likely as one that stays.
    """
    scaled = (logits - jnp.max(logits, axis=-1, keepdims=True)) / jnp.maximum(temperature, COLD)
    kept = jnp.ones_like(logits, dtype=bool)
    if top_k:
        kept &= logits >= jax.lax.top_k(logits, min(top_k, logits.shape[-1]))[0][..., -1:]
    probabilities = jax.nn.softmax(jnp.where(kept, scaled, -jnp.inf))
    ranked = jnp.flip(jnp.sort(probabilities, axis=-1), axis=-1)
    likelier = jnp.cumsum(ranked, axis=-1) - ranked  # together, than the one at this rank
    least = jnp.min(jnp.where((likelier < top_p) | (likelier == 0), ranked, jnp.inf), axis=-1, keepdims=True)
    # With top_p = 1 rounding must not cost the tail.
    kept &= (probabilities >= least) | (top_p >= 1)
    return jnp.argmax(jnp.where(kept, logits + temperature * gumbel, -jnp.inf), axis=-1).astype(jnp.int32)


def straight_through_sample(logits: Array, gumbel: Array, temperature: Array | float) -> Array:
    """A draw from softmax(logits) as one-hot [..., V], whose gradient is that of softmax((logits + gumbel) / temperature).

    The straight-through Gumbel-softmax estimator (Jang et al. 2017, section 2.2): a low temperature is nearer the draw, a
    high one has calmer gradients. logits, gumbel [..., V].
    """
    noisy = logits + gumbel
    drawn = jax.nn.one_hot(jnp.argmax(noisy, axis=-1), logits.shape[-1], dtype=logits.dtype)
    relaxed = jax.nn.softmax(noisy / temperature)
    return drawn + (relaxed - jax.lax.stop_gradient(relaxed))
