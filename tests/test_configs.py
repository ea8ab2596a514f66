"""The configs that come with the program: what they hold fits together, and systems can be compared."""

import jax
import pytest
from running import CONFIGS

from t2i_jax import config as configs
from t2i_jax import systems
from t2i_jax.commands import train
from t2i_jax.data.training import PICTURES

SYSTEMS = sorted(file.stem for file in CONFIGS.glob("*.py") if file.stem not in ("evaluator", "folder", "latent_gan_256", "quickstart"))


@pytest.mark.parametrize("argument", ["", ":tiny", ":small", ":bilingual"])
def test_the_flagship_fits_together(argument):
    config = configs.load(f"{CONFIGS / 'latent_gan.py'}{argument}")
    train.check(config)
    assert config.data.languages == (("en", "zh") if argument == ":bilingual" else ("en",))
    if argument == ":small":
        assert configs.differences(config, configs.load(f"{CONFIGS / 'quickstart.py'}:32")) == {}
    if argument == "":
        assert config.data.resolution == 64


def test_the_quickstart_fits_together():
    config = configs.load(str(CONFIGS / "quickstart.py"))
    train.check(config)
    assert config.data.resolution == 64
    for name in ("autoencoder", "refinement"):
        assert config.optimizers[name].decay_end == config.stages.autoencoder
    assert config.generator.last_hidden > config.autoencoder.latent  # else latents lie in a subspace


def test_the_smaller_quickstart_fits_together():
    config = configs.load(f"{CONFIGS / 'quickstart.py'}:32")
    train.check(config)
    assert config.data.resolution == 32 and config.generator.width > config.autoencoder.latent
    assert config.optimizers.autoencoder.decay_end == config.stages.autoencoder


@pytest.mark.parametrize("preset", ["tiny", "small"])
def test_all_systems_see_the_same_pictures(preset):
    flagship = configs.load(f"{CONFIGS / 'latent_gan.py'}:{preset}")
    for name in SYSTEMS:
        other = configs.load(f"{CONFIGS / name}.py:{preset}")
        assert {key: other.data[key] for key in PICTURES} == {key: flagship.data[key] for key in PICTURES}, name


@pytest.mark.parametrize("size, millions", [("b", 100), ("l", 300), ("xl", 600)])
def test_pod_sizes_have_their_parameters_and_fit_their_batches(size, millions):
    config = configs.load(f"{CONFIGS / 'latent_gan_256.py'}:{size}")
    train.check(config)
    assert config.batch_size >= 512 and config.dtype == "bfloat16" and config.fsdp > 1
    system = systems.build(config, None)
    params = jax.eval_shape(system.init, jax.random.key(0))[0]
    for player in ("generator", "discriminator"):
        assert config[player].remat
        count = sum(x.size for x in jax.tree.leaves(params[player]))
        assert millions <= count / 1e6 < 1.3 * millions, (player, count)
