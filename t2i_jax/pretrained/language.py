"""Published language models that read captions: directory -> module, weights, tokenizer."""

import functools
from collections.abc import Sequence
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from t2i_jax.errors import UserError
from t2i_jax.pretrained import sources, weights
from t2i_jax.pretrained.families import family
from t2i_jax.pretrained.tokens import PublishedTokenizer, padded

POOLING = {  # sentence-transformers' key -> name
    "pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean", "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
}
OLD_WEIGHTS = "pytorch_model.bin"  # refused with the command that converts it
EXAMPLE = (jax.ShapeDtypeStruct((1, 2), jnp.int32), jax.ShapeDtypeStruct((1, 2), jnp.bool_))


class LanguageModel:
    """A text encoder with its published weights; `load_language_model` makes one.

    name: the source it was loaded from. sha256: names weights, configuration and tokenizer together, wherever they lie.
    module: called with (tokens [B, L] int32, mask [B, L] bool). params: its parameters, host arrays float32.
    width, sentence_width: of the features of a token and of a sentence. longest: tokens it takes.
    files: {name in its directory: path}, what a copy must hold to be loaded again.
    """

    def __init__(self, name: str, sha256: str, files: dict[str, Path], module: nn.Module, params: dict,
                 tokenizer: PublishedTokenizer):
        self.name, self.sha256, self.files = name, sha256, files
        self.module, self.params, self._tokenizer = module, params, tokenizer
        words, sentence = jax.eval_shape(module.apply, {"params": params}, *EXAMPLE)
        self.width, self.sentence_width = words.shape[-1], sentence.shape[-1]
        self.longest = tokenizer.longest

    def tokenize(self, captions: Sequence[str], length: int) -> dict[str, np.ndarray]:
        """{"tokens": int32 [B, L], "mask": bool [B, L]}, L = `length`, or `longest` if that is less.

        Longer captions are cut between their special tokens, with one warning that names one of them."""
        tokens, mask = padded(self._tokenizer.encode(captions, length), min(length, self.longest))
        return {"tokens": tokens, "mask": mask}

    def encode(self, captions: Sequence[str], length: int, batch: int = 64) -> dict[str, np.ndarray]:
        """{"words": float32 [N, L, width], "words_mask": bool [N, L], "sentence": float32 [N, sentence_width]}.

        Words are 0 on padding; L and what is cut as in `tokenize`. Captions run in batches of like length, always `batch` of them with padding,
        so that what one gives does not depend on the others.
        """
        rows = self._tokenizer.encode(captions, length)
        length = min(length, self.longest)
        found = {
            "words": np.zeros((len(rows), length, self.width), np.float32),
            "words_mask": padded(rows, length)[1],
            "sentence": np.zeros((len(rows), self.sentence_width), np.float32),
        }
        for size, numbers in _buckets([len(row) for row in rows], length).items():
            for start in range(0, len(numbers), batch):
                part = numbers[start : start + batch]
                tokens, mask = padded([rows[number] for number in part] + [[]] * (batch - len(part)), size)
                words, sentence = _read(self.module, self._on_device, tokens, mask)
                found["words"][part, :size] = words[: len(part)]
                found["sentence"][part] = sentence[: len(part)]
        return found

    @functools.cached_property
    def _on_device(self) -> dict:
        return jax.device_put(self.params)


def load_language_model(source: str | Path, dtype: jnp.dtype | None = None) -> LanguageModel:
    """BERT's, T5's or CLIP's text encoder from the directory of a published model (see `sources.directory`).

    It holds config.json, tokenizer.json and model.safetensors or its shards with their index; modules.json and the
    pooling it names where it was made by sentence-transformers. dtype: of the computation, bfloat16 for half the memory.
    Raises UserError naming what is missing, unknown or misshapen.
    """
    directory = sources.directory(source)
    pooling, normalize, more = _sentence_layers(directory)
    files = {name: directory / name for name in (sources.CONFIG, sources.TOKENIZER, *more)}
    config = sources.read_json(files[sources.CONFIG])
    found = weights.find(next((path for name in (*sources.WEIGHTS, OLD_WEIGHTS) if (path := directory / name).exists()),
                              directory / sources.WEIGHTS[0]))
    try:
        one = family(config, pooling, normalize, "text_projection.weight" in found.shapes)
    except UserError as error:
        raise UserError(f"{directory}: {error}") from error
    module, longest = one.module.clone(dtype=dtype), one.longest
    if (directory / sources.LIMITS).exists():
        files[sources.LIMITS] = directory / sources.LIMITS
        longest = min(longest, sources.read_json(files[sources.LIMITS]).get("max_seq_length") or longest)
    tokenizer = PublishedTokenizer(files[sources.TOKENIZER], longest)
    if tokenizer.size > module.vocabulary:
        raise UserError(f"{files[sources.TOKENIZER]} has {tokenizer.size} tokens, {sources.CONFIG} {module.vocabulary}; "
                        "are they of the same model?")
    params = weights.load(found, module, EXAMPLE, one.naming)["params"]
    hashes = found.hashes | {name: weights.file_sha256(path) for name, path in files.items()}
    files |= {path.name: path for path in {found.path, *found.files.values()}}
    return LanguageModel(str(source), weights.joint_sha256(hashes), files, module, params, tokenizer)


def _sentence_layers(directory: Path) -> tuple[str, bool, list[str]]:
    """How one vector is made of a sentence: (pooling, whether of length 1, the files that say so)."""
    path = directory / sources.MODULES
    if not path.exists():
        return "mean", False, []
    layers = {layer["type"].split(".")[-1]: layer["path"] for layer in sources.read_json(path)}
    unknown = layers.keys() - {"Transformer", "Pooling", "Normalize"}
    if unknown or layers.get("Transformer") != "" or "Pooling" not in layers:
        raise UserError(f"{path}: layers {layers} are not known; accepted: Transformer in the directory itself, Pooling, "
                        "Normalize")
    name = f"{layers['Pooling']}/config.json"
    config = sources.read_json(directory / name)
    chosen = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
    if len(chosen) != 1 or chosen[0] not in POOLING:
        raise UserError(f"{directory / name}: pooling {', '.join(chosen) or 'by nothing'} is not known; accepted: one of "
                        f"{', '.join(POOLING)}")
    return POOLING[chosen[0]], "Normalize" in layers, [sources.MODULES, name]


def _buckets(lengths: Sequence[int], longest: int) -> dict[int, np.ndarray]:
    """{padded length: which captions}; a caption's own length alone decides."""
    lengths = np.asarray(lengths, int)
    step = np.where(lengths <= 16, 4, np.where(lengths <= 64, 8, 32))
    sizes = np.minimum(-(-lengths // step) * step, longest)
    return {int(size): np.flatnonzero(sizes == size) for size in np.unique(sizes)}


@functools.partial(jax.jit, static_argnums=0)
def _read(module: nn.Module, params: dict, tokens: Array, mask: Array) -> tuple[Array, Array]:
    return jax.tree.map(lambda array: array.astype(jnp.float32), module.apply({"params": params}, tokens, mask))
