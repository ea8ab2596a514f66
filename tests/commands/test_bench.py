"""`t2i bench` from the command line: every figure that it promises, and what it leaves alone."""

import hashlib
import json

import pytest
from running import CONFIGS, call

QUICKSTART = f"{CONFIGS / 'quickstart.py'}:tiny"


def bench(*arguments):
    return call("bench", "--repeats", 1, *arguments)


def digests(directory):
    """Of every file below, and every directory's name."""
    return {path.relative_to(directory): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
            for path in directory.rglob("*")}


@pytest.fixture(scope="module")
def measured(tiny_run, tmp_path_factory):
    """(what was written as JSON, what was printed, the run's files before and after)."""
    import contextlib
    import io

    before, file, printed = digests(tiny_run), tmp_path_factory.mktemp("bench") / "new" / "bench.json", io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert bench("--config", QUICKSTART, "--workdir", tiny_run, "--stage", "gan", "--json", file) == 0
    return json.loads(file.read_text()), printed.getvalue(), before, digests(tiny_run)


PROMISED = {
    "machine": {"flops", "host_memory"},
    "stage gan": {"compile", "compile_kept", "images_per_second", "chunk", "step", "phases/discriminator", "phases/generator",
                  "phases_sum", "flops_per_image", "flops", "flops_share", "device_memory", "idle", "idle_share", "loop_chunk",
                  "idle_saving", "saving_costs"},
    "data": {"images_per_second", "times/gan"},
    "checkpoint": {"blocks", "on_disk", "bytes", "chunks/gan"},
    "drawing": {"cold", "warm", "one", "alone", *(f"batch/{2**power}" for power in range(8))},
}
MAY_BE_NOTHING = {"idle", "idle_share", "idle_saving", "saving_costs"}


def test_every_figure_is_there_and_positive(measured):
    found, printed, *_ = measured
    figures = found["figures"]
    assert {part: set(names) for part, names in figures.items()} == PROMISED
    for part, names in figures.items():
        for name, figure in names.items():
            least = 0 if name in MAY_BE_NOTHING else 1e-9
            assert min(figure["repeats"]) >= least and figure["least"] <= figure["median"] <= figure["most"], (part, name)
            assert figure["what"] in printed and figure["unit"]
    assert found["settings"]["batch_size"] == 16 and found["config"] == QUICKSTART
    assert found["device"]["platform"] == "cpu" and found["cores"] >= 1 and found["versions"]["jax"]


def test_figures_agree_with_each_other(measured):
    figures = {part: {name: figure["median"] for name, figure in names.items()} for part, names in measured[0]["figures"].items()}
    gan, images = figures["stage gan"], 16 * 4
    close = lambda a, b: a == pytest.approx(b, rel=1e-6)
    assert close(gan["images_per_second"], images / gan["chunk"]) and close(gan["step"], 1000 * gan["chunk"] / 4)
    phases = gan["phases/discriminator"] + gan["phases/generator"]
    assert close(gan["phases_sum"], 100 * phases / gan["step"])
    assert close(gan["flops"], gan["flops_per_image"] * images / 1000 / gan["chunk"])
    assert close(gan["flops_share"], 100 * gan["flops"] / figures["machine"]["flops"])
    assert close(figures["data"]["times/gan"], figures["data"]["images_per_second"] / gan["images_per_second"])
    assert close(figures["checkpoint"]["chunks/gan"], figures["checkpoint"]["blocks"] / gan["chunk"])
    assert figures["checkpoint"]["on_disk"] >= figures["checkpoint"]["blocks"]
    best = [name for name, figure in measured[0]["figures"]["drawing"].items() if "the best" in figure["what"]]
    assert best == [max((name for name in figures["drawing"] if name.startswith("batch/")), key=figures["drawing"].get)]


def test_the_run_is_read_and_not_changed(measured):
    _, _, before, after = measured
    assert before == after


@pytest.mark.parametrize("arguments, message", [
    (("--repeats", "0"), "--repeats"),
    (("--stage", "painting"), "stage 'painting' is unknown; accepted: autoencoder, imitation, gan"),
    (("--json", "{directory}"), "is a directory; give a file"),
    (("--json", "{directory}/file/bench.json"), "--json: cannot write"),
    (("--config.data.source=folder", "--config.data.path=/nowhere"), "/nowhere"),
    (("--workdir", "{run}", "--config.batch_size=32"), "batch_size"),
])
def test_mistakes_end_in_one_line(arguments, message, tiny_run, tmp_path, capfd):
    (tmp_path / "file").write_text("")
    arguments = [argument.format(directory=tmp_path, run=tiny_run) for argument in arguments]
    assert call("bench", "--config", QUICKSTART, *arguments) == 2
    error = capfd.readouterr().err
    assert message in error and "Traceback" not in error
