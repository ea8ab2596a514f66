"""Captions to tokens: byte-level byte-pair encoding, trained on the captions themselves; takes any Unicode.

Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units" (2016); on bytes as in GPT-2.
"""

import hashlib
import json
import unicodedata
import warnings
import zlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Encoder

from t2i_jax.errors import UserError

PAD, END = 0, 1  # token ids; END closes every caption, its feature can stand for the whole sentence
SMALLEST = 258  # the two tokens above and one for each byte


def normalize(caption: str) -> str:
    """The form in which captions are compared and tokenized: NFC, lower case, single spaces."""
    return " ".join(unicodedata.normalize("NFC", caption).lower().split())


def caption_id(caption: str) -> int:
    """A 32-bit name of a caption, the same on every machine and never 0: CRC-32 of the normalized text."""
    return zlib.crc32(normalize(caption).encode()) or 1


class Tokenizer:
    """A trained tokenizer; make one by `train` or `from_json`."""

    def __init__(self, encoder: Encoder):
        self._encoder = encoder

    @classmethod
    def train(cls, captions: Iterable[str], vocabulary_size: int) -> "Tokenizer":
        """Learns at most `vocabulary_size` (at least 258) tokens; the order of the captions does not matter."""
        if vocabulary_size < SMALLEST:
            raise UserError(f"the vocabulary needs at least {SMALLEST} tokens, one per byte and two more, "
                            f"not {vocabulary_size}")
        encoder = Encoder(models.BPE())
        encoder.normalizer = normalizers.Prepend(" ")
        # Chinese has no spaces: a pair of words never seen together would else be cut elsewhere than in training.
        each_character = pre_tokenizers.Split(Regex(r"\p{Han}"), "isolated")
        encoder.pre_tokenizer = pre_tokenizers.Sequence([each_character, pre_tokenizers.ByteLevel(add_prefix_space=False)])
        encoder.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(vocab_size=vocabulary_size, show_progress=False,
                                      special_tokens=["<pad>", "<end>"],
                                      initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
        encoder.train_from_iterator(sorted(normalize(caption) for caption in captions), trainer)
        # Once learnt, the two names are no longer text: a caption that says "<end>" gets ordinary tokens.
        content = json.loads(encoder.to_str())
        content["added_tokens"] = []
        return cls(Encoder.from_str(json.dumps(content)))

    def encode(self, captions: Sequence[str], length: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens int32 [B, length], padded, and mask bool [B, length], True on tokens up to and with END.

        Warns once if captions are longer than `length` - 1 tokens: they are cut, and END stays."""
        tokens = np.full((len(captions), length), PAD, np.int32)
        mask = np.zeros((len(captions), length), bool)
        cut = []
        encoded = self._encoder.encode_batch([normalize(caption) for caption in captions], add_special_tokens=False)
        for row, (caption, encoding) in enumerate(zip(captions, encoded, strict=True)):
            ids = encoding.ids[: length - 1]
            if len(ids) < len(encoding.ids):
                cut.append(caption)
            tokens[row, : len(ids) + 1] = [*ids, END]
            mask[row, : len(ids) + 1] = True
        if cut:
            warnings.warn(f"{len(cut)} of {len(captions)} captions are longer than {length - 1} tokens and are cut, "
                          f"{cut[0][:80]!r} for one", stacklevel=2)
        return tokens, mask

    def arrays(self, captions: Sequence[str], length: int) -> dict[str, np.ndarray]:
        """What `encode` gives as a batch's text entries: {"tokens", "mask"}."""
        return dict(zip(("tokens", "mask"), self.encode(captions, length), strict=True))

    def rows(self, captions: Sequence[str], length: int) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
        """Function from positions [N] in `captions` to their text entries of a batch."""
        whole = self.arrays(captions, length)
        return lambda positions: {name: array[positions] for name, array in whole.items()}

    def decode(self, tokens: Sequence[int]) -> str:
        """The normalized caption that gives these tokens."""
        return self._encoder.decode([int(token) for token in tokens if token not in (PAD, END)]).strip()

    @property
    def size(self) -> int:
        """Number of tokens, all of them below this number: at most the vocabulary size asked for."""
        return self._encoder.get_vocab_size()

    @property
    def sha256(self) -> str:
        """Names the tokenizer: hash of `to_json()`."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """All that `from_json` needs, as JSON text."""
        return self._encoder.to_str()

    @classmethod
    def from_json(cls, text: str) -> "Tokenizer":
        """The tokenizer that `to_json` wrote. UserError where the text is none."""
        try:
            return cls(Encoder.from_str(text))
        except Exception as error:  # the tokenizers library raises Exception itself
            raise UserError(f"not a tokenizer: {str(error)[:100]}") from error
