"""All that `t2i bench` measures, one after another."""

import concurrent.futures
import contextlib
import importlib.metadata
import multiprocessing
import os
import platform
import resource
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from t2i_jax import config as configs
from t2i_jax.commands import train
from t2i_jax.measuring.figure import Figure, Figures

PROMPTS = 128  # different ones, of the training captions


def measure(config: ConfigDict, stages: Sequence[str], repeats: int, workdir: Path | None,
            say: Callable[[str], None]) -> tuple[dict, dict[str, Figures]]:
    """(what was measured where, {part: figures}); everything that is written but data goes into a temporary directory.

    Raises UserError where the config, a stage or what is in `workdir` does not fit.
    """
    with tempfile.TemporaryDirectory(prefix="t2i-bench-") as temporary, contextlib.redirect_stdout(sys.stderr):
        scratch = Path(temporary)
        say("preparing data and a run to draw with")
        # A process of its own, and those that draw: one that holds an accelerator lets no other have it.
        with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
            home, run = other.submit(prepare, configs.to_json(config), stages, workdir, scratch).result()
        cold_start = {}
        if run is not None:
            from t2i_jax.measuring.cold_start import measure_cold_start

            say("first picture from a cold start")
            cold_start = measure_cold_start(run, scratch, repeats)
        return _measure(config, stages, repeats, workdir, home, run, cold_start, scratch, say)


def prepare(config_json: str, stages: Sequence[str], workdir: Path | None, scratch: Path) -> tuple[Path, Path | None]:
    """(where data are prepared, a run that draws: that in `workdir`, or one in `scratch` that was just begun).

    Prepares data unless there are some; None for a system that draws nothing. Raises UserError as `measure`.
    """
    import jax

    from t2i_jax import systems
    from t2i_jax.distributed.mesh import make_mesh
    from t2i_jax.planning.compiling import stage_of
    from t2i_jax.pretrained import captions
    from t2i_jax.training.checkpoint import Checkpoints
    from t2i_jax.training.examples import open_examples
    from t2i_jax.training.resume import reconcile
    from t2i_jax.training.start import fresh

    config = configs.from_json(config_json)
    found = _found(workdir)
    if found:
        reconcile(found[1], config)
    text = _reader(config, found)
    train.check(config, text)
    for name in stages:
        stage_of(systems.build(config, text or captions.opened(config)), name)
    # Data are added to no run, only to an empty place.
    whole = workdir is not None and ((workdir / "data").is_dir() or not workdir.is_dir() or not any(workdir.iterdir()))
    home = workdir.absolute() if whole else scratch / "run"
    data = open_examples(config, home, text)
    system = systems.build(config, data.text)
    if system.generate is None:
        return home, None
    if found:
        return home, workdir.absolute()
    run = scratch / "run"
    if isinstance(data.text, captions.LanguageText):
        captions.keep(data.text, run)
    state = fresh(system, jax.random.key(config.seed), make_mesh(config.fsdp))
    checkpoints = Checkpoints(run)
    checkpoints.save(state, 0, _run(config, data))
    checkpoints.wait()
    return home, run


def _measure(config: ConfigDict, stages: Sequence[str], repeats: int, workdir: Path | None, home: Path, run: Path | None,
             cold_start: Figures, scratch: Path, say: Callable[[str], None]) -> tuple[dict, dict[str, Figures]]:
    import jax
    import jax.numpy as jnp

    from t2i_jax import systems
    from t2i_jax.distributed import hosts
    from t2i_jax.distributed.mesh import make_mesh
    from t2i_jax.inference.pipeline import load
    from t2i_jax.measuring import checkpointing, idle, pipeline, probe, training
    from t2i_jax.measuring.drawing import measure_drawing
    from t2i_jax.training.examples import feed, open_examples
    from t2i_jax.training.start import entered, fresh

    mesh = make_mesh(config.fsdp)
    data = open_examples(config, home, _reader(config, _found(workdir)))
    system = systems.build(config, data.text)
    read = feed(config, data, mesh)
    chosen = stages or [stage.name for stage in system.stages]
    about, cache = _run(config, data), scratch / "chunks"

    say("matrix products")
    parts = {"machine": probe.achievable(systems.precision(config) or jnp.float32, repeats)}
    state = fresh(system, jax.random.key(config.seed), mesh)
    stack = hosts.join_batch(next(read.batches(0)), hosts.rows(mesh, config.batch_size), config.batch_size, mesh)
    for stage in system.stages:
        if stage.enter is not None:
            state = entered(stage, state, data.sample(), mesh)
        if stage.name in chosen:
            say(f"stage {stage.name}")
            parts[f"stage {stage.name}"], state = training.measure_stage(
                system, stage, state, stack, mesh, repeats, cache, parts["machine"]["flops"])
    say("checkpoints")
    parts["checkpoint"] = checkpointing.measure_saving(state, about, scratch / "saved", repeats)
    del state
    say("data pipeline")
    parts["data"] = pipeline.measure_pipeline(read.batches(0), config.batch_size * config.scan_length, repeats)
    say("the training loop")
    for name, figures in idle.run_loop(system, read, about, scratch / "loop", mesh, repeats, chosen, cache,
                                       parts["checkpoint"]["on_disk"].median).items():
        parts[f"stage {name}"] |= figures
    of = lambda figure: {name: parts[f"stage {name}"][figure] for name in chosen}
    parts["data"] |= pipeline.against(parts["data"]["images_per_second"], of("images_per_second"))
    parts["checkpoint"] |= checkpointing.against(parts["checkpoint"]["blocks"], of("chunk"))
    if run is not None:
        say("drawing")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that training is not finished
            model = load(run)
        prompts = [caption for caption, _ in data.shown("train", PROMPTS)]
        parts["drawing"] = cold_start | measure_drawing(model, prompts, repeats)
    parts["machine"] |= _memory()
    return _where(config), parts


def _found(workdir: Path | None):
    """The newest checkpoint of the run in `workdir`, verified, None where there is none."""
    from t2i_jax.training.checkpoint import newest_good

    return newest_good(workdir) if workdir is not None and workdir.is_dir() else None


def _reader(config: ConfigDict, found):
    """What reads captions in a run whose checkpoint was found, None where the config says it."""
    from t2i_jax.pretrained import captions

    return captions.of_run(config, found[1].tokenizer, found[0].parents[1]) if found else None


def _run(config: ConfigDict, data):
    """What the checkpoints say that are written and drawn from here."""
    from t2i_jax.training.checkpoint import Run

    about = {"name": "bench", "data": data.fingerprint, "licence": data.licence, "images": 0, "next_example": 0, "stage": "",
             "stage_number": -1, "finished": False}
    return Run(configs.to_json(config), data.text.to_json(), about)


def _memory() -> Figures:
    """Peaks of this process, and of its devices where they tell."""
    import jax

    unit = 1 if sys.platform == "darwin" else 1024  # bytes, on Linux KiB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    figures = {"host_memory": Figure("peak memory of this process", "MiB", [peak / 2**20])}
    told = [(device.memory_stats() or {}).get("peak_bytes_in_use") for device in jax.local_devices()]
    if None not in told:
        figures["device_memory"] = Figure("peak memory of the fullest device", "MiB", [max(told) / 2**20])
    return figures


def _where(config: ConfigDict) -> dict:
    """What the figures are of."""
    import jax

    packages = ("t2i_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
    return {
        "settings": configs.flatten(config),
        "versions": {name: importlib.metadata.version(name) for name in packages} | {"python": platform.python_version()},
        "device": {"platform": jax.default_backend(), "kind": jax.devices()[0].device_kind, "count": jax.device_count()},
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.platform(),
    }
