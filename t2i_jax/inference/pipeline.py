"""From a checkpoint and a sentence to pictures, in one forward pass."""

import collections
import warnings
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from PIL import Image

from t2i_jax.data.tokenizer import Tokenizer
from t2i_jax.distributed import hosts
from t2i_jax.errors import UserError
from t2i_jax.systems import System
from t2i_jax.training.resume import load_weights
from t2i_jax.training.state import drawing_weights

BUCKET = 8  # pictures drawn at once, always: a picture must not depend on what is drawn beside it


def load(path: str | Path, weights: str = "ema") -> "TextToImage":
    """The model in a work directory (its newest whole checkpoint) or in one checkpoint directory.

    weights: "ema" for the averaged parameters, "raw" for the trained ones. Reads arrays and JSON, executes nothing.
    Raises UserError where there is no checkpoint, it is damaged, a newer version wrote it, or its system draws nothing.
    """
    if weights not in ("ema", "raw"):
        raise UserError(f"weights = {weights!r} is unknown; accepted: ema, raw")
    found = load_weights(Path(path), Tokenizer.from_json)
    if found.system.generate is None:
        raise UserError(f"{path} holds a system that draws nothing, made to evaluate pictures: give a run that draws")
    params, aux = found.params, found.aux
    if weights == "ema":
        params, aux = drawing_weights(params, aux, found.ema)
    about = found.run.about
    if not about["finished"]:
        warnings.warn(f"{path}: training is not finished (stage {about['stage']!r}, {about['images']} images seen)")
    name = f"{about.get('name', Path(path).name)}@{about['images']}"
    return TextToImage(found.system, params, aux, name)


class TextToImage:
    """A text-to-image model: call it with a prompt. The same seed gives the same picture, whatever is drawn beside it."""

    def __init__(self, system: System, params: dict, aux: dict, name: str):
        """name: what the model is called in the metadata of its pictures."""
        self.system, self.params, self.aux, self.name = system, params, aux, name
        compiled_in = [option for option, default in system.options.items() if not isinstance(default, float)]
        self._draw = jax.jit(system.generate, static_argnames=compiled_in)

    def __call__(self, prompt: str, num_images: int = 1, seed: int = 0, **options) -> list[Image.Image]:
        """`num_images` pictures of `prompt`; with return_steps=True a list of partial pictures for each.

        options: those of the model's system, `model.system.options` with their defaults, see `generate`.
        Raises UserError for an empty prompt, fewer than one picture, and an option that the model does not have.
        """
        if num_images < 1:
            raise UserError(f"num_images = {num_images} is impossible; accepted: 1 or more")
        images = np.asarray(self.generate([prompt] * num_images, key=jax.random.key(seed), **options))
        return [[to_pil(step) for step in image] if image.ndim == 4 else to_pil(image) for image in images]

    def generate(self, prompts: list[str], *, key: Array, **options) -> Array:
        """One picture for each prompt: float [N, H, W, C] in [-1, 1]; with return_steps=True [N, S, H, W, C].

        options, of systems that have them:
            truncation: scale of the noise; 1 draws as trained, 0 draws the most typical picture every time
            temperature, top_k, top_p: how tokens are chosen among the likely ones; 0 of top_k stands for all
            num_inference_steps: in how many steps the tokens are drawn, 0 for one after another
            return_steps: the partial picture after each step

        Picture i depends on `key`, its prompt and how often the same prompt stands before it, on nothing else. Of several
        processes all call this alike; each draws its share, and gets all.
        Raises UserError for an empty prompt or list and for an option that the model does not have or cannot take.
        """
        if not prompts or not all(prompt.strip() for prompt in prompts):
            raise UserError("prompt: it is empty; describe a picture, for example 'a red heart'")
        options = self._checked(options)
        example_keys = [_prompt_key(key, prompt, number) for prompt, number in zip(prompts, _occurrences(prompts))]

        def draw(bucket: int) -> Array:
            places = [min(bucket * BUCKET + i, len(prompts) - 1) for i in range(BUCKET)]
            text = self.system.encode([prompts[i] for i in places])
            return self._draw(self.params, self.aux, text, jnp.stack([example_keys[i] for i in places]), **options)

        return jnp.concatenate(hosts.in_shares(-(-len(prompts) // BUCKET), draw))[: len(prompts)]

    def _checked(self, options: dict) -> dict:
        """All options of the system, those given in their types. Raises UserError."""
        known = self.system.options
        for option, value in options.items():
            if option not in known:
                raise UserError(f"{self.name} has no option {option!r}; it has: {', '.join(known) or 'none'}")
            if not value >= 0:
                raise UserError(f"{option} = {value} is impossible; accepted: 0 or more")
        return {
            option: jnp.float32(options.get(option, default)) if isinstance(default, float)
            else type(default)(options.get(option, default))
            for option, default in known.items()
        }


def _prompt_key(key: Array, prompt: str, number: int) -> Array:
    return jax.random.fold_in(jax.random.fold_in(key, zlib.crc32(prompt.encode())), number)


def _occurrences(prompts: list[str]) -> list[int]:
    """For each prompt, how often it occurred before."""
    seen = collections.Counter()
    numbers = []
    for prompt in prompts:
        numbers.append(seen[prompt])
        seen[prompt] += 1
    return numbers


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Float pixels in [-1, 1] as uint8, rounded to the nearest level."""
    return np.clip(np.round((np.asarray(images, np.float32) + 1) * 127.5), 0, 255).astype(np.uint8)


def to_pil(image: np.ndarray) -> Image.Image:
    """Float [H, W, C] in [-1, 1] as a picture, grey for C = 1."""
    pixels = to_uint8(image)
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
