"""Losses of systems by the book: NumPy in float64, loops where they are plainer."""

import numpy as np


def softplus(x):
    """The mean of -log(1 - σ(x)); of -x, the mean of -log σ(x)."""
    return np.logaddexp(0, x).mean()


def kl(mean, log_variance):
    """[B] of a diagonal Gaussian and the standard normal."""
    return (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(-1) / 2


def gaussian(x, mean, log_scale):
    """-log of its density: [B]."""
    density = np.exp(-(((x - mean) / np.exp(log_scale)) ** 2) / 2) / (np.sqrt(2 * np.pi) * np.exp(log_scale))
    return -np.log(density).reshape(len(x), -1).sum(1)


def laplace(x, mean, log_scale):
    density = np.exp(-np.abs(x - mean) / np.exp(log_scale)) / (2 * np.exp(log_scale))
    return -np.log(density).reshape(len(x), -1).sum(1)


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def info_nce(images, texts, right, temperature=0.1):
    """Both directions, other right pairs left out."""
    similarity, losses = np.exp(unit(images) @ unit(texts).T / temperature), []
    for i in range(len(images)):
        texts_of_i = [j for j in range(len(images)) if j == i or not right[i, j]]
        images_of_i = [j for j in range(len(images)) if j == i or not right[j, i]]
        losses.append(-np.log(similarity[i, i] / similarity[i, texts_of_i].sum()))
        losses.append(-np.log(similarity[i, i] / similarity[images_of_i, i].sum()))
    return np.mean(losses)


def right_pairs(batch):
    """[B, B]: whether caption j is among the captions of picture i, by sets."""
    sets = [set(np.asarray(row).tolist()) - {0} for row in batch["captions"]]
    return np.array([[int(caption) in mine for caption in batch["caption"]] for mine in sets])


def wrong(right):
    """[B]: for each picture the next caption that is wrong for it; its own where there is none."""
    count = len(right)
    after = lambda i: (j % count for j in range(i + 1, i + count))
    return np.array([next((j for j in after(i) if not right[i, j]), i) for i in range(count)])


def leaves(tree):
    """The arrays of nested dictionaries."""
    if isinstance(tree, dict):
        return [x for value in tree.values() for x in leaves(value)]
    return [np.asarray(tree, np.float64)]


def discriminator_terms(losses, out, batch, own):
    """Terms of the discriminator's turn and their weighted sum "loss", for non-saturating losses.

    out: logits `real`, `fake` [B] and `crossed` [B, B] of picture i beside caption j, embeddings `seen`, `said` [B, E],
    slopes `real_slope`, `fake_slope` [B, ...] of the logits; own: the discriminator's parameters.
    """
    right = right_pairs(batch)
    game = lambda fake: softplus(-out["real"]) + softplus(fake)
    terms = {"gan": game(out["fake"])}
    if losses.matching:
        chosen = wrong(right)
        assert not right[np.arange(len(right)), chosen].any(), "the batch holds no wrong caption"
        terms["gan"] = (game(out["fake"]) + game(out["crossed"][np.arange(len(right)), chosen])) / 2
    weights = {"gan": 1, "contrastive": losses.contrastive, "r1": losses.gamma / 2, "r2": losses.gamma_fake / 2,
               "l1": losses.l1, "l2": losses.l2}
    compute = {
        "contrastive": lambda: info_nce(out["seen"], out["said"], right, losses.temperature),
        "r1": lambda: (out["real_slope"].reshape(len(right), -1) ** 2).sum(1).mean(),
        "r2": lambda: (out["fake_slope"].reshape(len(right), -1) ** 2).sum(1).mean(),
        "l1": lambda: sum(np.abs(x).sum() for x in leaves(own)),
        "l2": lambda: sum((x**2).sum() for x in leaves(own)),
    }
    terms |= {name: value() for name, value in compute.items() if weights[name]}
    border = (out["real"].mean() + out["fake"].mean()) / 2
    watched = {"accuracy_real": (out["real"] > border).mean(), "accuracy_fake": (out["fake"] < border).mean(),
               "pairs_told": (out["real"] > out["fake"]).mean()}
    return terms | watched | {"loss": sum(weights[name] * value for name, value in terms.items())}


def generator_terms(losses, out, batch):
    """Terms of the game in the generator's turn, and their weighted sum "game"; out as above, `fake_seen` [B, E]."""
    right = right_pairs(batch)
    terms = {"gan": softplus(-out["fake"]), "discriminator": softplus(-out["real"]) + softplus(out["fake"])}
    total = terms["gan"]
    if losses.contrastive:
        terms["contrastive"] = info_nce(out["fake_seen"], out["said"], right | right.T, losses.temperature)
        total = total + losses.contrastive * terms["contrastive"]
    return terms | {"game": total}


def assert_terms(found, expected, rtol=2e-5):
    """Every expected term is reported and close."""
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=rtol, atol=1e-6, err_msg=name)
