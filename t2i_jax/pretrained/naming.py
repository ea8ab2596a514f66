"""How published files call the variables of our modules."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

LEAVES = {"kernel": "weight", "scale": "weight", "embedding": "weight", "bias": "bias", "mean": "running_mean",
          "var": "running_var"}


class Naming(NamedTuple):
    """How a network's variables are called in its published files."""

    modules: Mapping[str, str] | None  # linen path -> published name, {} the block's number; None: the same, with points
    unused: str  # regular expression: tensors that belong to other parts, or to training
    spellings: Mapping[str, str] = {}  # regular expression -> replacement that makes one name of several in use

    def published(self, path: str) -> str:
        """The name of linen's variable at `path`."""
        _, *modules, leaf = path.split("/")  # the first is linen's collection
        ending = f".{LEAVES[leaf]}" if leaf in LEAVES else ""
        inner = "/".join(modules if ending else [*modules, leaf])
        if self.modules is None:
            return inner.replace("/", ".") + ending
        number = re.match(r"block_(\d+)/", inner)
        return self.modules[re.sub(r"^block_\d+/", "block/", inner)].format(number and number[1]) + ending

    def spelt(self, names: Iterable[str]) -> dict[str, str]:
        """{name as `published` has it: as the file has it}."""
        found = {}
        for name in names:
            usual = name
            for pattern, replacement in self.spellings.items():
                usual = re.sub(pattern, replacement, usual)
            found[usual] = name
        return found


CLIP = {
    "class_embedding": "vision_model.embeddings.class_embedding",
    "position_embedding": "vision_model.embeddings.position_embedding.weight",
    "patch_embedding": "vision_model.embeddings.patch_embedding",
    "norm_before": "vision_model.pre_layrnorm",  # spelt so in the files
    "block/norm_1": "vision_model.encoder.layers.{}.layer_norm1",
    "block/attention/query": "vision_model.encoder.layers.{}.self_attn.q_proj",
    "block/attention/key": "vision_model.encoder.layers.{}.self_attn.k_proj",
    "block/attention/value": "vision_model.encoder.layers.{}.self_attn.v_proj",
    "block/attention/out": "vision_model.encoder.layers.{}.self_attn.out_proj",
    "block/norm_2": "vision_model.encoder.layers.{}.layer_norm2",
    "block/inner": "vision_model.encoder.layers.{}.mlp.fc1",
    "block/outer": "vision_model.encoder.layers.{}.mlp.fc2",
    "norm": "vision_model.post_layernorm",
    "projection": "visual_projection",
}
CLIP_TEXT = {
    "words": "text_model.embeddings.token_embedding",
    "places": "text_model.embeddings.position_embedding",
    **{path: name.replace("vision_model", "text_model") for path, name in CLIP.items() if path.startswith("block/")},
    "norm": "text_model.final_layer_norm",
    "projection": "text_projection",
}
DINOV2 = {
    "class_token": "embeddings.cls_token",
    "register_tokens": "embeddings.register_tokens",
    "position_embeddings": "embeddings.position_embeddings",
    "patch_embedding": "embeddings.patch_embeddings.projection",
    "block/norm_1": "encoder.layer.{}.norm1",
    "block/attention/query": "encoder.layer.{}.attention.attention.query",
    "block/attention/key": "encoder.layer.{}.attention.attention.key",
    "block/attention/value": "encoder.layer.{}.attention.attention.value",
    "block/attention/out": "encoder.layer.{}.attention.output.dense",
    "block/scale_1": "encoder.layer.{}.layer_scale1.lambda1",
    "block/norm_2": "encoder.layer.{}.norm2",
    "block/inner": "encoder.layer.{}.mlp.fc1",
    "block/outer": "encoder.layer.{}.mlp.fc2",
    "block/scale_2": "encoder.layer.{}.layer_scale2.lambda1",
    "norm": "layernorm",
}
BERT = {
    "words": "embeddings.word_embeddings",
    "kinds": "embeddings.token_type_embeddings",
    "places": "embeddings.position_embeddings",
    "norm": "embeddings.LayerNorm",
    "block/attention/query": "encoder.layer.{}.attention.self.query",
    "block/attention/key": "encoder.layer.{}.attention.self.key",
    "block/attention/value": "encoder.layer.{}.attention.self.value",
    "block/attention/out": "encoder.layer.{}.attention.output.dense",
    "block/norm_1": "encoder.layer.{}.attention.output.LayerNorm",
    "block/inner": "encoder.layer.{}.intermediate.dense",
    "block/outer": "encoder.layer.{}.output.dense",
    "block/norm_2": "encoder.layer.{}.output.LayerNorm",
    "pooler": "pooler.dense",
}
T5 = {
    "words": "shared",
    "distances": "encoder.block.0.layer.0.SelfAttention.relative_attention_bias",  # all blocks use the first one's
    "block/norm_1": "encoder.block.{}.layer.0.layer_norm",
    "block/attention/query": "encoder.block.{}.layer.0.SelfAttention.q",
    "block/attention/key": "encoder.block.{}.layer.0.SelfAttention.k",
    "block/attention/value": "encoder.block.{}.layer.0.SelfAttention.v",
    "block/attention/out": "encoder.block.{}.layer.0.SelfAttention.o",
    "block/norm_2": "encoder.block.{}.layer.1.layer_norm",
    "block/inner": "encoder.block.{}.layer.1.DenseReluDense.wi",
    "block/outer": "encoder.block.{}.layer.1.DenseReluDense.wo",
    "norm": "encoder.final_layer_norm",
}
T5_GATED = {
    **T5,
    "block/inner": "encoder.block.{}.layer.1.DenseReluDense.wi_0",
    "block/gate": "encoder.block.{}.layer.1.DenseReluDense.wi_1",
}

INCEPTION_NAMES = Naming(None, r"fc\..*|AuxLogits\..*|.*\.num_batches_tracked")
CLIP_NAMES = Naming(CLIP, r"text_model\..*|text_projection\..*|logit_scale|.*\.position_ids")
CLIP_TEXT_NAMES = Naming(
    CLIP_TEXT, r"vision_model\..*|visual_projection\..*|text_projection\..*|logit_scale|.*\.position_ids",
    {r"^(?=(embeddings|encoder|final_layer_norm)\.)": "text_model."})
DINOV2_NAMES = Naming(DINOV2, r"embeddings\.mask_token")
# Files of the whole network, heads included, put "bert." before; the oldest write gamma and beta.
BERT_NAMES = Naming(BERT, r"pooler\..*|cls\..*|.*\.position_ids",
                    {r"^bert\.": "", r"\.gamma$": ".weight", r"\.beta$": ".bias"})
T5_OTHERS, T5_SPELLINGS = r"decoder\..*|lm_head\..*", {r"^encoder\.embed_tokens\.": "shared."}
T5_NAMES = Naming(T5, T5_OTHERS, T5_SPELLINGS)
T5_GATED_NAMES = Naming(T5_GATED, T5_OTHERS, T5_SPELLINGS)
