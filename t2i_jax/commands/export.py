"""`t2i export`: a run as one program that draws."""

from pathlib import Path

import click

from t2i_jax.commands.writable import check_writable
from t2i_jax.errors import UserError


@click.command("export")
@click.option("--workdir", required=True, type=click.Path(path_type=Path), help="A run, or one of its checkpoints.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="New folder to write.")
@click.option("--weights", default="ema", show_default=True, type=click.Choice(["ema", "raw"]), help="Averaged or raw.")
@click.option("--platforms", default="cpu,cuda,tpu", show_default=True, help="Where it shall run.")
def command(workdir, out, weights, platforms) -> None:
    """Write a model as one program that draws without the code that trained it.

    The folder holds StableHLO, arrays and JSON; t2i sample and t2i_jax.load take it in the place of a run.

    \b
    t2i export --workdir runs/quickstart --out exported
    t2i sample --workdir exported --prompt "a red heart" --out heart.png
    """
    from t2i_jax import config as configs
    from t2i_jax.data.tokenizer import Tokenizer
    from t2i_jax.inference.export import export
    from t2i_jax.inference.pipeline import load
    from t2i_jax.pretrained import captions
    from t2i_jax.training.checkpoint import newest_good

    check_writable(out.parent, "--out")
    model = load(workdir, weights)
    found = newest_good(workdir)
    if found is None:
        raise UserError(f"--workdir: {workdir} is exported already; give the run that it came from")
    run = found[1]
    config = configs.from_json(run.config)
    if captions.kind_of(config) != captions.OWN:
        raise UserError(f"--workdir: {workdir} reads captions with a language model, which is not exported with it")
    export(model, weights, Tokenizer.from_json(run.tokenizer), config.data.text_length, out, platforms.split(","))
    print(out)
