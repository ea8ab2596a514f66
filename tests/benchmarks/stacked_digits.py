"""Stacked digits: how many of 1,000 modes each adversarial loss covers, with and without gradient penalties.

    python tests/benchmarks/stacked_digits.py --out digits.json

Three real handwritten 8x8 digits (scikit-learn's `load_digits`: UCI Optical Recognition of Handwritten Digits, CC BY
4.0), each drawn by itself, in three colour channels: 10^3 modes of known frequency (stacked MNIST in the small: Metz et
al. 2017; PacGAN, Lin et al. 2018; R3GAN, Huang et al. 2024). A generator is drawn from 25,000 times, a classifier reads
each channel, and a mode is covered when one drawing falls in it. The classifier gives every picture some class, noise
as well: the first two rows say what real digits and an untrained generator score.

All losses run with one set of `Settings`, chosen for the relativistic loss with R1 + R2; the others were not tuned.
Networks have no normalization and the learning rate no schedule, so that only loss and penalty keep a game stable.
"""

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import click
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from einops import rearrange
from jax import Array
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from t2i_jax import keys
from t2i_jax.objectives import adversarial, penalty
from t2i_jax.paths import below
from t2i_jax.systems import Phase, Stage, System, Turn
from t2i_jax.training import alternate
from t2i_jax.training.state import State, create, drawing_weights

LOSSES = ("minimax", "non_saturating", "hinge", "wasserstein", "relativistic")
PENALTIES = {"none": (), "R1": ("real",), "R1 + R2": ("real", "fake")}
SAMPLES = 25_000
SHAPE = (8, 8, 3)


@dataclasses.dataclass(frozen=True)
class Settings:
    """One training; the same for every loss."""

    images: int = 40_960  # a multiple of batch_size
    batch_size: int = 64
    noise: int = 32  # dimensions
    width: int = 256  # of every hidden layer of both players
    gamma: float = 0.5  # weight of a penalty is gamma / 2
    learning_rate: float = 1e-3  # Adam, b1 = 0, b2 = 0.99, both players
    half_life: float = 5_000.0  # of the generator's average, in images


class Digits(NamedTuple):
    """8x8 digits with values in [-1, 1], those trained on and those held out."""

    train: np.ndarray  # [N, 8, 8] float32
    train_labels: np.ndarray  # [N] 0..9
    heldout: np.ndarray
    heldout_labels: np.ndarray


class Coverage(NamedTuple):
    """Of the drawings of one generator."""

    modes: int  # modes hit at least once, of 1,000
    kl: float  # KL(drawn modes || modes of the data) in nats; infinite when training diverged


class MLP(nn.Module):
    """[B, any] to [B, features]: two hidden layers, leaky ReLU 0.2, He initialization (He et al. 2015)."""

    width: int
    features: int

    @nn.compact
    def __call__(self, h: Array) -> Array:
        for _ in range(2):
            h = nn.leaky_relu(nn.Dense(self.width, kernel_init=nn.initializers.he_normal())(h), 0.2)
        return nn.Dense(self.features)(h)


def digits() -> Digits:
    """Three quarters of the 1,797 digits to train on, the rest held out, classes in proportion."""
    pictures, labels = load_digits(return_X_y=True)
    pictures = (pictures.reshape(-1, 8, 8) / 8 - 1).astype(np.float32)
    train, heldout, train_labels, heldout_labels = train_test_split(pictures, labels, random_state=0, stratify=labels)
    return Digits(train, train_labels, heldout, heldout_labels)


def system(loss: str, penalized: tuple[str, ...], settings: Settings) -> System:
    """An unconditional GAN as two players taking turns; `penalized`, of ("real", "fake"): where D's slope costs."""
    generator, discriminator = MLP(settings.width, int(np.prod(SHAPE))), MLP(settings.width, 1)
    game = adversarial.by_name(loss)

    def init(key: Array) -> tuple[dict, dict]:
        noise, images = jnp.zeros((1, settings.noise)), jnp.zeros((1, int(np.prod(SHAPE))))
        return {
            "generator": generator.init(keys.named(key, "generator"), noise)["params"],
            "discriminator": discriminator.init(keys.named(key, "discriminator"), images)["params"],
        }, {}

    def imagine(params: dict, example_keys: Array) -> Array:
        noise = keys.normal(keys.named(example_keys, "noise"), (settings.noise,))
        flat = jnp.tanh(generator.apply({"params": params["generator"]}, noise))
        return rearrange(flat, "b (h w c) -> b h w c", h=SHAPE[0], w=SHAPE[1])

    def judge(params: dict, images: Array) -> Array:
        return discriminator.apply({"params": params["discriminator"]}, rearrange(images, "b h w c -> b (h w c)"))[:, 0]

    def discriminator_loss(turn: Turn):
        images = {"real": turn.batch["image"], "fake": imagine(turn.params, turn.keys)}
        value = game.discriminator(judge(turn.params, images["real"]), judge(turn.params, images["fake"]))
        for which in penalized:
            slope = penalty.gradient_penalty(lambda x: judge(turn.params, x), images[which])
            value += settings.gamma / 2 * slope
        return value, ({}, {})

    def generator_loss(turn: Turn):
        fake = judge(turn.params, imagine(turn.params, turn.keys))
        return game.generator(fake, judge(turn.params, turn.batch["image"])), ({}, {})

    adam = optax.with_extra_args_support(optax.adam(settings.learning_rate, b1=0.0, b2=0.99))
    phases = (
        Phase("discriminator", below("discriminator"), discriminator_loss, "discriminator"),
        Phase("generator", below("generator"), generator_loss, "generator"),
    )
    return System(
        init=init,
        stages=(Stage("gan", settings.images, phases),),
        optimizers={"discriminator": adam, "generator": adam},
        ema={"generator": settings.half_life},
        encode=lambda captions: {},
        generate=lambda params, aux, text, example_keys: imagine(params, example_keys),
        image_shape=SHAPE,
    )


def stack(pictures: Array, key: Array, count: int) -> Array:
    """[count, 8, 8, 3]: in each channel one of `pictures` [N, 8, 8], drawn by itself."""
    chosen = jax.random.randint(key, (count, SHAPE[-1]), 0, len(pictures))
    return rearrange(jnp.asarray(pictures)[chosen], "b c h w -> b h w c")


def compile_training(system: System, pictures: np.ndarray, settings: Settings) -> Callable[[Array], State]:
    """The whole training as one compiled function: key -> state at its end."""

    def one(state: State, _) -> tuple[State, None]:
        key = jax.random.fold_in(keys.named(state.key, "data"), state.step)
        batch = {"image": stack(pictures, key, settings.batch_size)}
        return alternate.step(system, system.stages[0], 0, state, batch)[0], None

    steps = settings.images // settings.batch_size
    return jax.jit(lambda key: jax.lax.scan(one, create(system, key), length=steps)[0])


def draw(system: System, state: State, averaged: bool) -> np.ndarray:
    """SAMPLES pictures [SAMPLES, 8, 8, 3] by the generator's averaged weights or by its last."""
    params = drawing_weights(state.params, state.aux, state.ema)[0] if averaged else state.params
    example_keys = keys.per_example(keys.named(state.key, "draw"), SAMPLES)
    return np.asarray(jax.jit(system.generate)(params, state.aux, {}, example_keys))


def coverage(labels: np.ndarray, frequencies: np.ndarray) -> Coverage:
    """Of the digits [N, 3] read from N pictures, where each digit of the data has one of `frequencies` [10]."""
    drawn = np.bincount(labels @ [100, 10, 1], minlength=1000) / len(labels)
    expected = np.einsum("i,j,k->ijk", frequencies, frequencies, frequencies).ravel()
    hit = drawn > 0
    return Coverage(int(hit.sum()), float(np.sum(drawn[hit] * np.log(drawn[hit] / expected[hit]))))


def judged(pictures: np.ndarray, classifier: MLPClassifier, frequencies: np.ndarray) -> Coverage:
    """Coverage by pictures [N, 8, 8, 3]; those of a generator that diverged cover nothing."""
    if not np.isfinite(pictures).all():
        return Coverage(0, float("inf"))
    labels = classifier.predict(rearrange(pictures, "n h w c -> (n c) (h w)"))
    return coverage(rearrange(labels, "(n c) -> n c", c=SHAPE[-1]), frequencies)


def measure(losses: tuple[str, ...], seeds: int, settings: Settings) -> Iterator[dict]:
    """Records {loss, penalty, seed, averaged, last}, one at a time; first the two reference rows, of seed 0."""
    data = digits()
    classifier = MLPClassifier((128,), alpha=1e-2, max_iter=150, tol=1e-3, random_state=0)
    classifier.fit(data.train.reshape(-1, 64), data.train_labels)
    accuracy = classifier.score(data.heldout.reshape(-1, 64), data.heldout_labels)
    click.echo(f"classifier: {accuracy:.1%} of {len(data.heldout)} held-out digits right", err=True)
    frequencies = np.bincount(data.train_labels, minlength=10) / len(data.train_labels)

    real = judged(np.asarray(stack(data.heldout, jax.random.key(0), SAMPLES)), classifier, frequencies)
    yield {"loss": "real digits, held out", "penalty": "", "seed": 0, "averaged": real, "last": real}
    fresh = system("relativistic", (), settings)
    untrained = judged(draw(fresh, create(fresh, jax.random.key(0)), averaged=False), classifier, frequencies)
    yield {"loss": "untrained generator", "penalty": "", "seed": 0, "averaged": untrained, "last": untrained}

    for loss in losses:
        for name, penalized in PENALTIES.items():
            game = system(loss, penalized, settings)
            train = compile_training(game, data.train, settings)
            for seed in range(seeds):
                state = train(jax.random.key(seed))
                scores = [judged(draw(game, state, averaged), classifier, frequencies) for averaged in (True, False)]
                yield {"loss": loss, "penalty": name, "seed": seed, "averaged": scores[0], "last": scores[1]}


def table(records: list[dict]) -> str:
    """Markdown: a line per loss and penalty; modes of every seed, mean KL."""
    head = ("loss", "penalty", "modes", "KL, nats", "modes, last weights", "KL, last weights")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for loss, name in dict.fromkeys((record["loss"], record["penalty"]) for record in records):
        cells = [loss, name]
        for weights in ("averaged", "last"):
            scores = [record[weights] for record in records if (record["loss"], record["penalty"]) == (loss, name)]
            cells += [", ".join(str(score.modes) for score in scores), f"{np.mean([score.kl for score in scores]):.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="JSON file to write.")
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Trainings of each game.")
@click.option("--images", type=click.IntRange(1), default=Settings.images, show_default=True, help="Of each training.")
@click.option("--losses", type=click.Choice(LOSSES), multiple=True, default=LOSSES, help="Repeatable; all by default.")
def main(out: Path, seeds: int, images: int, losses: tuple[str, ...]) -> None:
    """Train every loss with every penalty, print the table, write each training's figures."""
    settings, records = Settings(images=images), []
    if images % settings.batch_size:
        raise click.BadParameter(f"{images} is no multiple of the batch, {settings.batch_size}", param_hint="--images")
    for record in measure(losses, seeds, settings):
        records.append(record)
        click.echo(" ".join(f"{name}={value}" for name, value in record.items()), err=True)
    click.echo(table(records))
    click.echo(f"\n{SAMPLES} pictures drawn by each; {time.process_time():.0f} s of processor time in all.")
    finite = lambda score: {"modes": score.modes, "kl": score.kl if np.isfinite(score.kl) else None}
    trainings = [record | {weights: finite(record[weights]) for weights in ("averaged", "last")} for record in records]
    out.write_text(json.dumps({"settings": dataclasses.asdict(settings), "trainings": trainings}, indent=1) + "\n")


if __name__ == "__main__":
    main()
