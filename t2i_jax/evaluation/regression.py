"""The network of the regression baseline: from a bag of words to a latent, by nothing but the square error."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from t2i_jax import keys
from t2i_jax.models.layers import ResidualStack

WIDTH, HIDDEN, BLOCKS = 512, 1024, 2
BATCH = 256
EPOCHS, LEAST_STEPS, MOST_STEPS = 80, 100, 2000  # all captions so many times, within bounds
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 0.05


class Regressor(nn.Module):
    """Bags of words [B, words] to latents [B, latent]."""

    latent: int

    @nn.compact
    def __call__(self, words: Array) -> Array:
        return nn.Dense(self.latent)(ResidualStack(WIDTH, HIDDEN, BLOCKS)(words))


def fit_network(words: np.ndarray, latents: np.ndarray, owners: np.ndarray,
                seed: int = 0) -> Callable[[np.ndarray], np.ndarray]:
    """A function from bags of words float32 [n, words] to latents [n, Z], fitted to rows (words[i],
    latents[owners[i]]).

    words: [rows, words] of all captions; latents: [N, Z], one for each picture; owners: [rows], whose caption a row is.
    AdamW (Loshchilov & Hutter 2019) with half a cosine; rows are drawn with replacement. Latents are shifted and
    scaled as a whole, so that their directions keep their weight. The same input and seed give the same function."""
    mean, scale = latents.mean(axis=0), max(float(latents.std()), 1e-6)
    inputs, targets = jnp.asarray(words), jnp.asarray((latents - mean) / scale)
    owner = jnp.asarray(owners)
    network = Regressor(latents.shape[1])
    steps = int(np.clip(EPOCHS * len(words) // BATCH, LEAST_STEPS, MOST_STEPS))
    optimizer = optax.adamw(optax.cosine_decay_schedule(LEARNING_RATE, steps), weight_decay=WEIGHT_DECAY)
    key = jax.random.key(seed)

    def loss(params: dict, rows: Array) -> Array:
        return jnp.mean((network.apply(params, inputs[rows]) - targets[owner[rows]]) ** 2)

    def step(state: tuple, number: Array) -> tuple[tuple, None]:
        params, memory = state
        rows = jax.random.randint(jax.random.fold_in(keys.named(key, "rows"), number), (BATCH,), 0, len(inputs))
        updates, memory = optimizer.update(jax.grad(loss)(params, rows), memory, params)
        return (optax.apply_updates(params, updates), memory), None

    params = network.init(keys.named(key, "network"), inputs[:1])
    (params, _), _ = jax.jit(lambda state: jax.lax.scan(step, state, jnp.arange(steps)))(
        (params, optimizer.init(params)))
    apply = jax.jit(network.apply)
    return lambda others: np.asarray(apply(params, others)) * scale + mean
