"""`t2i train`: config -> data -> system -> training, in one workdir; the same command again goes on."""

import sys
from pathlib import Path

import click
from ml_collections import ConfigDict

from t2i_jax import config as configs
from t2i_jax.commands.cluster import clustered
from t2i_jax.commands.writable import check_writable
from t2i_jax.errors import UserError

SAVED = 75  # exit code: saved, may be restarted


@click.command("train", context_settings={"ignore_unknown_options": True})
@click.option("--config", "spec", required=True, help="configs/NAME.py[:argument], a Python file with get_config(arg).")
@click.option("--workdir", type=click.Path(path_type=Path), help="Everything the run writes.  [required but for --dry-run]")
@click.option("--init-from", type=click.Path(path_type=Path), help="Start from the weights of another run where they fit.")
@click.option("--dry-run", is_flag=True, help="Print the config, parameters, memory and FLOPs per image, and stop.")
@click.argument("overrides", nargs=-1, type=click.UNPROCESSED, metavar="[--config.KEY=VALUE]...")
@clustered
def command(spec, workdir, init_from, dry_run, overrides) -> int | None:
    """Train a model from a config, or go on with a run.

    \b
    t2i train --config configs/quickstart.py --workdir runs/quickstart
    t2i train --config configs/folder.py --workdir runs/mine --config.data.path=photos

    Several processes train one model when each gets this command, on files that all share, and they find each other: see
    launch/.
    """
    config = configs.load(spec, overrides)
    if dry_run:
        from t2i_jax.commands.dry_run import describe

        print(describe(config))
        return None
    if workdir is None:
        raise UserError("--workdir is missing; give a directory for checkpoints, logs and samples")
    return run(config, workdir, init_from)


def run(config: ConfigDict, workdir: Path, init_from: Path | None) -> int:
    """Train as `config` says, together with all processes that joined; the exit code."""
    import importlib.metadata
    import zlib

    import jax

    from t2i_jax import systems
    from t2i_jax.commands.evaluate import hook
    from t2i_jax.commands.progress import Progress, drawing
    from t2i_jax.distributed import together
    from t2i_jax.distributed.mesh import make_mesh
    from t2i_jax.pretrained import captions
    from t2i_jax.training import loop
    from t2i_jax.training.ahead import compiling
    from t2i_jax.training.checkpoint import Run, newest_good
    from t2i_jax.training.examples import feed, first_update, open_examples
    from t2i_jax.training.resume import reconcile, warm_start, with_rollbacks
    from t2i_jax.training.rollback import roll_back
    from t2i_jax.training.start import abstract, making

    versions = {name: importlib.metadata.version(name) for name in ("t2i_jax", "jax", "flax", "orbax-checkpoint")}
    together.agree("config", configs.flatten(configs.from_json(configs.to_json(config))))
    together.agree("versions", versions)
    previous = newest_good(workdir)
    config = with_rollbacks(previous[1], config) if previous else config
    amendments = reconcile(previous[1], config) if previous else []
    text = captions.of_run(config, previous[1].tokenizer, workdir) if previous else None
    unread = check(config, text)
    check_writable(workdir, "workdir")
    mesh, key = make_mesh(config.fsdp), jax.random.key(config.seed)
    weights = warm_start(init_from) if init_from and not previous else lambda state: state
    shapes = abstract(unread, key)
    soon = [] if previous else [lambda: making(unread, key, mesh), lambda: first_update(config, unread, shapes, mesh)]
    if unread.generate is not None:
        soon.append(lambda: drawing(unread, shapes, mesh))
    with compiling(*soon):
        data = together.first("data", lambda: open_examples(config, workdir, text))
    next_example = previous[1].about["next_example"] if previous else 0
    together.agree("data", {"fingerprint": data.fingerprint, "reader of captions": zlib.crc32(data.text.to_json().encode()),
                            "next example": next_example})
    if previous and previous[1].about["data"] != data.fingerprint:
        raise UserError(f"data: {workdir}/data is not what this run was trained on; restore it or use a new --workdir")
    read = feed(config, data, mesh)
    options = configs.section(config, "run", loop.Options)
    about = {
        "name": workdir.name,
        "data": data.fingerprint,
        "licence": data.licence,
        "versions": versions,
    }

    evaluate = None
    if options.evaluate_every:
        evaluate = hook(Path(options.evaluator), systems.build(config, data.text), data)

    def attempt() -> loop.Result:
        system = systems.build(config, data.text)
        return loop.train(
            system,
            read,
            Run(configs.to_json(config), data.text.to_json(), about | {"amendments": amendments}),
            workdir,
            mesh,
            key,
            options,
            weights,
            Progress(system, data, workdir, mesh).draw,
            evaluate,
        )

    while True:
        try:
            result = attempt()
            break
        except loop.Diverged as error:
            why = str(error)
            amended = together.first("rollback", lambda: roll_back(workdir, config, options, amendments, why))
            if amended is None:
                raise
        config, amendments = amended  # outside the handler, whose error would keep the lost state in memory
    if not result.finished:
        if together.here().first:
            print(f"t2i: saved at {result.images:,} images; run the same command again to go on",
                  file=sys.stderr)
        return SAVED
    return 0


def check(config: ConfigDict, text=None):
    """The system of `config`, before its captions are known, whose words it does not know yet.

    Refuses what cannot work before anything is written or compiled; raises UserError naming the key. text: what reads
    captions in a run that goes on; else the language model that the config names, if one, is opened.
    """
    import jax

    from t2i_jax import systems
    from t2i_jax.data.tokenizer import Tokenizer
    from t2i_jax.data.training import DataOptions
    from t2i_jax.pretrained import captions
    from t2i_jax.training import alternate, loop
    from t2i_jax.training.state import create

    for key in ("system", "seed", "batch_size", "scan_length", "fsdp", "data", "run"):
        if key not in config:
            raise UserError(f"config: key {key!r} is missing")
    devices = jax.device_count()
    configs.require(config.batch_size > 0 and config.batch_size % devices == 0, "batch_size", config.batch_size,
                    f"a multiple of the {devices} device(s)")
    configs.require(config.scan_length > 0, "scan_length", config.scan_length, "1 or more")
    options = configs.section(config, "run", loop.Options)
    configs.require(not options.evaluate_every or Path(options.evaluator).is_dir() and options.evaluator != "",
                    "run.evaluator", options.evaluator, "with run.evaluate_every, the work directory of a trained evaluator "
                    "(t2i train --config configs/evaluator.py)")
    configs.section(config, "data", DataOptions)
    system = systems.build(config, text or captions.opened(config) or Tokenizer.train(["a"], config.data.vocabulary))
    jax.eval_shape(lambda key: create(system, key), jax.random.key(0))
    for stage in system.stages:
        alternate.check(system, stage, config.batch_size, config.scan_length)
    return system
