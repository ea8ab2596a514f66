"""Generators: noise and a sentence in, latents or pictures out."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from t2i_jax.models.convolutions import Conv, ConvTranspose
from t2i_jax.models.discriminators import SLOPE
from t2i_jax.models.layers import ResidualMLP, ResidualStack, WordAttention


class LatentGenerator(nn.Module):
    """(noise [B, N], sentence [B, D]) -> latents [B, latent], a residual MLP over both together.

    width: latents of more dimensions than this lie in a subspace of so many.
    noise_gain: what noise is multiplied by. It has fewer dimensions than the sentence, and is learnt later the less it weighs.
    """

    latent: int
    width: int = 512
    hidden: int = 1024
    blocks: int = 4
    noise_gain: float = 1.0
    remat: bool = False
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, noise: Array, sentence: Array) -> Array:
        stack = ResidualStack(self.width, self.hidden, self.blocks, self.remat, self.dtype)
        return nn.Dense(self.latent, dtype=self.dtype)(stack(jnp.concatenate([self.noise_gain * noise, sentence], axis=-1)))


class ChoosingGenerator(nn.Module):
    """(noise [B, N], sentence [B, D]) -> latents [B, latent]: noise completes the sentence, and what it says then is drawn.

        G(n, t) = W(t + F(n, t))

    W and F are residual MLPs. W draws sentences (`draw`); F, which hears them as they are, says in their own space what noise
    chooses where they leave something open (`choose`), nothing at the start. So "dark skin tone" is drawn under every profession by
    what W has learnt of the words. And W can be taught by whole sentences alone: one that hears noise, or sentences that leave
    something open, learns which pictures of a profession can be chosen and takes those for all there are, so that a gender that the
    profession was not seen in is drawn as the one that it was, however clearly it is asked for.

    width, hidden, blocks: of W; choosing_width, choosing_hidden, choosing_blocks: of F. width, noise_gain: as in LatentGenerator.
    last_hidden: features of a hidden layer before the latents; these then lie in no subspace of `width` dimensions. 0: none.
    """

    latent: int
    width: int = 512
    hidden: int = 2048
    blocks: int = 4
    last_hidden: int = 0
    choosing_width: int = 256
    choosing_hidden: int = 512
    choosing_blocks: int = 3
    noise_gain: float = 1.0
    remat: bool = False
    dtype: jnp.dtype | None = None

    def setup(self):
        stack = lambda *sizes: ResidualStack(*sizes, self.remat, self.dtype)
        self.drawing = stack(self.width, self.hidden, self.blocks)
        if self.last_hidden:
            self.last = nn.Dense(self.last_hidden, dtype=self.dtype)
        self.drawn = nn.Dense(self.latent, dtype=self.dtype)
        self.choosing = stack(self.choosing_width, self.choosing_hidden, self.choosing_blocks)
        self.chosen = Silent(self.dtype)

    def draw(self, sentence: Array) -> Array:
        """Latents [B, latent] of sentences [B, D]."""
        h = self.drawing(sentence)
        return self.drawn(nn.silu(self.last(h)) if self.last_hidden else h)

    def choose(self, noise: Array, sentence: Array) -> Array:
        """What noise [B, N] adds to sentences [B, D]: [B, D]. Its gradient does not reach them."""
        sentence = jax.lax.stop_gradient(sentence)
        heard = jnp.concatenate([self.noise_gain * noise, sentence], axis=-1)
        return self.chosen(self.choosing(heard), sentence.shape[-1])

    def __call__(self, noise: Array, sentence: Array) -> Array:
        return self.draw(sentence + self.choose(noise, sentence))


class Silent(nn.Module):
    """A matrix that begins as zeros: h [B, any] -> [B, size]."""

    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, h: Array, size: int) -> Array:
        return nn.Dense(size, use_bias=False, kernel_init=nn.initializers.zeros, dtype=self.dtype)(h)


class AttendingGenerator(nn.Module):
    """(noise [B, N], words [B, L, D], mask [B, L], sentence [B, D]) -> latents [B, latent].

    A residual MLP over noise and sentence; before each block it looks words up, by `heads` of `attention` dimensions in all.
    """

    latent: int
    width: int = 512
    hidden: int = 1024
    blocks: int = 4
    heads: int = 4
    attention: int = 128
    remat: bool = False
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, noise: Array, words: Array, mask: Array, sentence: Array) -> Array:
        block, look = (nn.remat(part) if self.remat else part for part in (ResidualMLP, WordAttention))
        h = nn.Dense(self.width, dtype=self.dtype)(jnp.concatenate([noise, sentence], axis=-1))
        for number in range(self.blocks):
            h = h + look(self.heads, self.attention, dtype=self.dtype, name=f"words_{number}")(h, words, mask)
            h = block(self.hidden, dtype=self.dtype, name=f"block_{number}")(h)
        return nn.Dense(self.latent, dtype=self.dtype)(nn.RMSNorm(dtype=self.dtype)(h))


class Norm(nn.Module):
    """Batch normalization, or nothing: [B, ..., C] to the same (Ioffe & Szegedy 2015).

    In training by the statistics of the whole global batch, whatever devices hold it, which move the running ones
    (collection "batch_stats"); else by the running ones.
    """

    on: bool
    momentum: float = 0.8
    epsilon: float = 1e-3
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, h: Array, train: bool) -> Array:
        if not self.on:
            return h
        return nn.BatchNorm(use_running_average=not train, momentum=self.momentum, epsilon=self.epsilon,
                            use_fast_variance=False, dtype=self.dtype)(h)


class DenseGenerator(nn.Module):
    """(noise [B, N], sentence [B, D] or None) -> images [B, *image_shape] in [-1, 1], by dense layers and leaky ReLUs.

    batch_norm: after each hidden layer's activation; only then `train` matters.
    """

    image_shape: tuple[int, int, int]  # H, W, C
    widths: tuple[int, ...] = (128, 256, 512)
    batch_norm: bool = False
    dtype: jnp.dtype | None = None

    multiple = 1  # any sides will do

    @nn.compact
    def __call__(self, noise: Array, sentence: Array | None, train: bool = False) -> Array:
        h = noise if sentence is None else jnp.concatenate([noise, sentence], axis=-1)
        for width in self.widths:
            h = nn.leaky_relu(nn.Dense(width, dtype=self.dtype)(h), SLOPE)
            h = Norm(self.batch_norm, dtype=self.dtype)(h, train)
        pixels = nn.Dense(math.prod(self.image_shape), dtype=self.dtype)(h)
        return nn.tanh(pixels).reshape(len(pixels), *self.image_shape)


class ConvGenerator(nn.Module):
    """(noise [B, N], sentence [B, D] or None) -> images [B, *image_shape] in [-1, 1] (DCGAN, Radford et al. 2016).

    A dense layer to channels[0] small maps, then a 4x4 transposed convolution of stride 2 for each of `channels`, so that
    both sides must be multiples of 2^len(channels), `multiple`. batch_norm: before each hidden activation; only then `train` matters.
    """

    image_shape: tuple[int, int, int]  # H, W, C
    channels: tuple[int, ...] = (256, 128, 64)
    batch_norm: bool = True
    dtype: jnp.dtype | None = None

    @property
    def multiple(self) -> int:
        return 2 ** len(self.channels)

    @nn.compact
    def __call__(self, noise: Array, sentence: Array | None, train: bool = False) -> Array:
        height, width, colours = self.image_shape
        rows, columns = (side >> len(self.channels) for side in (height, width))
        h = noise if sentence is None else jnp.concatenate([noise, sentence], axis=-1)
        h = nn.Dense(rows * columns * self.channels[0], dtype=self.dtype)(h)
        h = h.reshape(len(h), rows, columns, self.channels[0])
        for channels in (*self.channels[1:], colours):
            h = nn.leaky_relu(Norm(self.batch_norm, dtype=self.dtype)(h, train), SLOPE)
            h = ConvTranspose(channels, dtype=self.dtype)(h)
        return nn.tanh(h)


class TextCodec(nn.Module):
    """(noise [B, N], sentence [B, D]) -> images [B, *image_shape] in [-1, 1]: a convolutional encoder-decoder of text.

    The sentence is laid out as a map of `side` x `side`, read by 3x3 convolutions and 2x2 max-pooling (one for each of
    `encoder`), joined with noise and drawn by 4x4 transposed convolutions of stride 2 (one for each of `decoder`) from
    rows and columns of H / 2^len(decoder). dense_output: the last layer is a dense one over all pixels, else a 3x3 convolution.
    """

    image_shape: tuple[int, int, int]  # H, W, C
    side: int = 8
    encoder: tuple[int, ...] = (32, 64)
    decoder: tuple[int, ...] = (256, 128, 64)
    dense_output: bool = False
    dtype: jnp.dtype | None = None

    @property
    def multiple(self) -> int:
        """Of which both sides of pictures must be multiples."""
        return 2 ** len(self.decoder)

    @nn.compact
    def __call__(self, noise: Array, sentence: Array) -> Array:
        height, width, colours = self.image_shape
        dense = lambda features: nn.Dense(features, dtype=self.dtype)
        depth = -(-sentence.shape[-1] // self.side**2)
        spare = self.side**2 * depth - sentence.shape[-1]
        h = jnp.pad(sentence, ((0, 0), (0, spare))).reshape(-1, self.side, self.side, depth)
        for channels in self.encoder:
            h = nn.max_pool(nn.leaky_relu(Conv(channels, dtype=self.dtype)(h), SLOPE), (2, 2), (2, 2))
        h = jnp.concatenate([h.reshape(len(h), -1), noise], axis=-1)
        rows, columns = (side >> len(self.decoder) for side in (height, width))
        h = nn.leaky_relu(dense(rows * columns * self.decoder[0])(h), SLOPE).reshape(-1, rows, columns, self.decoder[0])
        for channels in (*self.decoder[1:], self.decoder[-1]):
            h = nn.leaky_relu(ConvTranspose(channels, dtype=self.dtype)(h), SLOPE)
        if self.dense_output:
            return nn.tanh(dense(height * width * colours)(h.reshape(len(h), -1))).reshape(-1, *self.image_shape)
        return nn.tanh(Conv(colours, dtype=self.dtype)(h))
