"""Directories like published language models', tiny and with random weights."""

import json
from pathlib import Path

import jax
import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from t2i_jax.paths import flat
from t2i_jax.pretrained.families import family
from t2i_jax.pretrained.language import EXAMPLE

WIDTH = 16
WORDS = "a and blue cat circle face flag green heart house of on red square triangle two white with woman yellow".split()
LETTERS = list("abcdefghijklmnopqrstuvwxyz0123456789")
CONFIGS = {
    "bert": {"model_type": "bert", "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2,
             "intermediate_size": 32, "max_position_embeddings": 40, "type_vocab_size": 2, "hidden_act": "gelu",
             "layer_norm_eps": 1e-12},
    "t5": {"model_type": "t5", "d_model": WIDTH, "num_layers": 2, "num_heads": 2, "d_kv": 6, "d_ff": 24,
           "feed_forward_proj": "gated-gelu", "relative_attention_num_buckets": 8,
           "relative_attention_max_distance": 20, "layer_norm_epsilon": 1e-6, "n_positions": 64},
    "clip": {"model_type": "clip", "projection_dim": WIDTH,
             "text_config": {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2,
                             "intermediate_size": 32, "max_position_embeddings": 24}},
}
MODULES = [{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
           {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
           {"idx": 2, "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]


def write_tiny(directory: Path, family_name: str, seed: int = 0) -> Path:
    """A complete directory of "bert" (with sentence-transformers' layers), "t5" or "clip"; returns it.

    The same `seed` writes the same bytes; its features are random, but differ between captions."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = TOKENIZERS[family_name]()
    tokenizer.save(str(directory / "tokenizer.json"))
    config = json.loads(json.dumps(CONFIGS[family_name]))
    sizes = config.get("text_config", config)
    sizes["vocab_size"] = tokenizer.get_vocab_size()
    if family_name == "clip":
        sizes["eos_token_id"] = tokenizer.token_to_id("<|endoftext|>")
    if family_name == "bert":
        (directory / "1_Pooling").mkdir(exist_ok=True)
        (directory / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
        (directory / "modules.json").write_text(json.dumps(MODULES))
    (directory / "config.json").write_text(json.dumps(config))
    save_file(random_tensors(config, seed), directory / "model.safetensors")
    return directory


def random_tensors(config: dict, seed: int = 0) -> dict[str, np.ndarray]:
    """What model.safetensors of this config.json holds, random."""
    one = family(config, "mean", False, True)
    random = np.random.default_rng(seed)
    tensors = {}
    for path, spec in flat(jax.eval_shape(one.module.init, jax.random.key(0), *EXAMPLE)).items():
        scale = spec.shape[0] ** -0.5 if path.endswith("/kernel") else 0.3
        array = (scale * random.normal(size=spec.shape) + path.endswith("/scale")).astype(np.float32)
        tensors[one.naming.published(path)] = np.ascontiguousarray(array.T if path.endswith("/kernel") else array)
    return tensors


def numbered(*groups: list[str]) -> dict[str, int]:
    """{token: its number}, in the order given."""
    return {token: number for number, token in enumerate(dict.fromkeys(token for group in groups for token in group))}


def _bert() -> Tokenizer:
    vocabulary = numbered(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], WORDS, LETTERS, [f"##{x}" for x in LETTERS])
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    ends = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=ends)
    return tokenizer


def _t5() -> Tokenizer:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((f"▁{word}", -3.0) for word in WORDS),
              *((letter, -9.0) for letter in LETTERS)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    return tokenizer


def _clip() -> Tokenizer:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = numbered(letters, [f"{x}</w>" for x in letters], ["re", "red</w>", "<|startoftext|>", "<|endoftext|>"])
    tokenizer = Tokenizer(models.BPE(vocabulary, [("r", "e"), ("re", "d</w>")], end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.add_special_tokens(["<|startoftext|>", "<|endoftext|>"])
    start, end = ((token, vocabulary[token]) for token in ("<|startoftext|>", "<|endoftext|>"))
    tokenizer.post_processor = processors.RobertaProcessing(end, start, trim_offsets=False, add_prefix_space=False)
    return tokenizer


TOKENIZERS = {"bert": _bert, "t5": _t5, "clip": _clip}
