"""`t2i plan` from the command line."""

import json

import pytest
from running import CONFIGS, call

SPEC = f"{CONFIGS / 'latent_gan_256.py'}:tiny"
SMALL = ("--config.data.resolution=16", "--config.scan_length=2", "--config.losses.matching=0.0", "--config.text.depth=0")


def test_a_small_slice_is_planned_with_every_figure_labelled(tmp_path, capsys):
    pytest.importorskip("libtpu", reason="t2i plan needs the TPU compiler: pip install 't2i_jax[plan]'")
    file = tmp_path / "plan.json"
    assert call("plan", "--config", SPEC, "--topology", "v5e:2x2", "--batch", "4/chip", "--json", file, *SMALL) == 0
    said = capsys.readouterr().out
    for label in ("(compiled)", "(modelled)", "assumed:", "all-reduce", "model FLOPs utilisation"):
        assert label in said, said
    (plan,) = json.loads(file.read_text())
    assert plan["chips"] == 4 and plan["batch_size"] == 16 and plan["fits"] and plan["stage"] == "gan"
    assert 0 < plan["compiled"]["peak_bytes"] < plan["assumed"]["memory"]
    assert plan["compiled"]["flops"] * 4 > 0 and plan["modelled"]["step"] > 0 and 0 < plan["modelled"]["utilisation"] < 1
    assert plan["compiled"]["collectives"]["all-reduce"]["bytes"] > 0


@pytest.mark.parametrize("arguments, message", [
    (("--topology", "v5e:2x2", "--topology", "v5e:4x4"), "add --sweep"),
    (("--topology", "gpu:8"), "topology 'gpu:8' is unknown"),
    (("--topology", "v5e:2x2", "--batch", "6"), "batch size 6 does not divide over 4 chips"),
    (("--topology", "v5e:2x2", "--batch", "few"), "--batch 'few'"),
])
def test_mistakes_end_in_one_line(arguments, message, capsys):
    assert call("plan", "--config", SPEC, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_without_the_compiler_it_says_what_to_install(monkeypatch, capsys):
    from t2i_jax.planning import compiling

    def missing(*arguments, **options):
        raise RuntimeError("no such plugin")

    monkeypatch.setattr(compiling.topologies, "get_topology_desc", missing)
    monkeypatch.setattr(compiling, "_has_libtpu", lambda: False)
    assert call("plan", "--config", SPEC, "--topology", "v5e:2x2") == 2
    assert "pip install 't2i_jax[plan]'" in capsys.readouterr().err
