"""The benchmark of encoding compares like with like."""

import re

import pytest
from click.testing import CliRunner
from pretrained.tiny_models import write_tiny
from references import REFERENCE

pytest.importorskip("torch", reason=REFERENCE)
pytest.importorskip("transformers", reason=REFERENCE)
from encode_captions import captions_of_openmoji, main  # noqa: E402


def test_both_sides_give_the_same_sentences(tmp_path):
    source = write_tiny(tmp_path / "bert", "bert")
    found = CliRunner().invoke(main, ["--source", str(source), "--count", "40", "--batch", "16", "--repeats", "1"])
    assert found.exit_code == 0, found.output
    assert float(re.search(r"largest difference (\S+)", found.output)[1]) < 1e-4
    assert re.search(r"\| Flax \|.*\n\| PyTorch \|.*\nFlax runs at \d+% of", found.output)


def test_captions_differ_and_are_as_many_as_asked_for():
    captions = captions_of_openmoji(10_000)
    assert len(set(captions)) == len(captions) == 10_000 == len(set(captions) | set(captions_of_openmoji(10_000)))
