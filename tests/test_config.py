"""Configs: what may be overridden, what is refused and how clearly."""

import dataclasses

import pytest
from ml_collections import ConfigDict

from t2i_jax import config as configs
from t2i_jax.errors import UserError

SOURCE = """
from ml_collections import ConfigDict
def get_config(arg=""):
    return ConfigDict({"batch_size": 2 if arg == "tiny" else 64, "name": "x", "on": False,
                       "generator": {"width": 8, "rate": 1e-3, "levels": (1, 2)}})
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "c.py"
    path.write_text(SOURCE)
    return str(path)


def test_argument_and_overrides(file):
    overrides = ["--config.generator.width=16", "--config.generator.rate=2", "--config.on=true",
                 "--config.name=42", "--config.generator.levels=(3,)"]
    config = configs.load(f"{file}:tiny", overrides)
    assert config.batch_size == 2
    assert config.generator.to_dict() == {"width": 16, "rate": 2.0, "levels": (3,)}
    assert config.on is True and config.name == "42" and type(config.generator.rate) is float
    with pytest.raises((KeyError, AttributeError)):
        config.unknown = 1


@pytest.mark.parametrize("override, message", [
    ("--config.generator.widht=16", "unknown key 'generator.widht'; accepted here: generator.width"),
    ("--config.generator=16", "unknown key 'generator'; accepted here: generator.levels, generator.rate, generator.width"),
    ("--config.batch_size=many", "batch_size takes int, for example 64; got 'many'"),
    ("--config.batch_size=2.5", "batch_size takes int"),
    ("--config.on=1", "on takes bool"),
    ("--config.generator.rate=True", "generator.rate takes float"),
    ("--config.batch_size", "unknown argument '--config.batch_size'"),
    ("--steps=3", "unknown argument '--steps=3'; config values are set as --config.key=value"),
])
def test_wrong_overrides_name_the_key_and_what_is_accepted(file, override, message):
    with pytest.raises(UserError) as error:
        configs.load(file, [override])
    assert message in str(error.value) and "\n" not in str(error.value)


def test_wrong_files(tmp_path):
    with pytest.raises(UserError, match="no file 'nowhere.py'"):
        configs.load("nowhere.py:tiny")
    (tmp_path / "a.py").write_text("x = 1")
    with pytest.raises(UserError, match="defines no function get_config"):
        configs.load(str(tmp_path / "a.py"))
    (tmp_path / "b.py").write_text("def get_config(:")
    with pytest.raises(UserError, match="does not run"):
        configs.load(str(tmp_path / "b.py"))


def test_json_round_trip_and_differences(file):
    config = configs.load(file)
    again = configs.from_json(configs.to_json(config))
    assert configs.differences(config, again) == {} and again.generator.levels == (1, 2)
    other = configs.load(file, ["--config.generator.width=9"])
    assert configs.differences(config, other) == {"generator.width": (8, 9)}


def test_sections_refuse_what_they_do_not_know():
    @dataclasses.dataclass
    class Generator:
        width: int
        rate: float = 0.0
        side: int = 0

    config = ConfigDict({"generator": {"width": 8}})
    assert configs.section(config, "generator", Generator, side=3) == Generator(8, 0.0, 3)
    config.generator.wdith = 1
    with pytest.raises(UserError, match="unknown key generator.wdith; accepted here: width, rate"):
        configs.section(config, "generator", Generator, side=3)
    with pytest.raises(UserError, match="generator.width is missing"):
        configs.section(ConfigDict({"generator": {}}), "generator", Generator)
    with pytest.raises(UserError, match="section 'critic' is missing"):
        configs.section(config, "critic", Generator)
