import json

import pytest
from click.testing import CliRunner
from PIL import Image

from t2i_jax.commands.data import command
from t2i_jax.data.prepared import Prepared
from t2i_jax.errors import UserError


def run(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    for name, colour in (("red_square", "red"), ("sky", "skyblue")):
        (folder / name).mkdir(parents=True)
        Image.new("RGB", (20, 20), colour).save(folder / name / "1.png")
    return folder


def test_prepare_and_inspect_a_folder(pictures, tmp_path):
    (pictures / "sky/broken.png").write_bytes(b"x")
    result = run("prepare", pictures, "--out", tmp_path / "out", "--resolution", 16, "--channels", 1,
                 "--template", "a {}", "--heldout-fraction", 0)
    assert result.exit_code == 0, result.output
    assert "2 train; 1 dropped" in result.output
    data = Prepared(tmp_path / "out")
    assert (data.resolution, data.channels) == (16, 1) and data.captions() == ["a red square", "a sky"]
    result = run("inspect", tmp_path / "out")
    assert result.exit_code == 0 and data.fingerprint in result.output and "2 pictures, 2 captions" in result.output
    assert "languages    not known" in result.output


def test_prepare_and_inspect_the_digits(tmp_path):
    result = run("prepare", "digits", "--out", tmp_path / "out", "--resolution", 8, "--channels", 1)
    assert result.exit_code == 0 and "1455 train, 158 heldout, 184 heldout_compositions" in result.output
    assert Prepared(tmp_path / "out").captions()[0] in ("zero", "one", "two")
    result = run("inspect", tmp_path / "out")
    assert "digits, 8x8, 1 channels" in result.output and "languages    en" in result.output


def test_inspect_notices_other_contents(pictures, tmp_path):
    run("prepare", pictures, "--out", tmp_path / "out", "--heldout-fraction", 0)
    info = tmp_path / "out/info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"fingerprint": "0"}))
    assert isinstance(run("inspect", tmp_path / "out").exception, UserError)


@pytest.mark.parametrize("make", [lambda root: None, lambda root: root.mkdir(),
                                  lambda root: (root.mkdir(), Image.new("L", (9, 9)).save(root / "a.png"))])
def test_unusable_folders_write_nothing(tmp_path, make):
    make(tmp_path / "data")
    before = sorted(tmp_path.rglob("*"))
    result = run("prepare", tmp_path / "data", "--out", tmp_path / "new/out")
    assert isinstance(result.exception, UserError) and "\n" not in str(result.exception)
    assert sorted(tmp_path.rglob("*")) == before
