"""`t2i evaluate`: how good a model's pictures are, as a card for machines, a page for people and lines to read."""

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from t2i_jax.commands.cluster import clustered
from t2i_jax.commands.writable import check_writable
from t2i_jax.errors import UserError

EVALUATOR = "configs/evaluator.py"


@click.command("evaluate")
@click.option("--workdir", type=click.Path(path_type=Path), help="A run, or one of its checkpoints.  [required but for "
              "--compare]")
@click.option("--split", "splits", multiple=True, help="A split to judge; may be given several times.  [default: all]")
@click.option("--num", default=4096, show_default=True, type=click.IntRange(min=1), help="Most pictures of a group.")
@click.option("--weights", default="ema", show_default=True, type=click.Choice(["ema", "raw"]), help="Averaged or raw.")
@click.option("--evaluator", default=EVALUATOR, show_default=True, help="A trained evaluator's work directory, or a "
              "config that one is trained from into WORKDIR/evaluator, unless it is there.")
@click.option("--tower", "towers", multiple=True, metavar="NAME=FILE[@SHA256]", help="A published feature network "
              "beside the evaluator: inception, clip or dinov2, and its weights as a file or hub id.")
@click.option("--attributes", type=click.Path(path_type=Path), help='JSON {"attribute": {"value": ["phrase", ...]}} to '
              "read off pictures, where the data have none of their own.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Same seed, same card.")
@click.option("--language", default="", help="Judge by the most detailed caption in this language, such as zh.  "
              "[default: by the last caption, whatever its language]")
@click.option("--out", type=click.Path(path_type=Path), help="Directory of card.json and card.html.  [default: "
              "WORKDIR/evaluation, with --language zh WORKDIR/evaluation-zh]")
@click.option("--compare", nargs=2, type=click.Path(path_type=Path), metavar="A B", help="Set two cards, or those of "
              "two runs, side by side instead.")
@clustered
def command(workdir, splits, num, weights, evaluator, towers, attributes, seed, language, out, compare) -> int | None:
    """Judge a model's pictures, beside real ones and baselines.

    \b
    t2i evaluate --workdir runs/quickstart
    t2i evaluate --compare runs/one runs/other
    """
    if compare:
        from t2i_jax.evaluation import compare as comparison

        if workdir is not None:
            raise UserError("--compare takes two cards and no --workdir; evaluate first, then compare")
        print("\n".join(comparison.compare(*map(comparison.read, compare))))
        return None
    if workdir is None:
        raise UserError("--workdir is missing; give the directory of a trained run, or --compare A B")
    out = out or root(workdir) / ("evaluation" + f"-{language}" * bool(language))
    return judge(workdir, splits, num, weights, evaluator, towers, attributes, seed, out, language)


def judge(workdir: Path, splits, num: int, weights: str, evaluator: str, towers, attributes: Path | None, seed: int,
          out: Path, language: str = "") -> int:
    """Make and write the card of a run; the exit code."""
    from t2i_jax.data.attributes import attributes_of, read_attributes
    from t2i_jax.data.prepared import Prepared, read_info
    from t2i_jax.distributed.mesh import make_mesh
    from t2i_jax.distributed.together import here
    from t2i_jax.evaluation.figures import terminal_lines
    from t2i_jax.evaluation.groups import choose_splits
    from t2i_jax.inference.pipeline import load
    from t2i_jax.training.checkpoint import newest_good

    with named_extra():
        from t2i_jax.commands.models_judged import as_judged
        from t2i_jax.evaluation import card as cards
        from t2i_jax.evaluation.evaluator import Evaluator
        from t2i_jax.evaluation.page import page

    check_writable(out, "--out")
    model = load(workdir, weights)
    run = newest_good(workdir)[1]
    directory = prepared_directory(workdir, run.config)
    info = read_info(directory)
    data = {split: Prepared(directory, split) for split in info["splits"] if info["splits"][split]["count"]}
    if data["train"].fingerprint != run.about["data"]:
        raise UserError(f"data: {directory} is not what {workdir} was trained on; restore it to evaluate the run")
    splits = choose_splits(list(data), splits)
    for split in ("train", *splits):
        data[split].in_language(language)
    asked = read_attributes(attributes) if attributes else attributes_of(info["source"])
    mesh = make_mesh()
    networks = [tower_of(text) for text in towers]
    trained, code = evaluator_run(evaluator, root(workdir), run.config, directory)
    if code:
        return code
    say = lambda line: print(f"t2i: {line}", file=sys.stderr) if here().first else None
    card, shown = cards.make(
        as_judged(model, run.about, weights, mesh), data, Evaluator.load(trained, mesh), networks, asked,
        splits=splits, num=num, seed=seed, say=say, language=language,
    )
    if not here().first:
        return 0
    out.mkdir(parents=True, exist_ok=True)
    (out / "card.json").write_text(cards.to_json(card), encoding="utf-8")
    (out / "card.html").write_text(page(card, shown), encoding="utf-8")
    prompts = f", prompts in {language}" if language else ""
    print("\n".join([f"{card['model']['name']}, {weights} weights{prompts}", *terminal_lines(card), ""]))
    print(f"{out / 'card.json'}\n{out / 'card.html'}")
    return 0


@contextlib.contextmanager
def named_extra() -> Iterator[None]:
    """Imports inside may lack packages of the extra `evaluate`: UserError naming it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(f"evaluating needs the package {error.name}: run pip install 't2i_jax[evaluate]'") from error


def root(workdir: Path) -> Path:
    """The run's directory, where `workdir` may be one of its checkpoints."""
    return workdir.absolute().parents[1] if (workdir / "COMMITTED").is_file() else workdir


def prepared_directory(workdir: Path, config: str) -> Path:
    """Where the prepared data of a run lie: where its config names them, else in its own directory."""
    from t2i_jax import config as configs

    named = configs.from_json(config).data.path
    return Path(named) if named and (Path(named) / "info.json").is_file() else root(workdir) / "data"


def tower_of(text: str):
    """The feature network that NAME=FILE[@SHA256] asks for."""
    name, equals, source = text.partition("=")
    if not equals or not source:
        raise UserError(f"--tower: {text!r} is not NAME=FILE, for example inception=inception.safetensors")
    with named_extra():
        from t2i_jax.evaluation.towers import tower

    found = re.fullmatch(r"(.+)@([0-9a-fA-F]{64})", source)
    return tower(name, *(found.group(1), found.group(2).lower()) if found else (source, None))


def evaluator_run(spec: str, workdir: Path, config: str, data: Path) -> tuple[Path, int]:
    """(directory of a trained evaluator, exit code): `spec` itself, or the one trained from the config `spec` into
    WORKDIR/evaluator on the prepared `data` of the run, whose `config` (JSON) says what they are.
    """
    from t2i_jax import config as configs
    from t2i_jax.commands import train
    from t2i_jax.data.training import PICTURES
    from t2i_jax.training.checkpoint import newest_good

    if Path(spec).is_dir():
        return Path(spec), 0
    path, _, arg = spec.partition(":")
    directory = workdir / "evaluator"
    found = newest_good(directory)
    if found is not None and found[1].about["finished"]:
        return directory, 0
    if not Path(path).is_file():
        raise UserError(f"--evaluator: there is no {path!r} here, which an evaluator would be trained from; run t2i "
                        "evaluate beside configs/, or give another config or a trained evaluator's directory")
    of_run, made = configs.from_json(config).data, configs.read(path, arg)
    for key in PICTURES:
        made.data[key] = of_run[key]
    made.data.path = str(data.absolute())
    made.data.text_length = max(made.data.text_length, of_run.text_length)  # captions cut short would look alike
    print(f"t2i: training the evaluator into {directory}", file=sys.stderr)
    return directory, train.run(made.lock(), directory, None)


def hook(evaluator: Path, system, data, num: int = 256, seed: int = 0) -> Callable[..., dict[str, float]]:
    """What training calls to judge itself: (state, images) -> figures of `num` averaged-weights pictures at most.

    evaluator: the directory of a trained one; data: the run's TrainingData. Figures: `frechet` and `r_precision` of the
    first held-out group, `train_frechet` and `train_r_precision` of training captions; R-precision where there are 99
    wrong captions. Uses no randomness of the state's. Raises UserError where the evaluator does not fit the data.
    """
    with named_extra():
        from t2i_jax.commands.models_judged import InTraining

    return InTraining(evaluator, system, data, num, seed).evaluate
