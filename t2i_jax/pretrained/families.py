"""Which module a published directory's config.json describes."""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import flax.linen as nn

from t2i_jax.errors import UserError
from t2i_jax.models.attention import exact_gelu, quick_gelu
from t2i_jax.models.text.bert import Bert
from t2i_jax.models.text.clip import CLIPText
from t2i_jax.models.text.pooling import POOLINGS
from t2i_jax.models.text.t5 import T5Encoder
from t2i_jax.pretrained import naming

ACTIVATIONS = {"gelu": exact_gelu, "gelu_new": nn.gelu, "gelu_pytorch_tanh": nn.gelu, "quick_gelu": quick_gelu,
               "relu": nn.relu}
WRONG_END = 2  # what CLIP's first configurations call the end of a sentence; it is another token


class Family(NamedTuple):
    """An architecture with its sizes filled in."""

    module: nn.Module
    naming: naming.Naming
    longest: int  # tokens, special ones included


def family(config: Mapping, pooling: str, normalize: bool, projected: bool) -> Family:
    """The encoder that config.json's content describes.

    pooling, normalize: how BERT and T5 make one vector of a sentence (see `Bert`). projected: CLIP's has a projection.
    Raises UserError for architectures and details that are not known, saying which are.
    """
    get, size = partial(_get, config), partial(_size, config)
    match get("model_type"):
        case "bert":
            _accepted("position_embedding_type", config.get("position_embedding_type", "absolute"), ["absolute"])
            _accepted("pooling", pooling, [*POOLINGS, "pooler"])
            positions = size("max_position_embeddings")
            return Family(Bert(
                size("vocab_size"), size("hidden_size"), size("num_hidden_layers"), _heads(config),
                size("intermediate_size"), positions, size("type_vocab_size"), _activation(get("hidden_act")),
                get("layer_norm_eps"), pooling, normalize,
            ), naming.BERT_NAMES, positions)
        case "t5" | "mt5":
            _accepted("pooling", pooling, POOLINGS)
            kind = config.get("feed_forward_proj", "relu")
            _accepted("feed_forward_proj", kind, ["relu", "gated-gelu"])
            gated = kind == "gated-gelu"
            return Family(T5Encoder(
                size("vocab_size"), size("d_model"), size("num_layers"), size("num_heads"), size("d_kv"), size("d_ff"),
                nn.gelu if gated else nn.relu, gated, size("relative_attention_num_buckets"),
                config.get("relative_attention_max_distance", 128), get("layer_norm_epsilon"), pooling, normalize,
            ), naming.T5_GATED_NAMES if gated else naming.T5_NAMES, config.get("n_positions", 512))
        case "clip" | "clip_text_model":
            text = {**CLIP_SIZES, **config.get("text_config", config)}
            size = partial(_size, text)
            end, positions = text["eos_token_id"], size("max_position_embeddings")
            embedding = _size({**text, **config}, "projection_dim") if projected else None
            return Family(CLIPText(
                size("vocab_size"), size("hidden_size"), size("num_hidden_layers"), _heads(text),
                size("intermediate_size"), positions, _activation(text["hidden_act"]), text["layer_norm_eps"],
                None if end == WRONG_END else end, embedding,
            ), naming.CLIP_TEXT_NAMES, positions)
        case other:
            raise UserError(f"config.json: text encoders of model_type {other!r} are not known; accepted: bert, t5, mt5, "
                            "clip, clip_text_model")


CLIP_SIZES = {  # what a config.json of CLIP leaves out when it is so
    "vocab_size": 49408, "hidden_size": 512, "intermediate_size": 2048, "projection_dim": 512, "num_hidden_layers": 12,
    "num_attention_heads": 8, "max_position_embeddings": 77, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
    "eos_token_id": 49407,
}


def _get(config: Mapping, key: str):
    if key not in config:
        raise UserError(f"config.json lacks {key}; is it the one that belongs to a text encoder?")
    return config[key]


def _size(config: Mapping, key: str) -> int:
    if type(value := _get(config, key)) is not int or value < 1:
        raise UserError(f"config.json: {key} {value!r} is no number of anything; it takes a whole one above 0")
    return value


def _heads(config: Mapping) -> int:
    width, heads = _size(config, "hidden_size"), _size(config, "num_attention_heads")
    if width % heads:
        raise UserError(f"config.json: hidden_size {width} is not a multiple of num_attention_heads {heads}")
    return heads


def _accepted(key: str, value, accepted) -> None:
    if value not in accepted:
        raise UserError(f"config.json: {key} {value!r} is not known; accepted: {', '.join(accepted)}")


def _activation(name: str):
    _accepted("hidden_act", name, ACTIVATIONS)
    return ACTIVATIONS[name]
