"""The tiny latent GAN and batches as the data room makes them, from a seed alone."""

from pathlib import Path

import numpy as np

from t2i_jax import config as configs
from t2i_jax import systems

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.py"
WORDS = 12


def config(*overrides):
    """`configs/quickstart.py:tiny` with `key=value` overrides."""
    return configs.load(f"{CONFIG}:tiny", [f"--config.{override}" for override in overrides])


def system(*overrides):
    return systems.build(config(*overrides), tokenizer=None)


def examples(seed, *shape, resolution=16, length=config().data.text_length):
    """Arrays [*shape, ...]: pictures whose colour and slope say which words their captions use.

    Every picture has a short caption (one word, shared by many) and a long one (two words).
    """
    rng = np.random.default_rng(seed)
    first, second = rng.integers(1, WORDS, (2, *shape))
    long = rng.random(shape) < 0.5
    tokens = np.zeros((*shape, length), np.int32)
    tokens[..., 0], tokens[..., 1] = first, np.where(long, WORDS + second, 0)
    whole = np.zeros((*shape, length), np.int32)
    whole[..., 0], whole[..., 1] = first, WORDS + second
    grid = np.linspace(-1, 1, resolution)
    slope = np.cos(second)[..., None, None] * grid[:, None] + np.sin(second)[..., None, None] * grid[None]
    colour = np.stack([np.cos(first), np.sin(first), np.cos(2 * first)], -1)[..., None, None, :]
    image = 127.5 + 60 * slope[..., None] + 50 * colour + rng.normal(0, 8, (*shape, resolution, resolution, 3))
    short_id, long_id = first, 100 * first + second
    choices = [rng.permutation(tokens.reshape(-1, length)).reshape(tokens.shape) for _ in range(config().data.choices)]
    choice = np.stack(choices, -2)  # of other pictures' captions
    chosen = choice + (choice > 0) * rng.integers(1, WORDS, (*choice.shape[:-1], 1))
    return {
        "choice_tokens": choice,
        "choice_mask": choice != 0,
        "choice_whole_tokens": chosen,
        "choice_whole_mask": chosen != 0,
        "choice_noise": rng.standard_normal((*choice.shape[:-1], config().data.noise)).astype(np.float32),
        "image": image.clip(0, 255).astype(np.uint8),
        "tokens": tokens,
        "mask": tokens != 0,
        "whole_tokens": whole,
        "whole_mask": whole != 0,
        "caption": np.where(long, long_id, short_id).astype(np.uint32),
        "captions": np.stack([short_id, long_id, 0 * first], -1).astype(np.uint32),
        "noise": rng.standard_normal((*shape, config().data.noise)).astype(np.float32),
    }
