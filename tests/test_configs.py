"""The configs that come with the program: what they hold fits together, and systems can be compared."""

import pytest
from running import CONFIGS

from t2i_jax import config as configs
from t2i_jax.commands import train
from t2i_jax.data.training import PICTURES

SYSTEMS = sorted(file.stem for file in CONFIGS.glob("*.py") if file.stem not in ("evaluator", "folder", "quickstart"))


@pytest.mark.parametrize("argument", ["", ":tiny", ":small", ":bilingual"])
def test_the_flagship_fits_together(argument):
    config = configs.load(f"{CONFIGS / 'latent_gan.py'}{argument}")
    train.check(config)
    assert config.data.languages == (("en", "zh") if argument == ":bilingual" else ("en",))
    if argument == ":small":
        assert configs.differences(config, configs.load(str(CONFIGS / "quickstart.py"))) == {}
    if argument == "":
        assert config.data.resolution == 64


@pytest.mark.parametrize("preset", ["tiny", "small"])
def test_all_systems_see_the_same_pictures(preset):
    flagship = configs.load(f"{CONFIGS / 'latent_gan.py'}:{preset}")
    for name in SYSTEMS:
        other = configs.load(f"{CONFIGS / name}.py:{preset}")
        assert {key: other.data[key] for key in PICTURES} == {key: flagship.data[key] for key in PICTURES}, name
