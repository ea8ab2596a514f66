"""PyTorch twins of the transformer players of latent maps (t2i_jax/models/latent_transformers.py); layers as ours are named."""

import numpy as np
import torch
import twins
from torch import nn
from torch.nn import functional

from t2i_jax.models.transformer_layers import angles

GAIN = 0.1


def unstacked(paths):
    """{path: array} as the twins name them: the leading axis of stacked "blocks" is a part of the path."""
    found = {}
    for path, array in paths.items():
        path = path.replace("/class/", "/class_block/")  # which PyTorch cannot compile as a name
        if "/blocks/" in path:
            before, after = path.split("/blocks/")
            found |= {f"{before}/blocks/{number}/{after}": block for number, block in enumerate(np.asarray(array))}
        else:
            found[path] = array
    return found


def dense(inputs, outputs):
    return nn.Linear(inputs, outputs, bias=False)


def norm(width):
    return nn.RMSNorm(width, eps=1e-6)


class Out(nn.Module):
    def __init__(self, inputs, outputs, gain):
        super().__init__()
        self.kernel = nn.Parameter(torch.zeros(inputs, outputs))
        self.gain = None if gain is None else nn.Parameter(torch.full((outputs,), gain))

    def forward(self, h):
        return h @ (self.kernel if self.gain is None else self.kernel * self.gain)


class Attention(nn.Module):
    def __init__(self, width, source, heads, gain=None):
        super().__init__()
        self.heads, size = heads, width // heads
        self.query, self.key, self.value = dense(width, width), dense(source, width), dense(source, width)
        self.query_norm, self.key_norm, self.out = norm(size), norm(size), Out(width, width, gain)

    def forward(self, h, source, mask=None, turn=None):
        split = lambda x: x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        query, key = self.query_norm(split(self.query(h))), self.key_norm(split(self.key(source)))
        if turn is not None:
            query, key = rotate(query, turn), rotate(key, turn)
        mask = None if mask is None else mask[:, None, None]
        found = functional.scaled_dot_product_attention(query, key, split(self.value(source)), mask)
        return self.out(found.transpose(1, 2).flatten(2))


def rotate(x, turn):
    cosine, sine = turn
    first, second = x.chunk(2, -1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1)


def turns(grid, size):
    table = torch.from_numpy(angles(*grid, size))
    return torch.cos(table), torch.sin(table)


class GatedPerceptron(nn.Module):
    def __init__(self, width, hidden, gain=None):
        super().__init__()
        self.gate, self.up, self.down = dense(width, hidden), dense(width, hidden), Out(hidden, width, gain)

    def forward(self, h):
        return self.down(functional.silu(self.gate(h)) * self.up(h))


class GeneratorBlock(nn.Module):
    def __init__(self, width, heads, hidden, words):
        super().__init__()
        self.adapt = nn.Linear(width, 6 * width)
        self.attention_norm, self.words_norm, self.perceptron_norm = (norm(width) for _ in range(3))
        self.attention, self.words = Attention(width, width, heads), Attention(width, words, heads)
        self.perceptron = GatedPerceptron(width, hidden)

    def forward(self, h, condition, words, mask, turn):
        scale_a, gate_a, scale_w, gate_w, scale_p, gate_p = self.adapt(condition)[:, None].chunk(6, -1)
        x = self.attention_norm(h) * (1 + scale_a)
        h = h + gate_a * self.attention(x, x, turn=turn)
        h = h + gate_w * self.words(self.words_norm(h) * (1 + scale_w), words, mask)
        return h + gate_p * self.perceptron(self.perceptron_norm(h) * (1 + scale_p))


class Generator(nn.Module):
    """(noise [B, N], sentence [B, D], words [B, L, D], mask [B, L]) -> latents [B, H, W, C]"""

    def __init__(self, sizes, latent, noise, words):
        super().__init__()
        self.sizes, self.latent, width = sizes, latent, sizes.width
        self.grid = tuple(side // sizes.patch for side in latent[:2])
        self.noise, self.sentence, self.condition = (nn.Linear(inputs, width) for inputs in (noise, words, width))
        self.words_norm, self.norm = norm(words), norm(width)
        self.places = nn.Parameter(torch.zeros(self.grid[0] * self.grid[1], width))
        self.blocks = nn.ModuleList(GeneratorBlock(width, sizes.heads, sizes.hidden, words) for _ in range(sizes.depth))
        self.out = nn.Linear(width, sizes.patch**2 * latent[2])
        self.turn = turns(self.grid, width // sizes.heads)

    def forward(self, noise, sentence, words, mask):
        condition = functional.silu(self.condition(functional.silu(self.noise(noise) + self.sentence(sentence))))
        words, h = self.words_norm(words), self.places.expand(len(noise), -1, -1)
        for block in self.blocks:
            h = block(h, condition, words, mask, self.turn)
        patches = self.out(self.norm(h)).unflatten(-1, (self.sizes.patch, self.sizes.patch, -1)).unflatten(1, self.grid)
        return patches.permute(0, 1, 3, 2, 4, 5).reshape(len(noise), *self.latent)


class DiscriminatorBlock(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.attention_norm, self.perceptron_norm = norm(width), norm(width)
        self.attention, self.perceptron = Attention(width, width, heads, GAIN), GatedPerceptron(width, hidden, GAIN)

    def forward(self, h, source=None, turn=None):
        x = self.attention_norm(h)
        h = h + self.attention(x, x if source is None else source, turn=turn)
        return h + self.perceptron(self.perceptron_norm(h))


class Discriminator(nn.Module):
    """(latents [B, H, W, C], sentence [B, D]) -> (logits [B], embedding [B, E], sentence embedding [B, E])"""

    def __init__(self, sizes, latent, words):
        super().__init__()
        self.sizes, width, size = sizes, sizes.width, sizes.embedding
        self.grid = tuple(side // sizes.patch for side in latent[:2])
        block = lambda: DiscriminatorBlock(width, sizes.heads, sizes.hidden)
        self.embed = nn.Linear(sizes.patch**2 * latent[2], width)
        self.blocks = nn.ModuleList(block() for _ in range(sizes.depth))
        self.class_token = nn.Parameter(torch.zeros(width))
        self.tokens_norm, self.norm = norm(width), norm(width)
        self.class_block = block()
        self.logit, self.project, self.embed_latent = nn.Linear(width, 1), nn.Linear(width, size), nn.Linear(width, size)
        self.condition, self.embed_sentence = nn.Linear(words, size), nn.Linear(words, size)
        self.turn = turns(self.grid, width // sizes.heads)

    def forward(self, latents, sentence):
        patch = self.sizes.patch
        tokens = latents.unflatten(1, (-1, patch)).unflatten(3, (-1, patch)).permute(0, 1, 3, 2, 4, 5)
        h = self.embed(tokens.flatten(3).flatten(1, 2))
        for block in self.blocks:
            h = block(h, turn=self.turn)
        token = self.class_token.expand(len(h), 1, -1)
        h = self.norm(self.class_block(token, self.tokens_norm(h))[:, 0])
        matches = (self.project(h) * self.condition(sentence)).sum(1) / self.sizes.embedding**0.5
        return self.logit(h)[:, 0] + matches, self.embed_latent(h), self.embed_sentence(sentence)


class Text(twins.Text):
    """The bag of words, and its words."""

    def forward(self, tokens, mask):
        h = (self.Embed_0(tokens) + self.places) * mask[..., None]
        return h, self.RMSNorm_0(h.sum(1) / mask.sum(1, keepdim=True))


def discriminator_loss(weights, discriminator, real, fake, sentence, noise):
    """Relativistic, InfoNCE, and R1 + R2 by finite differences over `noise`, all in one pass."""
    sentence, fake = sentence.detach(), fake.detach()
    shown = torch.cat([real, fake, real + weights.sigma * noise, fake + weights.sigma * noise])
    logits, seen, said = discriminator(shown, sentence.repeat(4, 1))
    real_logits, fake_logits, *nudged = logits.chunk(4)
    penalty = sum(((a - b) / weights.sigma).square().mean() for a, b in zip((real_logits, fake_logits), nudged, strict=True))
    count = len(real)
    loss = functional.softplus(fake_logits - real_logits).mean()
    loss = loss + weights.contrastive * twins.info_nce(seen[:count], said[:count], weights.temperature)
    return loss + weights.gamma / 2 * penalty
