"""`t2i plan`: what a config would need and reach on a TPU slice, by compiling it for that slice, on any machine."""

import json
import os
import sys
from pathlib import Path

import click

from t2i_jax import config as configs
from t2i_jax.commands.writable import check_writable
from t2i_jax.errors import UserError


@click.command("plan", context_settings={"ignore_unknown_options": True})
@click.option("--config", "spec", required=True, help="configs/NAME.py[:argument], a Python file with get_config(arg).")
@click.option("--topology", "topologies", required=True, multiple=True, help="A TPU slice, as v5e:16x16; several with --sweep.")
@click.option("--batch", "batches", multiple=True, help="Images a step, or 16/chip; several with --sweep.  [the config's]")
@click.option("--stage", default="", help="Which stage of training.  [the last]")
@click.option("--sweep", is_flag=True, help="A table of all topologies with all batch sizes.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the figures there as well.")
@click.argument("overrides", nargs=-1, type=click.UNPROCESSED, metavar="[--config.KEY=VALUE]...")
def command(spec, topologies, batches, stage, sweep, file, overrides) -> None:
    """Compile training for a TPU slice ahead of time and say what it needs and how fast it should be.

    \b
    t2i plan --config configs/latent_gan_256.py:xl --topology v5e:16x16
    t2i plan --config configs/latent_gan_256.py:b --sweep --topology v5e:4x4 --topology v5e:16x16 --batch 8/chip --batch 16/chip

    Nothing runs: figures are compiled, modelled or assumed, and say which. Needs libtpu (pip install 't2i_jax[plan]').
    """
    if not sweep and (len(topologies) > 1 or len(batches) > 1):
        raise UserError("several topologies or batch sizes make a table: add --sweep")
    if file is not None:
        check_writable(file.parent, "--json")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # libtpu is here to compile, not to look for TPUs
    from t2i_jax import systems
    from t2i_jax.commands.dry_run import batch_shapes
    from t2i_jax.planning import report
    from t2i_jax.planning.chips import chip_of
    from t2i_jax.planning.plan import plan, with_changes
    from t2i_jax.pretrained import captions

    config = configs.load(spec, overrides)
    stage = stage or systems.build(config, captions.opened(config)).stages[-1].name
    plans = []
    for topology in topologies:
        _, chips = chip_of(topology)
        for batch in batches or (str(config.batch_size),):
            wanted = with_changes(config, {"batch_size": images(batch, chips)})
            plans.append(plan(wanted, stage, topology, batch_shapes, search=not sweep))
            if sweep:
                print(f"t2i: {report.text(plans[-1], config.scan_length)}", file=sys.stderr)
    steps = config.scan_length
    print(report.table(plans, steps) if sweep else report.text(plans[0], steps))
    if file is not None:
        file.write_text(json.dumps([report.record(each, steps) for each in plans], indent=2), encoding="utf-8")


def images(batch: str, chips: int) -> int:
    """"4096", or "16/chip" of them. UserError for anything else."""
    number, _, per = batch.partition("/")
    if not number.isdecimal() or per not in ("", "chip") or not int(number):
        raise UserError(f"--batch {batch!r} is no batch size; give images a step, for example 4096, or 16/chip")
    return int(number) * (chips if per else 1)
