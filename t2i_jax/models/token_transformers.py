"""A causal transformer that draws the tokens of an image one after another, reading a caption as it goes."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array

from t2i_jax.models.layers import ResidualMLP, emphasis
from t2i_jax.models.products import Dense
from t2i_jax.models.token_sampling import choose


class Memory(NamedTuple):
    """Keys and values that queries look up, [B, L, heads, width/heads] each."""

    key: Array
    value: Array


class Attention(nn.Module):
    """Multi-head attention whose keys and values can be kept (Vaswani et al. 2017, section 3.2.2)."""

    width: int
    heads: int
    dtype: jnp.dtype | None = None

    def setup(self):
        dense = lambda: Dense(self.width, dtype=self.dtype)
        self.query, self.key, self.value, self.out = dense(), dense(), dense(), dense()

    def remember(self, x: Array) -> Memory:
        """Keys and values of x [B, L, any]."""
        return Memory(self._split(self.key(x)), self._split(self.value(x)))

    def __call__(self, h: Array, memory: Memory, mask: Array | None = None, bias: Array | None = None) -> Array:
        """What h [B, M, any] finds in memory, [B, M, width].

        mask bool, broadcast to [B, heads, M, L], True where it may look; bias, alike: what the logits are raised by.
        """
        found = nn.dot_product_attention(self._split(self.query(h)), *memory, bias, mask, dtype=self.dtype)
        return self.out(rearrange(found, "b m n d -> b m (n d)"))

    def _split(self, x: Array) -> Array:
        return rearrange(x, "b l (n d) -> b l n d", n=self.heads)


class DecoderBlock(nn.Module):
    """Pre-norm masked self-attention, attention to words, ResidualMLP: [B, N, width] to the same."""

    width: int
    heads: int
    hidden: int
    dtype: jnp.dtype | None = None

    def setup(self):
        norm = lambda: nn.RMSNorm(dtype=self.dtype)
        attention = lambda: Attention(self.width, self.heads, self.dtype)
        self.norm, self.words_norm = norm(), norm()
        self.past, self.words = attention(), attention()
        self.mlp = ResidualMLP(self.hidden, dtype=self.dtype)

    def read(self, text: Array) -> Memory:
        """What `words` of __call__ and step is, from token features [B, L, any]."""
        return self.words.remember(text)

    def __call__(self, h: Array, words: Memory, mask: Array) -> Array:
        """All places at once, each of which sees itself and those before it; mask [B, L] as in `emphasis`, True on words."""
        normal, place = self.norm(h), jnp.arange(h.shape[1])
        causal = (place[:, None] >= place[None])[None, None]
        return self._rest(h + self.past(normal, self.past.remember(normal), causal), words, mask)

    def step(self, h: Array, place: Array, past: Memory, words: Memory, mask: Array) -> tuple[Array, Memory]:
        """One place, h [B, 1, width], and `past` [B, N, ...] with the keys and values of this place written into it."""
        normal = self.norm(h)
        write = lambda kept, new: jax.lax.dynamic_update_slice_in_dim(kept, new.astype(kept.dtype), place, axis=1)
        past = jax.tree.map(write, past, self.past.remember(normal))
        seen = (jnp.arange(past.key.shape[1]) <= place)[None, None, None]
        return self._rest(h + self.past(normal, past, seen), words, mask), past

    def _rest(self, h: Array, words: Memory, mask: Array) -> Array:
        return self.mlp(h + self.words(self.words_norm(h), words, bias=emphasis(mask)))


class TokenTransformer(nn.Module):
    """Logits of each token given those before it and a caption: `p(x|t) = Π_i softmax(l(x_<i, t))_x_i`.

    tokens [B, N] int32 below `vocabulary`; text [B, L, D], mask [B, L] bool and sentence [B, D] as TextEncoder gives them
    -> logits [B, N, vocabulary], of which those of place i depend on tokens before i alone. The sentence is added at every
    place. Of `step` the same logits come place by place, at the cost of one place each (`draw`).
    """

    vocabulary: int
    length: int  # N
    width: int = 128
    depth: int = 3
    heads: int = 4
    hidden: int = 256
    remat: bool = False
    dtype: jnp.dtype | None = None

    def setup(self):
        start = nn.initializers.normal(0.5)
        # Before the first token stands a code of its own.
        self.codes = nn.Embed(self.vocabulary + 1, self.width, embedding_init=start, dtype=self.dtype)
        self.places = self.param("places", start, (self.length, self.width))
        self.condition = Dense(self.width, dtype=self.dtype)
        block = nn.remat(DecoderBlock) if self.remat else DecoderBlock
        self.blocks = [block(self.width, self.heads, self.hidden, self.dtype) for _ in range(self.depth)]
        self.norm, self.logits = nn.RMSNorm(dtype=self.dtype), Dense(self.vocabulary, dtype=self.dtype)

    def __call__(self, tokens: Array, text: Array, mask: Array, sentence: Array) -> Array:
        """Logits [B, N, vocabulary] of all places at once."""
        return self.judge(self.embed(tokens), text, mask, sentence)

    def embed(self, tokens: Array) -> Array:
        """[B, N, width]: at place i the embedding of token i - 1."""
        return self.codes(jnp.pad(tokens[:, :-1], ((0, 0), (1, 0)), constant_values=self.vocabulary))

    def judge(self, before: Array, text: Array, mask: Array, sentence: Array) -> Array:
        """__call__ from what `embed` gives."""
        h = before + self.places.astype(before.dtype)[None] + self.condition(sentence)[:, None]
        for block in self.blocks:
            h = block(h, block.read(text), mask)
        return self.logits(self.norm(h))

    def read(self, text: Array, sentence: Array) -> tuple[Array, tuple[Memory, ...]]:
        """All that `step` needs of a caption, computed once for a picture."""
        return self.condition(sentence), tuple(block.read(text) for block in self.blocks)

    def nothing_yet(self, batch: int) -> tuple[Memory, ...]:
        """The cache before the first step."""
        empty = jnp.zeros((batch, self.length, self.heads, self.width // self.heads), self.dtype)
        return tuple(Memory(empty, empty) for _ in range(self.depth))

    def step(self, last: Array, place: Array, cache: tuple[Memory, ...], caption: tuple, mask: Array
             ) -> tuple[Array, tuple[Memory, ...]]:
        """Logits [B, vocabulary] of one place, and the cache with it, from the token [B] before it (any for place 0)."""
        condition, words = caption
        before = self.codes(jnp.where(place > 0, last, self.vocabulary))
        h = (before + self.places.astype(before.dtype)[place][None] + condition)[:, None]
        kept = []
        for block, past, read in zip(self.blocks, cache, words, strict=True):
            h, past = block.step(h, place, past, read, mask)
            kept.append(past)
        return self.logits(self.norm(h))[:, 0], tuple(kept)


def draw(network: TokenTransformer, params: dict, text: Array, mask: Array, sentence: Array, gumbel: Array,
         temperature: Array | float, top_k: int, top_p: Array | float) -> Array:
    """Tokens int32 [B, N] drawn one after another with a cache; gumbel [B, N, vocabulary], the rest as in `choose`."""
    apply = lambda method, *x: network.apply({"params": params}, *x, method=method)
    caption = apply("read", text, sentence)

    def one(carry: tuple, place_and_noise: tuple) -> tuple:
        last, cache = carry
        place, noise = place_and_noise
        logits, cache = apply("step", last, place, cache, caption, mask)
        token = choose(logits.astype(noise.dtype), noise, temperature, top_k, top_p)
        return (token, cache), token

    start = jnp.zeros(len(text), jnp.int32), apply("nothing_yet", len(text))
    noise = rearrange(gumbel, "b n v -> n b v")
    return rearrange(jax.lax.scan(one, start, (jnp.arange(network.length), noise))[1], "n b -> b n")
