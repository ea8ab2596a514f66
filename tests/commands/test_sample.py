"""`t2i sample`: files, grids, and what is written into them."""

import numpy as np
import pytest
from PIL import Image

from t2i_jax import __version__, load
from t2i_jax.cli import main


def sample(*arguments):
    with pytest.raises(SystemExit) as end:
        main(["sample", *(str(argument) for argument in arguments)])
    assert end.value.code == 0


def test_one_picture_with_its_origin_inside(tiny_run, tmp_path):
    out = tmp_path / "new" / "heart.png"
    sample("--workdir", tiny_run, "--prompt", "a red heart ❤", "--seed", 7, "--out", out)
    picture = Image.open(out)
    assert picture.size == (16, 16)
    assert picture.text["prompt"] == "a red heart ❤" and picture.text["seed"] == "7"
    assert picture.text["model"] == "tiny@768" and picture.text["software"] == f"t2i_jax {__version__}"
    assert np.array_equal(np.asarray(picture), np.asarray(load(tiny_run)("a red heart ❤", seed=7)[0]))
    again = tmp_path / "again.png"
    sample("--workdir", tiny_run, "--prompt", "a red heart ❤", "--seed", 7, "--out", again)
    assert again.read_bytes() == out.read_bytes()


def test_several_pictures_make_a_grid_or_files(tiny_run, tmp_path, capsys):
    sample("--workdir", tiny_run, "--prompt", "flag", "--num", 4, "--out", tmp_path / "grid.png")
    assert min(Image.open(tmp_path / "grid.png").size) > 2 * 128
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("flag\n\nface\n", encoding="utf-8")
    sample("--workdir", tiny_run, "--prompts", prompts, "--num", 2, "--no-grid", "--out", tmp_path / "p.png")
    files = [tmp_path / f"p-{number}.png" for number in range(4)]
    assert [Image.open(file).text["prompt"] for file in files] == ["flag", "flag", "face", "face"]
    assert [Image.open(file).text["index"] for file in files] == ["0", "1", "0", "1"]
    assert np.array_equal(np.asarray(Image.open(files[1])), np.asarray(load(tiny_run)("flag", num_images=2)[1]))


@pytest.mark.parametrize("arguments, says", [
    (["--animate", "steps.gif"], "no steps to show"),
    (["--animate", "steps.png"], "not a .gif file"),
    (["--out", "flag.gif"], "not a .png file"),
    ([], "--out is missing"),
])
def test_what_cannot_be_written_is_refused(tiny_run, tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["sample", "--workdir", str(tiny_run), "--prompt", "flag", *arguments])
    assert end.value.code == 2 and says in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
