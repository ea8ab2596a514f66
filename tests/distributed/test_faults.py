"""What goes wrong with two processes: each fault is survived or refused in one line, and nothing saved is lost."""

import importlib.util
import shutil
from pathlib import Path

import processes
import pytest
from running import CONFIGS, call
from test_recovery import arrays, same_bits

from t2i_jax.training import checkpoint


def refused(ended, *said, code=2):
    """Every process ended with `code` and one line that holds all of `said`."""
    assert [one.code for one in ended] == [code] * len(ended), ended
    for one in ended:
        assert len(one.lines) == 1 and all(text in one.lines[0] for text in said), one.said


def goes_on(workdir, whole, **more):
    ended = processes.toy(workdir, **more)
    assert [one.code for one in ended] == [0, 0], ended
    same_bits(workdir, whole)
    return ended


@pytest.mark.parametrize("fault, said", [
    ("full 0 448", ""),
    ("full 1 448", "checkpoint: saving to"),
    ("block 1 448", "checkpoint: cannot write"),
    ("vanish 0 448", "checkpoint: saving to"),
    ("truncate 1 448", "data/train.array_record is damaged: prepare the data again"),
])
def test_a_fault_of_one_ends_both_and_the_last_checkpoint_is_whole(fault, said, whole, tmp_path):
    refused(processes.toy(tmp_path, action=fault), said)
    assert arrays(tmp_path)[1]["images"] == 384
    if fault.startswith("vanish"):  # one stands for all: they leave the same behind
        goes_on(tmp_path, whole)


def test_a_half_written_and_a_damaged_checkpoint_are_passed_over(whole, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(whole, workdir)
    damaged, half = checkpoint.committed(workdir / "checkpoints")[-2:]
    (half / "COMMITTED").unlink()
    victim = max((file for file in (damaged / "state").rglob("*") if file.is_file()), key=lambda file: file.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    ended = goes_on(workdir, whole)
    assert f"{victim.name} is damaged" in ended[0].said and "trying the one before it" in ended[0].said


def test_clocks_an_hour_apart_change_nothing(whole, tmp_path):
    package = importlib.util.find_spec("libfaketime")
    if package is None:
        pytest.skip("libfaketime is missing: pip install libfaketime")
    library = next(Path(package.origin).parent.rglob("libfaketime.so.1"))
    fast = {"LD_PRELOAD": str(library), "FAKETIME": "+1h", "DONT_FAKE_MONOTONIC": "1"}
    goes_on(tmp_path, whole, last=fast)


def test_a_process_with_another_config_is_named(tmp_path):
    port = processes.free_port()
    train = lambda index, seed: processes.t2i(index, 2, port, "train", "--config", f"{CONFIGS / 'quickstart.py'}:tiny",
                                              "--workdir", tmp_path / "run", f"--config.seed={seed}")
    refused(processes.end([processes.begin(train(index, index)) for index in (0, 1)]),
            "config: process 1 of 2 has seed = 1, process 0 has 0")
    assert not (tmp_path / "run").exists()


def test_a_process_with_other_data_is_named(tmp_path):
    from PIL import Image

    for name, colour in (("one", 10), ("other", 200)):
        (tmp_path / name / "pictures").mkdir(parents=True)
        for number in range(24):
            Image.new("L", (20, 20), colour + number).save(tmp_path / name / "pictures" / f"{number}.png")
            (tmp_path / name / "pictures" / f"{number}.txt").write_text(f"grey number {number}\n")
        assert call("data", "prepare", tmp_path / name / "pictures", "--out", tmp_path / name / "prepared",
                    "--resolution", 16) == 0
    port = processes.free_port()
    train = lambda index: processes.t2i(index, 2, port, "train", "--config", f"{CONFIGS / 'folder.py'}:tiny",
                                        "--workdir", tmp_path / "run", "--config.data.path=prepared")
    refused(processes.end([processes.begin(train(index), cwd=tmp_path / name) for index, name in enumerate(("one", "other"))]),
            "data: process 1 of 2 has fingerprint = ")
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize("index, said", [(0, "process 1 of 2 did not come to 127.0.0.1:"),
                                         (1, "process 1 of 2 found no process 0 at 127.0.0.1:")])
def test_a_process_that_stays_alone_says_who_is_missing(index, said, tmp_path):
    arguments = ("train", "--config", f"{CONFIGS / 'quickstart.py'}:tiny", "--workdir", tmp_path / "run")
    alone = processes.t2i(index, 2, processes.free_port(), *arguments, wait=2)
    refused(processes.end([processes.begin(alone)]), said, "within 2 s", code=75)
