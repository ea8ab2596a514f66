"""Captions to the tokens a published language model was trained on."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Encoding
from tokenizers import Tokenizer as Encoder

from t2i_jax.errors import UserError

SAVED = "transformers' AutoTokenizer.from_pretrained(DIRECTORY).save_pretrained(DIRECTORY) writes one"


class PublishedTokenizer:
    """A tokenizer.json; `longest`: tokens its model takes, those it puts at the ends included."""

    def __init__(self, path: Path, longest: int):
        try:
            self._encoder = Encoder.from_str(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror or error}; {SAVED}") from error
        except Exception as error:  # the tokenizers library raises Exception itself
            raise UserError(f"{path}: not a tokenizer: {str(error)[:100]}; {SAVED}") from error
        self._encoder.no_truncation()
        self._encoder.no_padding()
        self._encoder.encode_special_tokens = True  # a caption that says "[SEP]" speaks of brackets
        self._ends = self._encoder.num_special_tokens_to_add(False)
        self.longest = longest

    @property
    def size(self) -> int:
        """All tokens are below this number."""
        return max(self._encoder.get_vocab(with_added_tokens=True).values()) + 1

    def encode(self, captions: Sequence[str], length: int) -> list[list[int]]:
        """The tokens of each caption, at most `length` and `longest`; special tokens at the ends stay.

        Warns once if captions are cut. Raises UserError where `length` leaves no room between the ends.
        """
        length = min(length, self.longest)
        if length <= self._ends:
            raise UserError(f"text length {length}: {self._ends} tokens belong to the ends of every sentence; take at "
                            f"least {self._ends + 1}")
        # Half of a character is all that some programs leave of an emoji: it has no bytes.
        whole = [caption.encode(errors="replace").decode() for caption in captions]
        found = self._encoder.encode_batch(whole)
        cut = [number for number, encoding in enumerate(found) if len(encoding.ids) > length]
        for number in cut:
            found[number] = self._shortened(whole[number], length)
        if cut:
            warnings.warn(f"{len(cut)} of {len(captions)} captions are longer than {length} tokens and are cut, "
                          f"{whole[cut[0]][:80]!r} for one", stacklevel=3)
        return [encoding.ids for encoding in found]

    def _shortened(self, caption: str, length: int) -> Encoding:
        encoding = self._encoder.encode(caption, add_special_tokens=False)
        encoding.truncate(length - self._ends)
        return self._encoder.post_process(encoding)


def padded(rows: Sequence[Sequence[int]], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens int32 [B, length], 0 after the end of each, and mask bool [B, length], True on tokens."""
    tokens = np.zeros((len(rows), length), np.int32)
    mask = np.arange(length)[None] < np.array([len(row) for row in rows], int).reshape(-1, 1)
    tokens[mask] = [token for row in rows for token in row]
    return tokens, mask
