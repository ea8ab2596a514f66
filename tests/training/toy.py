"""A two-player system of forty lines on 4x4 grey pictures: small enough to compute by hand, real enough to train."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

from t2i_jax import keys
from t2i_jax.paths import below
from t2i_jax.systems import Phase, Stage, System
from t2i_jax.training.loop import Data


def init(key):
    dense = lambda name, shape: 0.3 * jax.random.normal(keys.named(key, name), shape)
    params = {
        "autoencoder": {"kernel": dense("a", (16, 6))},
        "generator": {"kernel": dense("g", (6, 16)), "bias": jnp.zeros(16)},
        "discriminator": {"kernel": dense("d", (16, 8)), "out": dense("o", (8,))},
    }
    return params, {"mean": jnp.zeros(16), "count": jnp.float32(0), "scale": jnp.ones(())}


def fake(turn):
    noise = keys.normal(keys.named(turn.keys, "noise"), (6,))
    return jnp.tanh(noise @ turn.params["generator"]["kernel"] + turn.params["generator"]["bias"][None])


def logits(turn, pictures):
    return jnp.tanh(pictures @ turn.params["discriminator"]["kernel"]) @ turn.params["discriminator"]["out"]


def pixels(turn):
    return turn.batch["image"].reshape(-1, 16)


def reconstruction(turn):
    kernel = turn.params["autoencoder"]["kernel"]
    loss = jnp.mean((pixels(turn) @ kernel @ kernel.T - pixels(turn)) ** 2)
    return loss, ({}, {"error": loss})


def discriminator(turn):
    real, made = logits(turn, pixels(turn)), logits(turn, fake(turn))
    loss = jnp.mean(jax.nn.softplus(-real)) + jnp.mean(jax.nn.softplus(made))
    mean = 0.9 * turn.aux["mean"] + 0.1 * pixels(turn).mean(0)
    return loss, ({"mean": mean, "count": turn.aux["count"] + 1}, {"gap": jnp.mean(real) - jnp.mean(made)})


def generator(turn):
    loss = jnp.mean(jax.nn.softplus(-logits(turn, fake(turn))))
    return loss, ({}, {})


def enter(state, sample):
    scale = jnp.std(sample["image"]) + 0 * state.aux["scale"]
    return dataclasses.replace(state, aux=state.aux | {"scale": scale})


def system(images=(256, 512), learning_rate=1e-2, every=1, accumulate=1):
    adam = optax.with_extra_args_support(optax.adam(learning_rate))
    return System(
        init=init,
        stages=(
            Stage("autoencoder", images[0], (Phase("autoencoder", below("autoencoder"), reconstruction, "autoencoder"),)),
            Stage(
                "gan",
                images[1],
                (
                    Phase("d", below("discriminator"), discriminator, "d", ("mean", "count"), accumulate=accumulate),
                    Phase("g", below("generator"), generator, "g", every=every, accumulate=accumulate),
                ),
                enter,
            ),
        ),
        optimizers={"autoencoder": adam, "d": adam, "g": adam},
        ema={"generator": 64.0, "autoencoder": 64.0},
        encode=lambda captions: {"length": np.array([len(caption) for caption in captions], np.int32)},
        generate=lambda params, aux, text, example_keys: jnp.zeros((len(example_keys), 4, 4, 1)),
        image_shape=(4, 4, 1),
    )


def examples(start, count):
    """Examples `start` to `start + count` of an endless data set: a function of the index alone."""
    index = np.arange(start, start + count)
    image = (np.sin(index[:, None] * np.arange(1, 17)[None] * 0.7) * 100 + 128).astype(np.uint8).reshape(-1, 4, 4, 1)
    return {"image": image, "index": index.astype(np.uint32)}


def data(batch_size=16, scan_length=4, pause=lambda index: None, rows=slice(None)):
    """Of every batch the places `rows`, all by default; `pause` is called with the first example of each stack."""
    def batches(start):
        while True:
            pause(start)
            chunk = examples(start, batch_size * scan_length)
            yield {name: x.reshape(scan_length, batch_size, *x.shape[1:])[:, rows] for name, x in chunk.items()}
            start += batch_size * scan_length

    return Data(batches, lambda: examples(0, 32), batch_size, scan_length)
