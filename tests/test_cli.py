"""The command line as a person meets it: each mistake ends in one clear line, exit code 2, and nothing written."""

import subprocess
import sys

import pytest
from running import CONFIGS

from t2i_jax.cli import main

TINY = f"{CONFIGS / 'quickstart.py'}:tiny"
FOLDER = f"{CONFIGS / 'folder.py'}:tiny"


def run(capsys, *arguments):
    """(exit code, stdout, stderr) of a call."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return end.value.code, out, err


def train(config, workdir, *more):
    return ["train", "--config", config, "--workdir", workdir, *more]


@pytest.mark.parametrize("arguments, message", [
    (lambda tmp: train("nowhere.py", tmp / "w"), "config: no file 'nowhere.py'"),
    (lambda tmp: ["train", "--config", TINY], "--workdir is missing"),
    (lambda tmp: train(TINY, tmp / "w", "--config.batch_sise=8"), "unknown key 'batch_sise'; accepted here: batch_size"),
    (lambda tmp: train(TINY, tmp / "w", "--config.batch_size=x"), "batch_size takes int"),
    (lambda tmp: train(TINY, tmp / "w", "--config.batch_size=0"), "batch_size = 0 is impossible"),
    (lambda tmp: train(TINY, tmp / "w", "--config.scan_length=5"), "stage 'autoencoder' has 256 images; accepted: a multiple"),
    (lambda tmp: train(TINY, tmp / "w", "--config.data.resolution=30"), "data.resolution = 30 is impossible"),
    (lambda tmp: train(TINY, tmp / "w", "--config.losses.adversarial=hing"), "'hing' is unknown; use one of: minimax"),
    (lambda tmp: train(TINY, tmp / "w", "--config.text.heads=3"), "text.heads = 3 is impossible; accepted: a divisor"),
    (lambda tmp: train(TINY, tmp / "w", "--config.fsdp=3"), "fsdp = 3 is impossible"),
    (lambda tmp: train(TINY, tmp / "w", "--config.system=gan"), "system = 'gan' is unknown; accepted: contrastive, conv_codec"),
    (lambda tmp: train(TINY, tmp / "w", "--config.optimizers.generator.name=lion"), "'lion' is unknown"),
    (lambda tmp: train(TINY, tmp / "w", "--config.data.source=web"), "unknown data source 'web'"),
    (lambda tmp: train(TINY, tmp / "file" / "w"), "file"),
    (lambda tmp: train(TINY, tmp / "w", "--init-from", tmp / "no"), "does not exist"),
    (lambda tmp: train(FOLDER, tmp / "w"), "needs a path"),
    (lambda tmp: train(FOLDER, tmp / "w", f"--config.data.path={tmp / 'no'}"), "no"),
    (lambda tmp: train(FOLDER, tmp / "w", f"--config.data.path={tmp / 'empty'}"), "empty"),
    (lambda tmp: train(FOLDER, tmp / "w", f"--config.data.path={tmp / 'bare'}"), "caption"),
    (lambda tmp: ["sample", "--workdir", tmp / "no", "--prompt", "x", "--out", tmp / "o.png"], "does not exist"),
    (lambda tmp: ["sample", "--workdir", tmp / "no", "--prompt", "x", "--out", tmp / "new" / "o.png"], "does not exist"),
    (lambda tmp: ["sample", "--workdir", tmp / "empty", "--prompt", "x", "--out", tmp / "o.png"], "no checkpoint yet"),
    (lambda tmp: ["sample", "--workdir", tmp, "--prompt", " ", "--out", tmp / "o.png"], "prompt: it is empty"),
    (lambda tmp: ["sample", "--workdir", tmp, "--out", tmp / "o.png"], "prompt: none given"),
    (lambda tmp: ["sample", "--workdir", tmp, "--prompt", "x", "--num", "0", "--out", tmp / "o.png"], "'--num'"),
    (lambda tmp: ["sample", "--workdir", tmp, "--prompt", "x", "--out", tmp / "file" / "o.png"], "cannot write"),
    (lambda tmp: ["sample", "--workdir", tmp, "--prompt", "x", "--out", tmp / "o.jpg"], "is not a .png file"),
    (lambda tmp: ["sample", "--workdir", tmp, "--prompts", tmp / "no.txt", "--out", tmp / "o.png"], "cannot read"),
    (lambda tmp: ["sample", "--workdir", tmp, "--prompt", "x"], "--out is missing"),
    (lambda tmp: ["draw"], "No such command 'draw'"),
])
def test_a_mistake_ends_in_one_line_and_code_2_with_nothing_written(arguments, message, tmp_path, capsys):
    from PIL import Image

    (tmp_path / "file").write_text("in the way")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bare").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "bare" / "a.png")
    before = sorted(tmp_path.rglob("*"))
    code, out, err = run(capsys, *arguments(tmp_path))
    assert code == 2 and not out
    lines = err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("t2i: ") and message in lines[0], err
    assert sorted(tmp_path.rglob("*")) == before


def test_debug_shows_where(tmp_path, capsys):
    code, _, err = run(capsys, "sample", "--workdir", tmp_path, "--prompt", "x", "--out", tmp_path / "o.png", "--debug")
    assert code == 2 and "Traceback" in err and "no checkpoint yet" in err


def test_help_and_version(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0 and all(command in out for command in ("train", "sample", "data"))
    for command in ("train", "sample", "data"):
        code, out, _ = run(capsys, command, "--help")
        assert code == 0 and "Usage: t2i" in out
    assert run(capsys, "--version")[0] == 0


def test_python_dash_m_is_the_same():
    result = subprocess.run([sys.executable, "-m", "t2i_jax", "sample"], capture_output=True, text=True)
    assert result.returncode == 2 and result.stderr.startswith("t2i: Missing option")
