"""From a checkpoint and a sentence to pictures, in one forward pass."""

import collections
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from PIL import Image

from t2i_jax.distributed import hosts
from t2i_jax.errors import UserError
from t2i_jax.inference import exported
from t2i_jax.inference.prompts import Prompt, between, guided, parse

if TYPE_CHECKING:
    from t2i_jax.systems import System

BUCKET = 8  # pictures drawn at once, unless asked otherwise: a picture must not depend on what is drawn beside it


def load(path: str | Path, weights: str = "ema") -> "TextToImage":
    """The model in a work directory (its newest whole checkpoint), in one checkpoint directory, or exported.

    weights: "ema" for the averaged parameters, "raw" for the trained ones. Reads arrays and JSON, executes nothing.
    Raises UserError where there is no checkpoint, it is damaged, a newer version wrote it, or its system draws nothing.
    """
    if weights not in ("ema", "raw"):
        raise UserError(f"weights = {weights!r} is unknown; accepted: ema, raw")
    if exported.is_exported(Path(path)):
        program, arrays, about = exported.read(Path(path))
        if weights != about["weights"]:
            raise UserError(f"{path} holds {about['weights']} weights alone; export the run again with --weights {weights}")
        return TextToImage(program, arrays, {}, about["name"])
    # Imported here: an exported model draws without the code that trains, and starts sooner for it.
    from t2i_jax.training.resume import load_weights
    from t2i_jax.training.state import drawing_weights

    found = load_weights(Path(path))
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

    def __init__(self, system: "System | exported.Program", params: dict, aux: dict, name: str, bucket: int = BUCKET):
        """name: what the model is called in the metadata of its pictures.

        bucket: pictures drawn at once; fewer are filled up. Another size may round differently, by less than a grey level.
        """
        self.system, self.params, self.aux, self.name, self._bucket = system, params, aux, name, bucket
        compiled_in = [option for option, default in system.options.items() if not isinstance(default, float)]
        self._draw = jax.jit(system.generate, static_argnames=compiled_in)

    def __call__(self, prompt: str | Prompt, num_images: int = 1, seed: int = 0, *, negative: str | None = None,
                 strength: float | None = None, **options) -> list[Image.Image]:
        """`num_images` pictures of `prompt`; with return_steps=True a list of partial pictures for each.

        prompt: "a (red:1.5) heart" gives a phrase more weight, see `inference.prompts.parse`.
        negative, strength: a prompt to move away from, and how far, see `inference.prompts.guided`.
        options: those of the model's system, `model.system.options` with their defaults, see `generate`.
        Raises UserError for an empty prompt, fewer than one picture, and what the model does not have or cannot do.
        """
        if num_images < 1:
            raise UserError(f"num_images = {num_images} is impossible; accepted: 1 or more")
        prompt = guided(_parsed(prompt), negative, strength)
        images = np.asarray(self.generate([prompt] * num_images, key=jax.random.key(seed), **options))
        return [[to_pil(step) for step in image] if image.ndim == 4 else to_pil(image) for image in images]

    def interpolate(self, first: str, last: str, steps: int = 8, seed: int = 0, **options) -> list[Image.Image]:
        """`steps` pictures on the way from one prompt to the other, all of the same noise; the first is `model(first)`'s.

        options: as in a call. Raises UserError as a call does, and for fewer than 2 steps.
        """
        way = between(_parsed(first), _parsed(last), steps)
        key = _prompt_key(jax.random.key(seed), way[0].text, 0)
        return [to_pil(frame) for frame in np.asarray(self._generate(way, [key] * steps, options))]

    def generate(self, prompts: Sequence[str | Prompt], *, key: Array, **options) -> Array:
        """One picture for each prompt: float [N, H, W, C] in [-1, 1]; with return_steps=True [N, S, H, W, C].

        options, of systems that have them:
            truncation: scale of the noise; 1 draws as trained, 0 draws the most typical picture every time
            temperature, top_k, top_p: how tokens are chosen among the likely ones; 0 of top_k stands for all
            num_inference_steps: in how many steps the tokens are drawn, 0 for one after another
            return_steps: the partial picture after each step

        Picture i depends on `key`, its prompt and how often a prompt of the same text stands before it, on nothing else. Of
        several processes all call this alike; each draws its share, and gets all.
        Raises UserError for an empty prompt or list and for an option that the model does not have or cannot take.
        """
        if not prompts:
            raise UserError("prompt: it is empty; describe a picture, for example 'a red heart'")
        asked = [_parsed(prompt) for prompt in prompts]
        texts = [prompt.text for prompt in asked]
        return self._generate(asked, [_prompt_key(key, *which) for which in zip(texts, _occurrences(texts))], options)

    def lowered(self) -> jax.stages.Lowered:
        """The program that draws plain prompts, options as trained; of the weights shapes and places will do."""
        text = self.system.encode(["a"] * self._bucket)
        return self._draw.lower(self.params, self.aux, text, jnp.stack([jax.random.key(0)] * self._bucket), **self._checked({}))

    def _generate(self, asked: Sequence[Prompt], example_keys: Sequence[Array], options: dict) -> Array:
        """One picture for each prompt, from its key."""
        options = self._checked(options)
        parts = np.array([0 if prompt.plain else len(prompt.parts) for prompt in asked])
        if parts.any() and not self.system.blends:
            raise UserError(f"{self.name} cannot add prompts up; give one without weights, negative prompt and strength")
        order = np.argsort(parts, kind="stable")  # sums of like length together: a picture must not depend on the others
        images = []
        for count in np.unique(parts):
            members = np.flatnonzero(parts == count)

            def draw(number: int) -> Array:
                chosen = members[number * self._bucket : (number + 1) * self._bucket]
                chosen = np.pad(chosen, (0, self._bucket - len(chosen)), "edge")
                text = self._text([asked[n] for n in chosen], count)
                return self._draw(self.params, self.aux, text, jnp.stack([example_keys[n] for n in chosen]), **options)

            images.append(jnp.concatenate(hosts.in_shares(-(-len(members) // self._bucket), draw))[: len(members)])
        images = jnp.concatenate(images)
        return images if np.all(np.diff(order) > 0) else images[np.argsort(order)]

    def _text(self, wanted: list[Prompt], parts: int) -> dict:
        """Text entries [B, ...] of plain prompts (parts = 0), or [B, parts, ...] with their coefficients."""
        if not parts:
            return self.system.encode([prompt.text for prompt in wanted])
        flat = self.system.encode([sentence for prompt in wanted for sentence, _ in prompt.parts])
        text = {name: entry.reshape(len(wanted), parts, *entry.shape[1:]) for name, entry in flat.items()}
        return text | {"blend": np.array([[number for _, number in prompt.parts] for prompt in wanted], np.float32)}

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


def _parsed(prompt: str | Prompt) -> Prompt:
    return parse(prompt) if isinstance(prompt, str) else prompt


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
