"""`t2i bench`: how fast a config trains and draws on the machine at hand, and what holds it up."""

import json
import sys
from pathlib import Path

import click

from t2i_jax import config as configs
from t2i_jax.commands.writable import check_writable
from t2i_jax.errors import UserError


@click.command("bench", context_settings={"ignore_unknown_options": True})
@click.option("--config", "spec", required=True, help="configs/NAME.py[:argument], a Python file with get_config(arg).")
@click.option("--stage", "stages", multiple=True, help="A stage of training; may be given several times.  [all]")
@click.option("--repeats", default=5, show_default=True, type=click.IntRange(min=1), help="Of everything that is measured.")
@click.option("--workdir", type=click.Path(path_type=Path), help="A run of the config, which is read and not changed, or where "
              "its prepared data are or shall stay.  [a temporary directory]")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the figures there as well, every repeat.")
@click.argument("overrides", nargs=-1, type=click.UNPROCESSED, metavar="[--config.KEY=VALUE]...")
def command(spec, stages, repeats, workdir, file, overrides) -> None:
    """Measure training and drawing of a config on this machine's devices.

    \b
    t2i bench --config configs/quickstart.py
    t2i bench --config configs/dcgan.py:small --stage gan --repeats 7 --json bench.json
    t2i bench --config configs/quickstart.py --workdir runs/quickstart

    Compilation, each stage's chunk and phases, idle devices, the data pipeline, checkpoints, drawing from a cold start and
    warm, memory, and how close it all comes to what the machine can compute. Nothing needs to be trained. Minutes; run it
    while nothing else does.
    """
    config = configs.load(spec, overrides)
    if file is not None:
        if file.is_dir():
            raise UserError(f"--json: {file} is a directory; give a file to write")
        check_writable(file.parent, "--json")
    if workdir is not None:
        check_writable(workdir, "--workdir")
    from t2i_jax.commands.measurements import measure
    from t2i_jax.measuring import table

    say = lambda line: print(f"t2i: {line}", file=sys.stderr)
    about, parts = measure(config, stages, repeats, workdir, say)
    print(table.text(parts))
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        record = {"config": spec, "overrides": list(overrides), **about, "figures": table.record(parts)}
        file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
