"""Prompts that are more than a sentence: parts that count more or less, what to move away from, ways between two.

Each is a sum of sentences: its parts' features are added with coefficients, see `systems._reading.Reader.read`.

    "a (red:1.5) heart"                 s + 0.5 (s - s₀)        s: of "a red heart", s₀: of "a heart", without what is weighted
    negative prompt n, strength w       n + w (s - n)           0 in the place of n where none is given
    a way from a to b                   (1 - f) a + f b
"""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from t2i_jax.errors import UserError

WEIGHTED = re.compile(r"(?<!\\)\(([^()]+):\s*(\d+(?:\.\d+)?|\.\d+)\s*\)")  # "(red:1.5)"; "\(red:1.5)" is text
MOST = 10.0  # larger weights and strengths draw nothing that was ever trained


class Prompt(NamedTuple):
    """A sum of sentences."""

    text: str  # which noise is drawn is a function of this
    parts: tuple[tuple[str, float], ...]  # sentences and their coefficients

    @property
    def plain(self) -> bool:
        """Whether it is nothing but its text."""
        return self.parts == ((self.text, 1.0),)

    def times(self, factor: float) -> tuple[tuple[str, float], ...]:
        """Its parts, multiplied."""
        return tuple((sentence, factor * coefficient) for sentence, coefficient in self.parts)


def whole(text: str) -> str:
    """The text with "?" for each half of a character, which is all that some programs leave of an emoji."""
    return text.encode(errors="replace").decode()


def literal(text: str) -> Prompt:
    """The text as it stands, parentheses included."""
    return Prompt(text, ((text, 1.0),))


def parse(text: str) -> Prompt:
    """The prompt with the weights that "(phrase:1.5)" gives, above 1 for more of it, 0 for none.

    Raises UserError for a prompt without a visible character and for a weight above MOST.
    """
    text = whole(text)
    weighted = list(WEIGHTED.finditer(text))
    plain = lambda without=None: _tidy("".join(
        piece for piece in _pieces(text, weighted, without)), bool(weighted)).replace("\\(", "(")
    full = plain()
    if not full.strip():
        raise UserError("prompt: it is empty; describe a picture, for example 'a red heart'")
    own, others = 1.0, []
    for number, match in enumerate(weighted):
        weight = float(match[2])
        if weight > MOST:
            raise UserError(f"prompt: weight {weight:g} of {match[1]!r} is impossible; accepted: 0 to {MOST:g}")
        own += weight - 1
        others.append((plain(number), 1 - weight))
    return Prompt(full, _summed([(full, own), *others]))


def guided(prompt: Prompt, negative: str | None, strength: float | None) -> Prompt:
    """The prompt moved away from `negative`, by default by strength 2; without `negative` away from what says nothing.

    Strength 1 is the prompt itself, 0 the negative one. Raises UserError for a strength outside 0 to MOST.
    """
    if negative is None and strength is None:
        return prompt
    strength = 2.0 if strength is None else strength
    if not 0 <= strength <= MOST or not math.isfinite(strength):
        raise UserError(f"strength = {strength} is impossible; accepted: 0 to {MOST:g}, 1 draws the prompt as it is")
    if negative is None and not strength:
        raise UserError("strength = 0 leaves nothing to draw; give a negative prompt, or more than 0")
    away = parse(negative).times(1 - strength) if negative is not None else ()
    return prompt._replace(parts=_summed([*prompt.times(strength), *away]))


def between(first: Prompt, last: Prompt, steps: int) -> list[Prompt]:
    """`steps` prompts in even steps from the first to the last, all with the first one's noise.

    Raises UserError for fewer than 2 steps.
    """
    if steps < 2:
        raise UserError(f"steps = {steps} is impossible; accepted: 2 or more pictures from one prompt to the other")
    return [Prompt(first.text, first.times(1 - share) + last.times(share)) for share in np.linspace(0, 1, steps).tolist()]


def roughness(frames: Sequence[Image.Image]) -> float:
    """The largest step between neighbouring frames as a multiple of the mean step, root mean square over pixels: 1 is even."""
    pixels = [np.asarray(frame, np.float64) for frame in frames]
    steps = [np.sqrt(np.mean((one - other) ** 2)) for one, other in zip(pixels, pixels[1:])]
    return float(max(steps) / np.mean(steps)) if any(steps) else 1.0


def _pieces(text: str, weighted: Sequence[re.Match], without: int | None) -> list[str]:
    """The text with each weighted phrase in place of its parenthesis, but for the one numbered `without`."""
    pieces, place = [], 0
    for number, match in enumerate(weighted):
        pieces += [text[place : match.start()], "" if number == without else match[1]]
        place = match.end()
    return [*pieces, text[place:]]


def _tidy(text: str, changed: bool) -> str:
    """Single spaces where a phrase was taken out."""
    return re.sub(r"\s+([,.;!?])", r"\1", re.sub(r"\s{2,}", " ", text)).strip() if changed else text


def _summed(parts: Sequence[tuple[str, float]]) -> tuple[tuple[str, float], ...]:
    """Equal sentences as one, those that count nothing and empty ones left out, unless nothing would be left."""
    total: dict[str, float] = {}
    for sentence, coefficient in parts:
        total[sentence] = total.get(sentence, 0.0) + coefficient
    kept = tuple((sentence, number) for sentence, number in total.items() if number and sentence.strip())
    return kept or (parts[0],)
