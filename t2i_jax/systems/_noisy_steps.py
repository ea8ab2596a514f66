"""Drawing the tokens of a picture block by block, through noise: the generator of `noisy_ar`, without its losses.

    p(x | t) = Π_i g_i(x_i | x_<i, t, z_i)    i runs in a fixed order; tokens of one block are drawn together, each from
                                              what it is given by the blocks before
    z_i = (n, ℓ e_i)                          n: noise of the whole picture, e_i: of a place, ℓ: the step's noise level

A step sees the tokens of earlier blocks; every later place is hidden and shows its noise instead. The level is the
share of the picture still hidden: it falls from 1 to 0, and the network is told.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from t2i_jax import keys
from t2i_jax.models.masked_tokens import MaskedTokenTransformer
from t2i_jax.models.token_order import block_count, drawn_before, ranks
from t2i_jax.models.token_sampling import choose, straight_through_sample
from t2i_jax.objectives.precision import at_least_float32


class Caption(NamedTuple):
    """What a picture is drawn from."""

    sentence: Array  # [B, D]
    words: Array  # [B, L, D]
    mask: Array  # [B, L] bool
    noise: Array  # [B, n], of the whole picture


def unspoken(caption: Caption) -> Caption:
    """Its noise alone, without words."""
    return jax.tree.map(jnp.zeros_like, caption)._replace(noise=caption.noise)


@dataclasses.dataclass(frozen=True)
class Order:
    """The config section `steps`."""

    order: str = "scattered"  # or raster: in which tokens are drawn
    noise: int = 8  # dimensions of each place's own noise e_i


@dataclasses.dataclass(frozen=True)
class NoisySteps:
    """The transformer as a way to draw."""

    network: MaskedTokenTransformer
    grid: tuple[int, int]
    order: Order

    @property
    def count(self) -> int:
        """N, the tokens of a picture."""
        return self.grid[0] * self.grid[1]

    @property
    def rank(self) -> np.ndarray:
        """[1, N]: when each place is drawn."""
        return ranks(self.grid, self.order.order)[None]

    def init(self, key: Array, caption: Caption) -> dict:
        """Parameters of the player "generator", given a caption of any content."""
        tokens = jnp.zeros((len(caption.mask), self.count, self.network.vocabulary))
        noise = jnp.zeros((*tokens.shape[:2], self.order.noise))
        condition = jnp.concatenate([caption.sentence, caption.noise], axis=-1)
        inputs = (tokens, noise[..., 0] > 0, noise, jnp.zeros(len(tokens)), condition, caption.words, caption.mask)
        return self.network.init(key, *inputs)["params"]

    def logits(self, params: dict, seen: Array, known: Array, noise: Array, level: Array, caption: Caption) -> Array:
        """[B, N, K] from one-hot tokens seen [B, N, K], known [B, N] or [1, N], e [B, N, noise], level [B]."""
        condition = jnp.concatenate([caption.sentence, caption.noise.astype(caption.sentence.dtype)], axis=-1)
        known = jnp.broadcast_to(known, seen.shape[:2])
        return at_least_float32(self.network.apply(
            {"params": params["generator"]}, seen, known, noise, level, condition, caption.words, caption.mask))

    def place_noise(self, example_keys: Array) -> Array:
        """e [B, N, noise]."""
        return keys.normal(keys.named(example_keys, "noise of places"), (self.count, self.order.noise))

    def gumbel(self, example_keys: Array) -> Array:
        """What tokens are drawn by: [B, N, K]."""
        shape = (self.count, self.network.vocabulary)
        return jax.vmap(lambda key: jax.random.gumbel(key, shape))(keys.named(example_keys, "tokens"))

    def corrupted(
        self, params: dict, tokens: Array, caption: Caption, example_keys: Array, most: float
    ) -> tuple[Array, Array]:
        """Logits [B, N, K] of a picture's tokens [B, N] from a corrupted prefix of them, and which [B, N] were hidden.

        Each example draws the length of its prefix, shorter ones more often (few steps draw most tokens from little),
        and its noise level ℓ; a visible token is replaced, by any, with probability ℓ times `most`.
        """
        size = 2 * self.count
        drawn = jax.vmap(lambda key: jax.random.uniform(key, (size + 2,)))(keys.named(example_keys, "corruption"))
        known = self.rank < jnp.floor(self.count * drawn[:, size, None] ** 2)
        level = drawn[:, size + 1]
        wrong = drawn[:, :self.count] < most * level[:, None]
        other = jnp.floor(self.network.vocabulary * drawn[:, self.count : size]).astype(tokens.dtype)
        seen = jax.nn.one_hot(jnp.where(wrong, other, tokens), self.network.vocabulary)
        return self.logits(params, seen, known, self.place_noise(example_keys), level, caption), ~known

    def imagine(self, params: dict, caption: Caption, example_keys: Array, blocks: Array, most: int, relaxation: float
                ) -> Array:
        """Straight-through draws [B, N, K] in `blocks` blocks, a number from 1 to `most`; gradients pass them all."""
        noise, gumbel = self.place_noise(example_keys), self.gumbel(example_keys)

        def block(number: Array, drawn: Array) -> Array:
            before, after = (drawn_before(number + later, blocks, self.count) for later in (0, 1))
            level = jnp.full(len(drawn), 1 - before / self.count)
            logits = self.logits(params, drawn, self.rank < before, noise, level, caption)
            now = (self.rank >= before) & (self.rank < after)
            return jnp.where(now[..., None], straight_through_sample(logits, gumbel, relaxation), drawn)

        def body(drawn: Array, number: Array) -> tuple[Array, None]:
            return jax.lax.cond(number < blocks, block, lambda number, drawn: drawn, number, drawn), None

        return jax.lax.scan(body, jnp.zeros_like(gumbel), jnp.arange(most))[0]

    def draw(self, params: dict, caption: Caption, example_keys: Array, temperature: Array | float, top_k: int,
             top_p: Array | float, steps: int, paint=None) -> tuple[Array, Array | None]:
        """Tokens [B, N] in so many steps, 0 for one token a step, and what `paint` made of the choices after each.

        paint: choices [B, N, K], one-hot where drawn, elsewhere the probabilities expected in the step -> [B, ...].
        """
        noise, gumbel = self.place_noise(example_keys), self.gumbel(example_keys)
        steps = block_count(steps, self.count)
        one_hot = lambda tokens: jax.nn.one_hot(tokens, self.network.vocabulary)

        def body(tokens: Array, number: Array) -> tuple[Array, Array | None]:
            before, after = (drawn_before(number + later, steps, self.count) for later in (0, 1))
            level = jnp.full(len(tokens), 1 - before / self.count)
            logits = self.logits(params, one_hot(tokens), self.rank < before, noise, level, caption)
            now = (self.rank >= before) & (self.rank < after)
            tokens = jnp.where(now, choose(logits, gumbel, temperature, top_k, top_p), tokens)
            if paint is None:
                return tokens, None
            drawn = (self.rank < after)[..., None]
            return tokens, paint(jnp.where(drawn, one_hot(tokens), jax.nn.softmax(logits)))

        return jax.lax.scan(body, jnp.zeros(gumbel.shape[:2], jnp.int32), jnp.arange(steps))
