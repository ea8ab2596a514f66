"""A transformer generator and discriminator of latent maps, after GAT (generative adversarial transformers in the latents of
an autoencoder, one forward pass a picture), with words where it had classes.

Both see a map [B, H, W, C] as (H/patch)(W/patch) tokens with rotary places.
"""

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange
from jax import Array
from jax.ad_checkpoint import checkpoint_name

from t2i_jax.distributed.activations import by_example
from t2i_jax.models.discriminators import Judgement, judgement
from t2i_jax.models.layers import patchify
from t2i_jax.models.products import Dense
from t2i_jax.models.transformer_layers import KEPT, Attention, GatedPerceptron, angles, stack

GAIN = 0.1  # that branches of the discriminator start with


class GeneratorBlock(nn.Module):
    """Self-attention, attention to words, gated perceptron: `h + gate · f((1 + scale) · rmsnorm(h))` each.

    Scales and gates come of the condition (adaptive norms, Peebles & Xie 2023, section 3.2) and are near zero at first.
    """

    heads: int
    hidden: int
    grid: tuple[int, int]
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, h: Array, condition: Array, words: Array, mask: Array) -> tuple[Array, None]:
        width = h.shape[-1]
        small = nn.initializers.variance_scaling(1e-3, "fan_in", "normal")  # zero would silence noise and words for long
        adapt = nn.Dense(6 * width, kernel_init=small, dtype=self.dtype, name="adapt")(condition)
        scales_and_gates = jnp.split(adapt[:, None], 6, axis=-1)
        turn = angles(*self.grid, width // self.heads)
        attend = lambda name: Attention(self.heads, dtype=self.dtype, name=name)
        self_attention, cross_attention = attend("attention"), attend("words")
        branches = (
            ("attention_norm", lambda x: self_attention(x, x, turn=turn)),
            ("words_norm", lambda x: cross_attention(x, words, mask)),
            ("perceptron_norm", GatedPerceptron(self.hidden, dtype=self.dtype, name="perceptron")),
        )
        for (name, branch), scale, gate in zip(branches, scales_and_gates[::2], scales_and_gates[1::2], strict=True):
            normal = nn.RMSNorm(dtype=self.dtype, name=name)(h)
            # The gate's derivative needs what the branch gives.
            h = h + gate * checkpoint_name(branch(normal * (1 + scale)), KEPT)
        return by_example(h), None


class TransformerGenerator(nn.Module):
    """(noise [B, N], sentence [B, D], words [B, L, D], mask [B, L]) -> latents [B, H, W, C].

    Noise and sentence together set every block's scales and gates; tokens start as learnt vectors, one a place.
    """

    latent: tuple[int, int, int]  # H, W, C
    patch: int = 2
    width: int = 768
    depth: int = 8
    heads: int = 6
    hidden: int = 2048
    remat: bool = False
    keep: bool = False
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, noise: Array, sentence: Array, words: Array, mask: Array) -> Array:
        height, width, channels = self.latent
        rows, columns = height // self.patch, width // self.patch
        dense = lambda name: nn.Dense(self.width, dtype=self.dtype, name=name)
        condition = nn.silu(dense("noise")(noise) + dense("sentence")(sentence))
        condition = nn.silu(dense("condition")(condition))
        words = nn.RMSNorm(dtype=self.dtype, name="words_norm")(words)
        places = self.param("places", nn.initializers.normal(1.0), (rows * columns, self.width))
        h = jnp.broadcast_to(places.astype(condition.dtype)[None], (len(noise), *places.shape))
        h = by_example(h)
        blocks = stack(GeneratorBlock, self.depth, self.remat, self.keep)
        h, _ = blocks(self.heads, self.hidden, (rows, columns), self.dtype, name="blocks")(h, condition, words, mask)
        h = nn.RMSNorm(dtype=self.dtype, name="norm")(h)
        patches = Dense(self.patch**2 * channels, dtype=self.dtype, name="out")(h)
        return rearrange(patches, "b (h w) (p q c) -> b (h p) (w q) c", h=rows, p=self.patch, q=self.patch)


class DiscriminatorBlock(nn.Module):
    """Pre-norm self-attention and gated perceptron, each with a learnt gain a channel (LayerScale, Touvron et al. 2021).

    grid: of the tokens h [B, N, W]; None: h [B, 1, W] looks at `source` [B, N, W] instead, as the class token of class
    attention (the same, section 3).
    """

    heads: int
    hidden: int
    grid: tuple[int, int] | None
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, h: Array, source: Array | None = None) -> tuple[Array, None]:
        norm = lambda name: nn.RMSNorm(dtype=self.dtype, name=name)
        turn = None if self.grid is None else angles(*self.grid, h.shape[-1] // self.heads)
        x = norm("attention_norm")(h)
        h = h + Attention(self.heads, GAIN, self.dtype, name="attention")(x, x if source is None else source, turn=turn)
        h = h + GatedPerceptron(self.hidden, GAIN, self.dtype, name="perceptron")(norm("perceptron_norm")(h))
        return by_example(h), None


class TransformerDiscriminator(nn.Module):
    """(latents [B, H, W, C], sentence [B, D]) -> judgement, read off a class token.

    The class token looks at the others after the last block (class attention) instead of being one of them: 257 tokens cost
    a TPU as much attention as 384.
    """

    patch: int = 2
    width: int = 768
    depth: int = 14
    heads: int = 6
    hidden: int = 2048
    embedding: int = 512
    remat: bool = False
    keep: bool = False
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, latents: Array, sentence: Array) -> Judgement:
        grid = tuple(side // self.patch for side in latents.shape[1:3])
        norm = lambda name, dtype=self.dtype: nn.RMSNorm(dtype=dtype, name=name)
        # The first and the last layers in full precision: a penalty divides differences of logits by small steps.
        h = rearrange(Dense(self.width, name="embed")(patchify(latents, self.patch)), "b h w d -> b (h w) d")
        h = by_example(h if self.dtype is None else h.astype(self.dtype))
        blocks = stack(DiscriminatorBlock, self.depth, self.remat, self.keep)
        h, _ = blocks(self.heads, self.hidden, grid, self.dtype, name="blocks")(h)
        first = self.param("class_token", nn.initializers.normal(0.02), (self.width,)).astype(h.dtype)
        token = jnp.broadcast_to(first[None, None], (len(h), 1, self.width))
        token, _ = DiscriminatorBlock(self.heads, self.hidden, None, self.dtype, name="class")(token, norm("tokens_norm")(h))
        return judgement(norm("norm", None)(token[:, 0]), sentence, self.embedding)
