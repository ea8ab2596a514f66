"""Which OpenMoji pictures are trained on, and which are held out for what question. No randomness: hashes of names.

`train`                  everything else.
`heldout_compositions`   every word is known, the combination is new:
    cut "A"  one skin tone of each (profession, gender): a woman firefighter was seen in four tones, not in this one
    cut "B"  a whole (profession, gender), all tones: men and persons of the profession were seen, women were not
`heldout_concepts`       whole emoji families of which at least one word is said of no training picture.

"Profession" stands for any emoji drawn as person, man and woman with skin tones (activities and fantasy beings too);
variants that face right go with the picture they mirror. Pairs of people with two tones are always trained on.
"""

import hashlib
import re
from collections import Counter, defaultdict
from typing import NamedTuple

from t2i_jax.data import openmoji_captions

SPLITS = ("train", "heldout_compositions", "heldout_concepts")
CONCEPT_FRACTION = 0.04  # of the families that have a word of their own
PROFESSION_FRACTION = 0.38  # of the professions lose one gender to cut B


class Picture(NamedTuple):
    """One OpenMoji picture. `code` names its SVG file; captions go from general to detailed, language by language.

    Languages: of each caption, "en zh" where both say the same."""

    code: str
    captions: tuple[str, ...]
    split: str
    cut: str  # "A" or "B" in heldout_compositions, "concept" in heldout_concepts, else ""
    family: str  # English name of what it shows, gender and tone aside
    gender: str
    tones: tuple[str, ...]
    languages: tuple[str, ...]


def words(caption: str, language: str = "en") -> set[str]:
    """The units a caption is made of: words, or single characters where a language is written without spaces."""
    units = re.findall(r"\w+", caption.lower())
    return set("".join(units)) if language in ("zh", "ja") else set(units)


def _chance(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def _held_out_concepts(families: dict[str, list[str]]) -> set[str]:
    """Families, chosen by hash, among those with a word that no other family's captions hold."""
    spoken = {family: set().union(*(words(text) for bare in members for text in openmoji_captions.captions(bare)))
              for family, members in families.items()}
    uses = Counter(word for vocabulary in spoken.values() for word in vocabulary)
    own = {family for family, members in families.items()
           if all(any(uses[word] == 1 for word in words(openmoji_captions.captions(bare)[-1])) for bare in members)}
    return {family for family in own if _chance("concept " + family) < CONCEPT_FRACTION}


def _cuts(families: dict[str, list[str]]) -> dict[str, str]:
    """{bare emoji: "A" or "B"}."""
    cut = {}
    for family, members in families.items():
        parts = {bare: openmoji_captions.structure(bare) for bare in members}
        tones = {part.tones for part in parts.values()}
        genders = {part.gender for part in parts.values()}
        if not {"man", "woman", "person"} <= genders or any(len(tone) > 1 for tone in tones) or tones == {()}:
            continue
        missing = ""
        named_by_gender = all({part.gender} < words(openmoji_captions.name(part.base, "en"))
                              for part in parts.values() if part.gender != "person")  # not "man", "santa claus"
        if named_by_gender and _chance("profession " + family) < PROFESSION_FRACTION:
            missing = "woman" if _chance("gender " + family) < 0.5 else "man"
        for gender in sorted(genders):
            tone = openmoji_captions.TONES[int(5 * _chance(f"tone {family} {gender}"))]
            for bare, part in parts.items():
                if part.gender == gender and (gender == missing or part.tones == (tone,)):
                    cut[bare] = "B" if gender == missing else "A"
    return cut


def pictures(languages: tuple[str, ...] = ("en",)) -> tuple[Picture, ...]:
    """Every captioned picture with its split, in a fixed order. The splits do not depend on the languages.

    In English every word of a held-out composition occurs in a training caption. Other languages may bend words, so a
    held-out composition keeps only those of its other captions whose words training captions hold. UserError for an
    unknown language."""
    openmoji_captions.check(languages)
    families = defaultdict(list)
    for bare in sorted(openmoji_captions.emojis()):
        if openmoji_captions.captions(bare) and openmoji_captions.code(bare):
            families[openmoji_captions.structure(bare).family].append(bare)
    concepts = _held_out_concepts(families)
    cut = _cuts({family: members for family, members in families.items() if family not in concepts})
    cut.update({bare: "concept" for family in concepts for bare in families[family]})
    everything = [bare for members in families.values() for bare in members]

    known = {language: set().union(*(words(text, language) for bare in everything if bare not in cut
                                     for text in openmoji_captions.captions(bare, language)))
             for language in languages}

    def texts(bare, language):
        kept = openmoji_captions.captions(bare, language)
        if cut.get(bare) in ("A", "B"):
            kept = tuple(text for text in kept if words(text, language) <= known[language])
        return kept

    split = {None: "train", "A": "heldout_compositions", "B": "heldout_compositions", "concept": "heldout_concepts"}
    made = []
    for bare in everything:
        part = openmoji_captions.structure(bare)
        spoken = defaultdict(list)
        for language in languages:
            for text in texts(bare, language):
                spoken[text].append(language)
        captions = tuple(spoken)
        if captions:
            made.append(Picture(openmoji_captions.code(bare), captions, split[cut.get(bare)], cut.get(bare, ""),
                                openmoji_captions.name(part.family, "en"), part.gender,
                                tuple(openmoji_captions.name(tone, "en") for tone in part.tones),
                                tuple(" ".join(spoken[text]) for text in captions)))
    return tuple(made)

