"""What a picture can be asked about besides its caption: attributes, and the phrases that say their values."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from t2i_jax.errors import UserError


class Attribute(NamedTuple):
    """`values`: {value: phrases that say it}, at most one value without phrases: what a caption that says none leaves.

    Phrases of the value "" mark pictures of which the attribute cannot be read: two people where one is asked about, or
    "isle of man", which is no man."""

    name: str
    values: dict[str, tuple[str, ...]]

    @property
    def default(self) -> str:
        """The value without phrases, "" where there is none."""
        return next((value for value, phrases in self.values.items() if not phrases), "")

    def said(self, captions: Iterable[str]) -> set[str]:
        """Values, "" included, that captions say in words: whole words only, and the longest phrase wins, so that
        "medium-light skin tone" does not say "light skin tone"."""
        means = {phrase.casefold(): value for value, phrases in self.values.items() for phrase in phrases}
        longest_first = "|".join(map(re.escape, sorted(means, key=len, reverse=True)))
        found = re.compile(rf"(?<!\w)(?:{longest_first})(?!\w)").findall
        return {means[phrase] for caption in captions for phrase in found(caption.casefold())} if means else set()


def labels(attribute: Attribute, captions: Sequence[Sequence[str]],
           known: Sequence[Sequence[str]] | None = None) -> list[str | None]:
    """The attribute's value of every picture, from all captions of each; None where it has none or several.

    The value without phrases is given only where the attribute makes sense: where some picture of `known` (of
    `captions` itself unless given: give the training captions for held-out pictures) shares a caption and says a
    value. A "firefighter" is a person of open gender because others are "firefighter" and "woman firefighter"; a heart
    is not."""
    applies = set()
    for texts in captions if known is None else known:
        said = attribute.said(texts)
        if said and "" not in said:
            applies |= {text.casefold() for text in texts}

    def label(texts: Sequence[str]) -> str | None:
        said = attribute.said(texts)
        if not said and any(text.casefold() in applies for text in texts):
            return attribute.default or None
        return next(iter(said)) or None if len(said) == 1 else None

    return [label(texts) for texts in captions]


TONES = ("yellow", "light", "medium-light", "medium", "medium-dark", "dark")
OPENMOJI = (
    Attribute("skin tone", {tone: (f"{tone} skin tone",) for tone in TONES}),
    Attribute("gender", {
        "person": (),
        "woman": ("woman", "girl", "princess", "mermaid", "mrs. claus"),
        "man": ("man", "boy", "prince", "merman", "santa claus"),
        "": ("men", "women", "people", "couple with heart", "kiss", "family", "woman and man", "isle of man", "man’s",
             "woman’s", "men’s", "women’s"),
    }),
)
DIGITS = (
    Attribute("strokes", {"thin": ("thin strokes",), "medium": ("medium strokes",), "bold": ("bold strokes",)}),
    Attribute("slant", {"left": ("leaning left",), "upright": ("upright",), "right": ("leaning right",)}),
    Attribute("width", {"narrow": ("narrow",), "average": ("average width",), "wide": ("wide",)}),
)
# Prompts that leave something open and are judged wherever the training captions have them.
OPENMOJI_PROMPTS = ("firefighter", "person swimming", "flag", "face")


def attributes_of(source: str) -> tuple[Attribute, ...]:
    """The attributes known of a source, "openmoji" or "digits"; () for others, whose users may write a file of them."""
    return {"openmoji": OPENMOJI, "digits": DIGITS}.get(source, ())


def open_prompts_of(source: str) -> tuple[str, ...]:
    """Prompts of a source that are always among those judged for what they leave open."""
    return OPENMOJI_PROMPTS if source == "openmoji" else ()


def read_attributes(path: str | Path) -> tuple[Attribute, ...]:
    """Attributes from a JSON file {"colour": {"red": ["red", "crimson"], "blue": ["blue"], "other": []}}.

    UserError where the file cannot be read or says something else."""
    path = Path(path)
    wanted = f'{path}: write {{"attribute": {{"value": ["phrase", ...]}}}} with at most one value without phrases'
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"attributes: {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"attributes: {path} is not JSON: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(values, dict) for values in content.values()):
        raise UserError(f"attributes: {wanted}")
    for values in content.values():
        lists = list(values.values())
        said = [phrase for phrases in lists if isinstance(phrases, list) for phrase in phrases]
        strings = all(isinstance(phrases, list) for phrases in lists) and all(isinstance(s, str) and s for s in said)
        if not strings or len(values) < 2 or sum(not phrases for phrases in lists) > 1:
            raise UserError(f"attributes: {wanted}, two values or more")
        folded = [phrase.casefold() for phrase in said]
        if len(folded) != len(set(folded)):
            raise UserError(f"attributes: {path} lets one phrase say two things: every phrase belongs to one value")
    return tuple(Attribute(name, {value: tuple(phrases) for value, phrases in values.items()})
                 for name, values in content.items())
