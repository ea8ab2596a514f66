"""A new system is one file in systems/ and one config: one is written here, trained, and draws by the command line."""

import sys

import jax
import numpy as np
import pytest
from PIL import Image
from running import call

from t2i_jax import load, systems
from t2i_jax.data.prepared import Prepared
from t2i_jax.inference.pipeline import to_uint8

SYSTEM = '''"""`toy_gan`: a text-conditional GAN of dense layers, kept near its captions' pictures by a square error."""

import jax.numpy as jnp

from t2i_jax import config as configs
from t2i_jax import keys
from t2i_jax.models.discriminators import DenseDiscriminator
from t2i_jax.models.generators import DenseGenerator
from t2i_jax.models.text import TextEncoder
from t2i_jax.objectives.adversarial import NON_SATURATING as game
from t2i_jax.paths import below
from t2i_jax.systems import Phase, Stage, System, optimizers_of

def build(config, tokenizer):
    shape = (config.data.resolution, config.data.resolution, config.data.channels)
    text = configs.section(config, "text", TextEncoder, vocabulary=config.data.vocabulary)
    generator, discriminator = DenseGenerator(shape), DenseDiscriminator()
    read = lambda params, batch: text.apply({"params": params["text"]}, batch["tokens"], batch["mask"])[1]
    judge = lambda params, x, t: discriminator.apply({"params": params["discriminator"]}, x, t)[0]
    def init(key):
        tokens, t = jnp.zeros((1, config.data.text_length), jnp.int32), jnp.zeros((1, text.width))
        inputs = {"text": (text, tokens, tokens == 0), "generator": (generator, jnp.zeros((1, config.noise)), t),
                  "discriminator": (discriminator, jnp.zeros((1, *shape)), t)}
        return {name: net.init(keys.named(key, name), *x)["params"] for name, (net, *x) in inputs.items()}, {}
    def generate(params, aux, batch, example_keys):
        z = keys.normal(keys.named(example_keys, "noise"), (config.noise,))
        return generator.apply({"params": params["generator"]}, z, read(params, batch))
    def both(turn):  # logits of the real and of the generated pictures, and these
        t, fake = read(turn.params, turn.batch), generate(turn.params, {}, turn.batch, turn.keys)
        return judge(turn.params, turn.batch["image"], t), judge(turn.params, fake, t), fake
    def generator_loss(turn):
        real, fake, images = both(turn)
        return game.generator(fake, real) + config.square * jnp.mean((images - turn.batch["image"]) ** 2), ({}, {})
    discriminator_loss = lambda turn: (game.discriminator(*both(turn)[:2]), ({}, {}))
    stages = (Stage("gan", config.images, (
        Phase("discriminator", below("discriminator"), discriminator_loss, "adam"),
        Phase("generator", below("generator", "text"), generator_loss, "adam_of_generator"))),)
    encode = lambda captions: dict(zip(("tokens", "mask"), tokenizer.encode(captions, config.data.text_length)))
    ema = {"generator": 500.0, "text": 500.0}
    return System(init, stages, optimizers_of(config, stages), ema, encode, generate, shape)
'''

CONFIG = '''"""toy_gan on a few OpenMoji pictures."""

from pathlib import Path

from ml_collections import ConfigDict

def get_config(arg=""):
    adam = {"name": "adam", "learning_rate": 2e-3, "b1": 0.5, "b2": 0.99, "eps": 1e-8, "weight_decay": 0.0, "clip": 0.0,
            "warmup_images": 0, "decay": "constant", "decay_start": 0, "decay_end": 1, "final": 1.0}
    data = {"source": "openmoji", "path": "", "resolution": 16, "channels": 3, "vocabulary": 512, "text_length": 20}
    return ConfigDict({
        "system": "toy_gan", "seed": 0, "batch_size": 32, "scan_length": 8, "fsdp": 1, "images": 12_800, "square": 20.0,
        "noise": 8, "data": data, "text": {"width": 32, "depth": 0, "heads": 2, "hidden": 32},
        "optimizers": {"adam": adam, "adam_of_generator": adam}, "run": {"checkpoint_every": 6_400},
    })
'''


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The config of a system whose file lies in a directory of `t2i_jax.systems`, as if it were installed there."""
    (tmp_path / "systems").mkdir()
    (tmp_path / "systems/toy_gan.py").write_text(SYSTEM)
    (tmp_path / "toy_gan.py").write_text(CONFIG)
    monkeypatch.setattr(systems, "__path__", [*systems.__path__, str(tmp_path / "systems")])
    yield tmp_path / "toy_gan.py"
    sys.modules.pop("t2i_jax.systems.toy_gan", None)


def test_a_system_of_forty_lines_trains_and_draws_by_the_command_line(toy, tiny_run, tmp_path, capsys):
    assert len(SYSTEM.splitlines()) <= 40
    assert "toy_gan" in systems.names()
    run = tmp_path / "run"
    train = ("train", "--config", toy, "--workdir", run, f"--config.data.path={tiny_run / 'data'}")
    assert call(*train, "--dry-run") == 0 and "discriminator" in capsys.readouterr().out
    assert call(*train) == 0
    sample = ("sample", "--workdir", run, "--prompt", "face", "--num", 3, "--no-grid")
    assert call(*sample, "--out", tmp_path / "face.png") == 0
    pictures = [np.asarray(Image.open(tmp_path / f"face-{number}.png")) for number in range(3)]
    assert pictures[0].shape == (16, 16, 3) and not np.array_equal(pictures[0], pictures[1])
    data = Prepared(tiny_run / "data")
    real = data.images(range(len(data))).astype(np.float32)
    prompts = [row["captions"][-1] for row in data.words]
    drawn = to_uint8(np.asarray(load(run).generate(prompts, key=jax.random.key(0)))).astype(np.float32)
    error = lambda other: np.square(drawn - other).mean()
    assert error(real) < 0.5 * error(np.roll(real, 1, axis=0))
