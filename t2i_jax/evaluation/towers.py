"""Published feature networks: Inception, CLIP's image tower and DINOv2, with their original weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from t2i_jax.errors import UserError
from t2i_jax.evaluation.network import FeatureNetwork
from t2i_jax.evaluation.resize import FILTER, resize
from t2i_jax.models.inception import Inception
from t2i_jax.models.vision_transformer import CLIPVision, DINOv2
from t2i_jax.pretrained import naming, weights


class Published(NamedTuple):
    """One published network: `module` sees `(x - mean) / std` of pictures x in [0, 1], `size` pixels a side."""

    module: nn.Module
    naming: naming.Naming
    size: int
    dimension: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def inputs(self) -> tuple[jax.ShapeDtypeStruct]:
        """What the module is called with."""
        return (jax.ShapeDtypeStruct((1, self.size, self.size, 3), jnp.float32),)


def clip(width: int, depth: int, heads: int, patch: int, embedding: int, size: int = 224) -> Published:
    """An image tower of OpenAI's CLIP, normalised as it was trained."""
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    return Published(CLIPVision(width, depth, heads, patch, embedding), naming.CLIP_NAMES, size, embedding, mean, std)


def dinov2(width: int, depth: int, heads: int, registers: int = 0) -> Published:
    """A DINOv2 with patches of 14, normalised by ImageNet's statistics."""
    module = DINOv2(width, depth, heads, registers=registers)
    return Published(module, naming.DINOV2_NAMES, 224, width, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


TOWERS = {
    "inception": {"v3 of 2015": Published(Inception(), naming.INCEPTION_NAMES, 299, 2048, (0.5,) * 3, (0.5,) * 3)},
    "clip": {"ViT-B/32": clip(768, 12, 12, 32, 512), "ViT-L/14": clip(1024, 24, 16, 14, 768)},
    "dinov2": {
        "ViT-S/14": dinov2(384, 12, 6),
        "ViT-B/14": dinov2(768, 12, 12),
        "ViT-L/14": dinov2(1024, 24, 16),
        "ViT-S/14 with registers": dinov2(384, 12, 6, registers=4),
        "ViT-B/14 with registers": dinov2(768, 12, 12, registers=4),
        "ViT-L/14 with registers": dinov2(1024, 24, 16, registers=4),
    },
}


def tower(name: str, source: str | Path, sha256: str | None = None) -> FeatureNetwork:
    """A published network with the weights at `source`, a safetensors file or a hub id (see `weights.find`).

    "inception"  pool3 features, 2048            pt_inception-2015-12-05 of pytorch-fid, converted by `weights.CONVERT`
    "clip"       projected embedding             openai/clip-vit-base-patch32, openai/clip-vit-large-patch14
    "dinov2"     class token after the last norm facebook/dinov2-{small,base,large}, -with-registers-{small,base,large}

    Which size of CLIP or DINOv2 it is, the file tells. Grey pictures are seen as RGB. Without `sha256` any file with
    the right tensors is taken; the hash that it has stands in the FeatureNetwork either way.
    Raises UserError for an unknown name, and as `weights.find` and `weights.load` do.
    """
    if name not in TOWERS:
        raise UserError(f"feature network {name!r} is not known; accepted: {', '.join(TOWERS)}")
    found = weights.find(source, sha256)
    # The nearest one, so that a file with a fault in it is refused by that fault.
    distance = lambda one: sum(map(len, weights.faults(found, one.module, one.inputs, one.naming).values()))
    kind, one = min(TOWERS[name].items(), key=lambda item: distance(item[1]))
    triple = lambda values: ", ".join(f"{value:g}" for value in values)
    return FeatureNetwork(
        name=f"{name} {kind}",
        weights_sha256=found.sha256,
        size=one.size,
        filter=FILTER,
        normalisation=f"(level / 255 - mean) / std, mean {triple(one.mean)}, std {triple(one.std)}",
        dimension=one.dimension,
        apply=seeing(one),
        params=weights.load(found, one.module, one.inputs, one.naming),
        resize=resize,
    )


def seeing(one: Published) -> Callable[[Any, Array], Array]:
    """(variables, images [B, size, size, 1 or 3] in [-1, 1]) -> features [B, dimension].

    Raises UserError for another number of channels.
    """
    mean, std = (np.asarray(values, np.float32)[None, None, None] for values in (one.mean, one.std))

    def apply(variables: Any, images: Array) -> Array:
        if images.shape[-1] not in (1, 3):
            raise UserError(f"{type(one.module).__name__} sees grey or RGB pictures, not {images.shape[-1]} channels")
        rgb = jnp.broadcast_to(images, (*images.shape[:3], 3))
        return one.module.apply(variables, ((rgb + 1) / 2 - mean) / std)

    return apply
