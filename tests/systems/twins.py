"""PyTorch twins of networks and games, written from their layer sizes; layers are named as flax names them."""

from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional

SLOPE = 0.2
NAMES = {  # of a layer's "weight", and the axes that turn ours into PyTorch's
    nn.Linear: ("kernel", (1, 0)),
    nn.Conv2d: ("kernel", (3, 2, 0, 1)),
    nn.ConvTranspose2d: ("kernel", (3, 2, 0, 1)),  # ours [K, K, out, in] to [in, out, K, K]
    nn.BatchNorm1d: ("scale", (0,)),
    nn.BatchNorm2d: ("scale", (0,)),
    nn.RMSNorm: ("scale", (0,)),
    nn.Embedding: ("embedding", (0, 1)),
}


def parameters(players):
    """(our path, PyTorch's parameter, axes) of each."""
    for place, module in players.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            ours, axes = NAMES[type(module)] if name == "weight" else (name, range(parameter.ndim))
            yield f"{place.replace('.', '/')}/{ours}", parameter, tuple(axes)


def load(players, paths, statistics):
    """Take our parameters {path: array} and running statistics, all of them and no others."""
    with torch.no_grad():
        mine = {path: (parameter, axes) for path, parameter, axes in parameters(players)}
        assert mine.keys() == paths.keys()
        for path, (parameter, axes) in mine.items():
            array = np.transpose(np.asarray(paths[path]), axes).copy()
            assert parameter.shape == array.shape, path
            parameter.copy_(torch.from_numpy(array))
        for path, layer in norms(players["generator"]).items() if "generator" in players else ():
            layer.running_mean.copy_(torch.from_numpy(np.array(statistics[f"{path}/mean"])))
            layer.running_var.copy_(torch.from_numpy(np.array(statistics[f"{path}/var"])))


def arrays(players, of):
    """{our path: array in our layout} of `of(parameter)`, None standing for zeros."""
    found = {}
    for path, parameter, axes in parameters(players):
        value = of(parameter)
        value = torch.zeros_like(parameter) if value is None else value
        found[path] = np.transpose(value.detach().numpy(), np.argsort(axes)).copy()
    return found


def norms(generator):
    return {place.replace(".", "/"): layer for place, layer in generator.named_modules()
            if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d))}


def statistics(generator, before, counts):
    """Running statistics as ours keep them: PyTorch averages variances divided by N - 1, ours are divided by N.

    before: {path/var: what they were}; counts: {path: N}, the values that each layer's variances are of.
    """
    found = {}
    for path, layer in norms(generator).items():
        old, count = np.asarray(before[f"{path}/var"]), counts[path]
        batch = (layer.running_var.numpy() - 0.8 * old) / 0.2 * (count - 1) / count
        found |= {f"{path}/mean": layer.running_mean.numpy(), f"{path}/var": 0.8 * old + 0.2 * batch}
    return found


class Text(nn.Module):
    """A bag of words."""

    def __init__(self, vocabulary, width, length):
        super().__init__()
        self.Embed_0, self.RMSNorm_0 = nn.Embedding(vocabulary, width), nn.RMSNorm(width, eps=1e-6)
        self.places = nn.Parameter(torch.zeros(length, width))

    def forward(self, tokens, mask):
        h = (self.Embed_0(tokens) + self.places) * mask[..., None]
        return self.RMSNorm_0(h.sum(1) / mask.sum(1, keepdim=True))


class Stack(nn.Module):
    """Layers "Name_0", "Name_1", ... in turn."""

    def stack(self, name, layers):
        for number, layer in enumerate(layers):
            self.add_module(f"{name}_{number}", layer)
        return list(layers)


class DenseGenerator(Stack):
    def __init__(self, sizes, shape, normalized):
        super().__init__()
        self.shape = shape
        self.layers = [self.stack("Dense", [nn.Linear(*pair) for pair in pairwise(sizes)])]  # listed: registered once
        norm = lambda size: nn.ModuleDict({"BatchNorm_0": nn.BatchNorm1d(size, momentum=0.2, eps=1e-3)})
        self.norms = [self.stack("Norm", [norm(size) for size in sizes[1:-1]]) if normalized else None]

    def forward(self, z, sentence):
        h = z if sentence is None else torch.cat([z, sentence], 1)
        *hidden, last = self.layers[0]
        for number, layer in enumerate(hidden):
            h = functional.leaky_relu(layer(h), SLOPE)
            if self.norms[0]:
                h = self.norms[0][number]["BatchNorm_0"](h)
        return torch.tanh(last(h)).unflatten(1, self.shape)


class ConvGenerator(Stack):
    """4 x 4 transposed convolutions of stride 2; pictures leave as [B, H, W, C]."""

    def __init__(self, inputs, rows, channels, colours):
        super().__init__()
        self.start = (rows, rows, channels[0])
        self.Dense_0 = nn.Linear(inputs, rows * rows * channels[0])
        norm = lambda size: nn.ModuleDict({"BatchNorm_0": nn.BatchNorm2d(size, momentum=0.2, eps=1e-3)})
        self.norms = [self.stack("Norm", [norm(size) for size in channels])]
        self.layers = [self.stack("ConvTranspose", [nn.ConvTranspose2d(a, b, 4, 2, 1)
                                                    for a, b in pairwise((*channels, colours))])]

    def forward(self, z, sentence):
        h = self.Dense_0(torch.cat([z, sentence], 1)).unflatten(1, self.start).permute(0, 3, 1, 2)
        for norm, layer in zip(self.norms[0], self.layers[0], strict=True):
            h = layer(functional.leaky_relu(norm["BatchNorm_0"](h), SLOPE))
        return torch.tanh(h).permute(0, 2, 3, 1)


class Discriminator(Stack):
    """Judges the features of layers below: (logits, embedding, sentence embedding)."""

    def heads(self, features, width, embedding):
        self.logit, self.project = nn.Linear(features, 1), nn.Linear(features, embedding)
        self.embed_image, self.embed_sentence = nn.Linear(features, embedding), nn.Linear(width, embedding)
        self.condition = nn.Linear(width, embedding)

    def judge(self, h, sentence):
        matches = (self.project(h) * self.condition(sentence)).sum(1) / self.project.out_features**0.5
        return self.logit(h)[:, 0] + matches, self.embed_image(h), self.embed_sentence(sentence)


class DenseDiscriminator(Discriminator):
    def __init__(self, sizes, width, embedding):
        super().__init__()
        self.layers = [self.stack("Dense", [nn.Linear(*pair) for pair in pairwise(sizes)])]
        self.heads(sizes[-1], width, embedding)

    def forward(self, images, sentence):
        h = images.flatten(1)
        for layer in self.layers[0]:
            h = functional.leaky_relu(layer(h), SLOPE)
        return self.judge(h, sentence)


class ConvDiscriminator(Discriminator):
    """3 x 3 convolutions of stride 2 over pictures [B, H, W, C], "same" padding."""

    def __init__(self, channels, features, width, embedding):
        super().__init__()
        self.layers = [self.stack("Conv", [nn.Conv2d(a, b, 3, 2) for a, b in pairwise(channels)])]
        self.heads(features, width, embedding)

    def forward(self, images, sentence):
        h = images.permute(0, 3, 1, 2)
        for layer in self.layers[0]:
            padding = (0, 1) if h.shape[-1] % 2 == 0 else (1, 1)
            h = functional.leaky_relu(layer(functional.pad(h, 2 * padding)), SLOPE)
        return self.judge(h.permute(0, 2, 3, 1).flatten(1), sentence)


class Encoder(Stack):
    def __init__(self, sizes, latent):
        super().__init__()
        self.layers = [self.stack("Dense", [nn.Linear(*pair) for pair in pairwise(sizes)])]
        self.mean, self.log_variance = nn.Linear(sizes[-1], latent), nn.Linear(sizes[-1], latent)

    def forward(self, images):
        h = images.flatten(1)
        for layer in self.layers[0]:
            h = functional.leaky_relu(layer(h), SLOPE)
        return Normal(self.mean(h), torch.exp(0.5 * self.log_variance(h)))


class ResidualStack(Stack):
    """A linear layer, residual blocks of RMSNorm and two linear layers with SiLU between, RMSNorm."""

    def __init__(self, inputs, width, hidden, blocks):
        super().__init__()
        block = lambda: nn.ModuleDict({"RMSNorm_0": nn.RMSNorm(width, eps=1e-6), "Dense_0": nn.Linear(width, hidden),
                                       "Dense_1": nn.Linear(hidden, width)})
        self.Dense_0, self.RMSNorm_0 = nn.Linear(inputs, width), nn.RMSNorm(width, eps=1e-6)
        self.blocks = [self.stack("block", [block() for _ in range(blocks)])]

    def forward(self, x):
        h = self.Dense_0(x)
        for block in self.blocks[0]:
            h = h + block["Dense_1"](functional.silu(block["Dense_0"](block["RMSNorm_0"](h))))
        return self.RMSNorm_0(h)


class Autoencoder(nn.Module):
    """Linear and residual both ways: pictures [B, H, W, C] to a Gaussian over latents [B, latent] and back."""

    def __init__(self, shape, sizes):
        super().__init__()
        pixels, self.shape = int(np.prod(shape)), shape
        self.linear_encoder, self.linear_decoder = nn.Linear(pixels, sizes.latent), nn.Linear(sizes.latent, pixels)
        self.encoder_in = nn.Linear(pixels, sizes.encoder_hidden)
        self.encoder_out, self.spread = (nn.Linear(sizes.encoder_hidden, sizes.latent) for _ in range(2))
        self.decoder_stack = ResidualStack(sizes.latent, sizes.width, sizes.hidden, sizes.blocks)
        self.decoder_out = nn.Linear(sizes.width, pixels)

    def forward(self, images, noise):
        """(reconstructions from a draw of the posterior, its mean, its log variance)"""
        flat = images.flatten(1)
        hidden = functional.silu(self.encoder_in(flat))
        mean, log_variance = self.linear_encoder(flat) + self.encoder_out(hidden), self.spread(hidden)
        z = mean + torch.exp(0.5 * log_variance) * noise
        made = self.linear_decoder(z) + self.decoder_out(self.decoder_stack(z))
        return made.unflatten(1, self.shape), mean, log_variance


def cross_entropy(logits, real):
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, real))


def info_nce(seen, said, temperature):
    """Of pictures and captions of which no two are alike."""
    similarity = functional.normalize(seen) @ functional.normalize(said).T / temperature
    own = torch.arange(len(seen))
    return (functional.cross_entropy(similarity, own) + functional.cross_entropy(similarity.T, own)) / 2


def discriminator_loss(weights, discriminator, images, made, sentence):
    """The game's, with what its `weights` (a config section) ask for; captions all differ, the next one is wrong."""
    images, made, sentence = images.clone(), made.detach().clone(), sentence.detach()
    for weight, x in ((weights.gamma, images), (weights.gamma_fake, made)):
        x.requires_grad_(bool(weight))
    real, seen, said = discriminator(images, sentence)
    fake = discriminator(made, sentence)[0]
    if weights.adversarial == "relativistic":
        loss = functional.softplus(fake - real).mean()
    else:
        loss = cross_entropy(real, 1.0) + cross_entropy(fake, 0.0)
    if weights.matching:
        wrong = discriminator(images, sentence.roll(-1, 0))[0]
        loss = cross_entropy(real, 1.0) + (cross_entropy(fake, 0.0) + cross_entropy(wrong, 0.0)) / 2
    for weight, logits, x in ((weights.gamma, real, images), (weights.gamma_fake, fake, made)):
        if not weight:
            continue
        (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
        loss = loss + weight / 2 * (slope**2).flatten(1).sum(1).mean()
    if weights.contrastive:
        loss = loss + weights.contrastive * info_nce(seen, said, weights.temperature)
    for weight, norm in ((weights.l1, torch.abs), (weights.l2, torch.square)):
        if weight:
            loss = loss + weight * sum(norm(p).sum() for p in discriminator.parameters())
    return loss


def generator_loss(weights, discriminator, made, sentence, images=None):
    """images: the real ones, which only the relativistic loss looks at."""
    fake, seen, said = discriminator(made, sentence.detach())
    if weights.adversarial == "relativistic":
        loss = functional.softplus(discriminator(images, sentence.detach())[0] - fake).mean()
    else:
        loss = cross_entropy(fake, 1.0)
    return loss + weights.contrastive * info_nce(seen, said, weights.temperature) if weights.contrastive else loss


def vae_loss(weights, players, images, made, sentence, noise):
    """β_vae of both parts of the VAE's, for a Gaussian likelihood and a decoder of its own."""
    scale = torch.exp(torch.tensor(weights.log_scale, dtype=images.dtype))
    likelihood = lambda z: Normal(players["decoder"](z, None), scale)
    surprise = lambda x, z: -likelihood(z).log_prob(x).flatten(1).sum(1)
    prior = Normal(torch.zeros_like(noise), torch.ones_like(noise))
    divergence = lambda posterior: kl_divergence(posterior, prior).sum(1)
    posterior, of_made = players["encoder"](images), players["encoder"](made)
    drawn = posterior.mean + posterior.stddev * noise
    real = surprise(images, posterior.mean) + weights.decoder * surprise(images, drawn)
    real = real + weights.kl * divergence(posterior)
    fake = surprise(made, of_made.mean) + weights.kl * divergence(of_made)
    return weights.vae * (real.mean() + weights.generated * fake.mean())
