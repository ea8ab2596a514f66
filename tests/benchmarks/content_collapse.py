"""Content losses that train both embedders: mean square error collapses them, InfoNCE does not.

    python tests/benchmarks/content_collapse.py

A convolutional embedder of handwritten digits (scikit-learn's `load_digits`) and a text encoder of their names learn with
`L = 1/N Σ_i ‖text_i - image_i‖²`, of the embeddings as they are and of unit vectors, or with InfoNCE; the same networks, start
and steps. With the squared error the cheapest answer is one constant for all: a constant tells nothing apart.

    spread      root mean square distance of held-out images' unit vectors from their mean: 0 a constant, 1 evenly spread
    told        held-out images nearest (by angle) to their own of the ten names; chance is .1

Adam 5e-3, batches of 64, mean of two seeds (16,000 steps: a minute of one core):

    steps                       1,000           4,000          16,000
                            spread  told    spread  told    spread  told
    mse                       .117  .714      .024  .493      .000  .118
    mse of unit vectors       .025  .838      .004  .715      .000  .131
    info_nce                  .996  .970      .998  .971      .999  .965

Directions fade before their order does: for a while the squared error still tells digits apart by ever smaller angles.
"""

from functools import partial

import click
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from sklearn.datasets import load_digits

from t2i_jax import keys
from t2i_jax.models.encoders import ConvEmbedder
from t2i_jax.models.text import TextEncoder
from t2i_jax.objectives import alignment, diagnostics

LOSSES = ("mse", "mse of unit vectors", "info_nce")
HELD_OUT, BATCH, EMBEDDING = 297, 64, 16
EMBEDDER, PROJECTION = ConvEmbedder(EMBEDDING, (8, 16)), nn.Dense(EMBEDDING)
TEXT = TextEncoder(vocabulary=11, width=16, depth=0)


def pictures() -> tuple[Array, Array]:
    """(images [1797, 8, 8, 1] in [-1, 1], labels [1797])."""
    data = load_digits()
    return jnp.asarray(data.images[..., None] / 8 - 1, jnp.float32), jnp.asarray(data.target)


def embed(params: dict, images: Array, labels: Array) -> tuple[Array, Array]:
    """Embeddings of images and of the names of digits, [B, EMBEDDING] each."""
    tokens = labels[:, None] + 1
    _, sentence = TEXT.apply({"params": params["text"]}, tokens, jnp.ones_like(tokens, bool))
    seen = EMBEDDER.apply({"params": params["embedder"]}, images)
    return seen, PROJECTION.apply({"params": params["projection"]}, sentence)


def loss_of(name: str, seen: Array, said: Array, labels: Array) -> Array:
    """The loss called `name` of a batch of pairs."""
    match name:
        case "mse":
            return alignment.content_mse(seen, said)
        case "mse of unit vectors":
            return alignment.content_mse(alignment.unit(seen), alignment.unit(said))
        case "info_nce":
            return alignment.info_nce(seen, said, 0.1, labels[:, None] == labels[None])
    raise ValueError(name)


@partial(jax.jit, static_argnames=("name", "steps"))
def train(name: str, steps: int, images: Array, labels: Array, seed: int) -> dict[str, Array]:
    """Train both embedders from scratch; the figures at the end, over held-out pictures."""
    key, optimizer = jax.random.key(seed), optax.adam(5e-3)
    nothing = jnp.zeros((1, TEXT.width))
    params = {
        "embedder": EMBEDDER.init(keys.named(key, "embedder"), images[:1])["params"],
        "text": TEXT.init(keys.named(key, "text"), labels[:1, None], jnp.ones((1, 1), bool))["params"],
        "projection": PROJECTION.init(keys.named(key, "projection"), nothing)["params"],
    }
    held_images, held_labels = images[:HELD_OUT], labels[:HELD_OUT]

    def step(carry: tuple, key: Array) -> tuple:
        params, state = carry
        chosen = jax.random.randint(key, (BATCH,), HELD_OUT, len(images))
        x, y = images[chosen], labels[chosen]
        value, gradient = jax.value_and_grad(lambda params: loss_of(name, *embed(params, x, y), y))(params)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(params, updates), state), value

    (params, _), values = jax.lax.scan(step, (params, optimizer.init(params)), jax.random.split(key, steps))
    seen, _ = embed(params, held_images, held_labels)
    _, names = embed(params, held_images[:10], jnp.arange(10))
    nearest = jnp.argmax(alignment.unit(seen) @ alignment.unit(names).T, axis=1)
    return {"loss": values[-1], "spread": diagnostics.spread(alignment.unit(seen)), "told": jnp.mean(nearest == held_labels)}


@click.command()
@click.option("--steps", default=16_000, show_default=True)
@click.option("--seeds", default=2, show_default=True)
def main(steps: int, seeds: int) -> None:
    """Print a line for each loss: mean figures over seeds."""
    images, labels = pictures()
    for name in LOSSES:
        runs = [train(name, steps, images, labels, seed) for seed in range(seeds)]
        print(f"{name:20}", *(f"{figure} {np.mean([run[figure] for run in runs]):.3f}" for figure in runs[0]))


if __name__ == "__main__":
    main()
