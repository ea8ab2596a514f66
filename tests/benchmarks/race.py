"""A race against PyTorch: the same training steps, run in turns in one process, and how much faster ours are.

    python tests/benchmarks/race.py --repeats 7 --out race.json

Each case is a step of a config of this project beside a twin written for it in PyTorch (tests/systems/twins.py): same
shapes, parameters, batch, losses and optimizer. Both take one step from the same weights and the same noise first, and a
difference of their losses ends the race. Then they run in turns, a chunk of steps each, in the order ours, theirs, ours,
...; a ratio is of two chunks that stood side by side, so that a machine whose speed drifts counts for both.

`--compiled` also races `torch.compile`, where it compiles: it cannot differentiate twice, which R1 and R2 need.
PyTorch uses its fused Adam and all cores that JAX uses.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
import jax
import numpy as np

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "systems")]

import playing  # noqa: E402
import torch  # noqa: E402
import transformer_twins  # noqa: E402
import twins  # noqa: E402

from t2i_jax import keys, systems  # noqa: E402
from t2i_jax.distributed import sharding  # noqa: E402
from t2i_jax.distributed.mesh import make_mesh  # noqa: E402
from t2i_jax.paths import flat  # noqa: E402
from t2i_jax.planning.compiling import stage_of  # noqa: E402
from t2i_jax.training import alternate  # noqa: E402
from t2i_jax.training.state import create  # noqa: E402


STEPS = 10  # of a chunk


class Case(NamedTuple):
    """One training step of both sides."""

    spec: str  # a config, "NAME.py:preset"
    changes: tuple[str, ...]  # of it
    stage: str
    twin: Callable[..., "Twin"]
    twice: bool  # whether its losses hold gradients, which torch.compile cannot differentiate again


class Twin:
    """The PyTorch side of a step: networks, optimizers and averages, made from the same config."""

    def __init__(self, config, compiled: bool):
        self.config, self.players = config, torch.nn.ModuleDict(self.networks(config)).train()
        if compiled:
            for player in self.players.values():
                player.compile()
        self.averages = {name: [p.detach().clone() for p in player.parameters()] for name, player in self.players.items()
                         if name in config.ema}
        self.optimizers = {name: self.adam(name, players) for name, players in self.turns.items()}

    def adam(self, name: str, players: tuple[str, ...]):
        how = self.config.optimizers[name]
        owned = [p for player in players for p in self.players[player].parameters()]
        return torch.optim.Adam(owned, lr=how.learning_rate, betas=(how.b1, how.b2), eps=how.eps, fused=True)

    def take(self, name: str, loss) -> float:
        """A turn of one optimizer."""
        optimizer, clip = self.optimizers[name], self.config.optimizers[name].clip
        owned = optimizer.param_groups[0]["params"]
        for parameter in self.players.parameters():
            parameter.grad = None
        loss.backward(inputs=[p for p in owned if p.requires_grad])
        if clip:
            torch.nn.utils.clip_grad_norm_(owned, clip)
        optimizer.step()
        return loss.detach()

    def average(self) -> None:
        """Exponential moving averages, as ours."""
        size = self.config.batch_size
        with torch.no_grad():
            for name, means in self.averages.items():
                torch._foreach_lerp_(means, list(self.players[name].parameters()), 1 - 0.5 ** (size / self.config.ema[name]))


class GameTwin(Twin):
    """dcgan's step: the discriminator's turn, then the generator's."""

    turns = {"discriminator": ("discriminator",), "generator": ("generator", "text")}
    drawn = "noise"

    def networks(self, config) -> dict:
        side, channels, width = config.data.resolution, config.data.channels, config.text.width
        inputs, judged = tuple(config.generator.channels), config.discriminator
        features = (side >> len(judged.channels)) ** 2 * judged.channels[-1]
        return {
            "text": twins.Text(config.data.vocabulary, width, config.data.text_length),
            "generator": twins.ConvGenerator(config.noise + width, side >> len(inputs), inputs, channels),
            "discriminator": twins.ConvDiscriminator((channels, *judged.channels), features, width, judged.embedding),
        }

    def step(self, batch: dict, z) -> list[float]:
        players, losses = self.players, self.config.losses
        sentence = players["text"](batch["tokens"], batch["mask"])
        made = players["generator"](z, sentence)  # drawn once for both turns
        told = twins.discriminator_loss(losses, players["discriminator"], batch["image"], made, sentence)
        first = self.take("discriminator", told)
        loss = twins.generator_loss(losses, players["discriminator"], made, sentence, batch["image"])
        second = self.take("generator", loss)
        self.average()
        return [first, second]


class AutoencoderTwin(Twin):
    """The first stage of the quickstart, without its augmentations of pictures."""

    turns = {"autoencoder": ("autoencoder",)}
    drawn = "posterior"

    def networks(self, config) -> dict:
        shape = (config.data.resolution, config.data.resolution, config.data.channels)
        return {"autoencoder": twins.Autoencoder(shape, config.autoencoder)}

    def step(self, batch: dict, noise) -> list[float]:
        losses = self.config.losses
        made, mean, log_variance = self.players["autoencoder"](batch["image"], noise)
        error = made + (made.clamp(-1, 1) - made).detach() - batch["image"]
        grey = 1 / 127.5
        absolute = (torch.sqrt(error**2 + grey**2) - grey).mean()
        kl = ((mean**2 + log_variance.exp() - 1 - log_variance) / 2).sum(1).mean()
        loss = (error**2).mean() + losses.l1 * absolute + losses.kl * kl
        value = self.take("autoencoder", loss)
        self.average()
        return [value]


class LatentTwin(Twin):
    """The GAN stage of a transformer's latent_gan; it is given the latents of pictures, which ours makes of them."""

    turns = {"discriminator": ("discriminator",), "generator": ("generator", "text")}
    drawn = "penalty"

    def networks(self, config) -> dict:
        width, latent = config.text.width, latent_of(config)
        return {
            "text": transformer_twins.Text(config.data.vocabulary, width, config.data.text_length),
            "generator": transformer_twins.Generator(config.generator, latent, config.data.noise, width),
            "discriminator": transformer_twins.Discriminator(config.discriminator, latent, width),
        }

    def imagine(self, batch: dict):
        words, sentence = self.players["text"](batch["tokens"], batch["mask"])
        return self.players["generator"](batch["noise"], sentence, words, batch["mask"]), sentence

    def step(self, batch: dict, noise) -> list[float]:
        judge, losses, real = self.players["discriminator"], self.config.losses, batch["latents"]
        made, sentence = self.imagine(batch)
        first = self.take("discriminator", transformer_twins.discriminator_loss(losses, judge, real, made, sentence, noise))
        second = self.take("generator", twins.generator_loss(losses, judge, made, sentence, real))
        self.average()
        return [first, second]


def latent_of(config) -> tuple[int, int, int]:
    side = config.data.resolution // config.autoencoder.patch >> (len(config.autoencoder.channels) - 1)
    return side, side, config.autoencoder.latent


CASES = {
    "DCGAN": Case("dcgan.py:small", ("losses.gamma=0.0",), "gan", GameTwin, twice=False),
    "R3GAN-style, R1 + R2": Case(
        "dcgan.py:small", ("losses.adversarial=relativistic", "losses.gamma=1.0", "losses.gamma_fake=1.0",
                           "losses.matching=False"), "gan", GameTwin, twice=True),
    "autoencoder": Case("quickstart.py:32", ("losses.cut_mix=0.0", "losses.mirror=False"), "autoencoder", AutoencoderTwin,
                        twice=False),
    "latent transformer GAN": Case(
        "latent_gan_256.py:tiny", (
            "data.resolution=64", "data.noise=32", "stages.gan=320", "text.width=64", "text.depth=0", "losses.matching=0.0",
            *(f"{player}.{size}" for player in ("generator", "discriminator")
              for size in ("width=128", "depth=4", "heads=4", "hidden=384", "remat=False", "keep=False")),
            "dtype=float32"), "gan", LatentTwin, twice=False),
}


def batch_of(config) -> dict:
    """Pictures whose captions all differ."""
    rng, data, count = np.random.default_rng(0), config.data, config.batch_size
    lengths, number = rng.integers(1, data.text_length, count), np.arange(1, count + 1, dtype=np.uint32)
    batch = {
        "image": rng.integers(0, 256, (count, data.resolution, data.resolution, data.channels)).astype(np.uint8),
        "tokens": rng.integers(1, data.vocabulary, (count, data.text_length)).astype(np.int32),
        "mask": np.arange(data.text_length)[None] < lengths[:, None],
        "caption": number,
        "captions": number[:, None],
    }
    if data.get("whole"):
        batch |= {f"whole_{name}": batch[name] for name in ("tokens", "mask")}
    return batch | ({"noise": rng.standard_normal((count, data.noise)).astype(np.float32)} if "noise" in data else {})


class Ours:
    """Our side: one compiled chunk, as training runs it."""

    def __init__(self, config, stage: str, batch: dict):
        self.config, self.batch, mesh = config, batch, make_mesh()
        self.system = systems.build(config, None)
        self.stage = stage_of(self.system, stage)
        self.state = jax.jit(lambda: create(self.system, jax.random.key(0)))()
        self.stacked = jax.device_put({name: np.stack([x] * STEPS) for name, x in batch.items()},
                                      sharding.stacked_batch(mesh))
        started = time.perf_counter()
        self.update = alternate.compile_update(self.system, self.stage, self.state, batch, STEPS, mesh)
        self.compiled = self.update.run.lower(self.state, self.stacked).compile()
        self.compile_seconds = time.perf_counter() - started

    def first(self, drawn: str) -> tuple[list[float], np.ndarray]:
        """(losses of one step, the noise it drew); the state stays."""
        config = self.config
        shape = {"posterior": lambda: (config.autoencoder.latent,), "noise": lambda: (config.noise,),
                 "penalty": lambda: latent_of(config)}[drawn]()

        @jax.jit
        def run(state, batch):
            losses, noise = [], None
            for phase in self.stage.phases:
                turn = playing.turn_of(state, alternate.as_float(batch), stage=self.stage)
                noise = keys.normal(keys.named(turn.keys, drawn), shape)
                state, terms = alternate.run_phase(self.system, phase, state, turn)
                losses.append(terms["loss"])
            return losses, noise

        losses, noise = run(self.state, self.batch)
        return [float(loss) for loss in losses], np.asarray(noise)

    def chunk(self) -> float:
        """Seconds of STEPS steps."""
        started = time.perf_counter()
        self.state, report = self.compiled(self.state, self.stacked)
        jax.block_until_ready((self.state, report))
        return time.perf_counter() - started


class Theirs:
    """The twin, started from our weights."""

    def __init__(self, case: Case, config, state, batch: dict, compiled: bool):
        self.twin = case.twin(config, compiled)
        paths = {path: x for path, x in flat(state.params).items() if path.split("/")[0] in self.twin.players}
        paths = transformer_twins.unstacked(paths)
        statistics = {path: np.asarray(x) for path, x in flat(state.aux.get("generator", {})).items()}
        twins.load(self.twin.players, paths, statistics)
        self.batch = {name: torch.from_numpy(x / np.float32(127.5) - 1 if name == "image" else x)
                      for name, x in batch.items() if name in ("image", "tokens", "mask", "noise", "latents")}
        self.twin.averages = {name: [p.detach().clone() for p in self.twin.players[name].parameters()]
                              for name in self.twin.averages}

    def step(self, noise: np.ndarray) -> list[float]:
        return [float(loss) for loss in self.twin.step(self.batch, torch.from_numpy(noise.copy()))]

    def chunk(self, shape: tuple[int, ...]) -> float:
        """Seconds of STEPS steps, each with noise [B, ...] of its own."""
        started = time.perf_counter()
        for _ in range(STEPS):
            self.twin.step(self.batch, torch.randn(shape))
        return time.perf_counter() - started


def race(name: str, repeats: int, compiled: bool) -> dict:
    """Milliseconds a step of each side, and the ratios of chunks that stood side by side."""
    case = CASES[name]
    config = playing.config(case.spec, *case.changes)
    batch = batch_of(config)
    ours = Ours(config, case.stage, batch)
    expected, noise = ours.first(case.twin.drawn)
    if case.twin is LatentTwin:
        latents = jax.jit(ours.system.codec.encode)(ours.state.params, ours.state.aux, alternate.as_float(batch)["image"])
        batch = batch | {"latents": np.asarray(latents).reshape(-1, *latent_of(config))}
    rivals = {"eager": Theirs(case, config, ours.state, batch, compiled=False)}
    if compiled and not case.twice:
        rivals["torch.compile"] = Theirs(case, config, ours.state, batch, compiled=True)
    for rival, theirs in rivals.items():
        found = theirs.step(noise)
        if not np.allclose(found, expected, rtol=1e-3):
            raise SystemExit(f"{name}, {rival}: first losses {found}, ours {expected}: not the same step")
    ours.chunk()
    for theirs in rivals.values():
        theirs.chunk(noise.shape)
    times = {"ours": [], **{rival: [] for rival in rivals}}
    for _ in range(repeats):
        times["ours"].append(ours.chunk())
        for rival, theirs in rivals.items():
            times[rival].append(theirs.chunk(noise.shape))
    result = {"batch": config.batch_size, "compile_seconds": ours.compile_seconds,
              "milliseconds": {side: 1000 * statistics.median(taken) / STEPS for side, taken in times.items()}}
    for rival in rivals:
        ratios = [theirs / mine for mine, theirs in zip(times["ours"], times[rival], strict=True)]
        result[rival] = {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
    return result


@click.command()
@click.option("--cases", multiple=True, type=click.Choice(list(CASES)), help="[default: all]")
@click.option("--repeats", default=7, show_default=True, type=click.IntRange(min=1))
@click.option("--compiled", is_flag=True, help="Race torch.compile too.")
@click.option("--out", type=click.Path(path_type=Path), help="JSON file of all figures.")
def main(cases, repeats, compiled, out) -> None:
    """Race our training steps against PyTorch twins."""
    torch.set_num_threads(os.cpu_count())
    found = {}
    print("| step | ours, ms | PyTorch, ms | ours is faster by (least to most) |\n|---|---|---|---|")
    for name in cases or CASES:
        found[name] = result = race(name, repeats, compiled)
        for rival in ("eager", "torch.compile"):
            if rival in result:
                times, ratio = result["milliseconds"], result[rival]
                print(f"| {name}, {rival} | {times['ours']:.1f} | {times[rival]:.1f} | {ratio['median']:.2f} "
                      f"({ratio['least']:.2f} to {ratio['most']:.2f}) |", flush=True)
    if out:
        out.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
