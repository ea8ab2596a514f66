"""`t2i compare`: several systems trained and judged on the same pictures, as one page and one table."""

import contextlib
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from ml_collections import ConfigDict

from t2i_jax import config as configs
from t2i_jax.commands import evaluate, train
from t2i_jax.commands.writable import check_writable
from t2i_jax.errors import UserError

MADE_FROM = "made_from.json"  # beside a card: what it was made from


class SeveralConfigs(click.Command):
    """Takes `--configs a b c` like `--configs a --configs b --configs c`."""

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        spread, taking = [], False
        for argument in arguments:
            if argument == "--configs":
                taking = True
            elif taking and not argument.startswith("-"):
                spread += ["--configs", argument]
            else:
                taking = False
                spread.append(argument)
        return super().parse_args(context, spread)


@click.command("compare", cls=SeveralConfigs, context_settings={"ignore_unknown_options": True})
@click.option("--configs", "names", multiple=True, required=True, metavar="NAME...", help="Names of configs/NAME.py, "
              "or Python files with get_config(arg); one or more.")
@click.option("--preset", default="small", show_default=True, help="Argument of every config; '' for none.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Directory of the runs, their cards and "
              "the comparison; what is in it is used again.")
@click.option("--evaluator", default=evaluate.EVALUATOR, show_default=True, help="A trained evaluator's work "
              "directory, or a config that one is trained from into OUT/evaluator, unless it is there.")
@click.option("--num", default=4096, show_default=True, type=click.IntRange(min=1), help="Most pictures of a group.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Of cards and pictures.")
@click.argument("overrides", nargs=-1, type=click.UNPROCESSED, metavar="[--config.KEY=VALUE]...")
def command(names, preset, out, evaluator, num, seed, overrides) -> int | None:
    """Train systems on the same pictures, or use their runs again, and set them side by side.

    \b
    t2i compare --configs gan_vae dcgan latent_gan --preset small --out runs/compared
    """
    specs = choose(names, preset)
    data = checked({name: configs.load(spec, overrides) for name, spec in specs.items()})
    if not Path(evaluator).is_dir() and not Path(evaluator.partition(":")[0]).is_file():
        raise UserError(f"--evaluator: there is neither a directory nor a config {evaluator!r} here; run t2i compare "
                        "beside configs/, or give another config or a trained evaluator's directory")
    check_writable(out, "--out")
    return compare(specs, overrides, data, out, evaluator, num, seed)


def choose(names: Sequence[str], preset: str) -> dict[str, str]:
    """{name of its run: config "FILE[:ARGUMENT]"} of configs given by name or file. UserError where one is missing."""
    specs: dict[str, str] = {}
    for given in names:
        text, _, argument = given.partition(":")
        path = Path(text) if text.endswith(".py") else Path("configs") / f"{text}.py"
        if not path.is_file():
            there = sorted(file.stem for file in Path("configs").glob("*.py")) or ["none here, run it beside configs/"]
            raise UserError(f"--configs: there is no {path}; give a file.py, or a name in configs/: {', '.join(there)}")
        if path.stem in specs or path.stem in ("data", "evaluator"):
            raise UserError(f"--configs: {given} would be called {path.stem!r}, which is taken; rename the file")
        argument = argument or preset
        specs[path.stem] = f"{path}:{argument}" if argument else str(path)
    return specs


def checked(loaded: dict[str, ConfigDict]):
    """The data options that all configs {name: config} share. UserError where they differ, or one cannot be compared."""
    from t2i_jax import systems
    from t2i_jax.data.training import PICTURES, DataOptions
    from t2i_jax.pretrained import captions

    first = next(iter(loaded))
    for name, config in loaded.items():
        train.check(config)
        if systems.build(config, captions.opened(config)).generate is None:
            raise UserError(f"--configs: {name} is a {config.system!r}, which draws nothing; leave it out")
        for key in ("path", *PICTURES):
            ours, theirs = loaded[first].data[key], config.data[key]
            if ours != theirs:
                raise UserError(f"--configs: systems are compared on the same pictures, but data.{key} is {ours!r} for "
                                f"{first} and {theirs!r} for {name}; set --config.data.{key} for all, or leave one out")
    return configs.section(loaded[first], "data", DataOptions)


def compare(specs: dict[str, str], overrides: Sequence[str], options, out: Path, evaluator: str, num: int,
            seed: int) -> int:
    """Prepare, train, judge and write; the exit code."""
    import jax

    from t2i_jax.data.training import open_data
    from t2i_jax.pretrained import captions

    with evaluate.named_extra():
        from t2i_jax.evaluation import overview
        from t2i_jax.evaluation.card import check_evaluator
        from t2i_jax.evaluation.evaluator import Evaluator
        from t2i_jax.evaluation.overview_page import page

    say = lambda line: print(f"t2i: {line}", file=sys.stderr)
    data = open_data(options, out)
    directory = data.train.directory.absolute()
    overrides = [*overrides, f"--config.data.path={directory}"]
    configured = {name: configs.load(spec, overrides) for name, spec in specs.items()}
    for config in configured.values():
        text = captions.opened(config)
        if isinstance(text, captions.CachedText):
            text.beside(directory, config.data.text_length, encode=True)
    first = configs.to_json(next(iter(configured.values())))
    with contextlib.redirect_stdout(sys.stderr):
        trained, code = evaluate.evaluator_run(evaluator, out, first, directory)
    if code:
        return code
    judge = Evaluator.load(trained)
    check_evaluator(judge, data.fingerprint)
    prompts = overview.prompts({"train": data.train, **data.heldout}, seed)
    entries, drawn = [], {}
    for name, config in configured.items():
        say(f"{name}: training, unless it is done")
        with contextlib.redirect_stdout(sys.stderr):
            if code := trained_run(config, out / name, data.fingerprint):
                return code
            card = card_of(out / name, trained, judge.sha256, num, seed)
        say(f"{name}: drawing")
        entry, drawn[name] = measured(name, specs[name], config.system, out / name, card, prompts, seed)
        entries.append(entry)
        jax.clear_caches()  # of this system's compiled steps, which no other uses
    settings = {"num": num, "seed": seed, "draws": overview.DRAWS, "overrides": list(overrides[:-1])}
    values = overview.to_values(entries, prompts, settings)
    (out / "compare.json").write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (out / "compare.html").write_text(page(entries, prompts, drawn, settings), encoding="utf-8")
    print(overview.markdown(overview.summary(entries)))
    print(f"\n{out / 'compare.json'}\n{out / 'compare.html'}")
    return 0


def trained_run(config: ConfigDict, workdir: Path, data: str) -> int:
    """Train the run in `workdir`, or go on with it; a finished one is left as it is. The exit code.

    Raises UserError where a finished run is of another config, or not of the data with this fingerprint.
    """
    from t2i_jax.training.checkpoint import newest_good
    from t2i_jax.training.resume import with_rollbacks

    found = newest_good(workdir)
    if found is None or not found[1].about["finished"]:
        return train.run(config, workdir, None)
    run = found[1]
    changed = configs.differences(configs.from_json(run.config), with_rollbacks(run, config))
    for key, (old, new) in changed.items():
        if not key.startswith("run.") and key != "data.path":
            raise UserError(f"--out: {workdir} holds a run with {key} = {old!r}, now {new!r}; delete it to train it "
                            "again, or use another --out")
    if run.about["data"] != data:
        raise UserError(f"--out: {workdir} holds a run that was trained on other data; delete it to train it again, or "
                        "use another --out")
    return 0


def card_of(workdir: Path, evaluator: Path, evaluator_sha256: str, num: int, seed: int) -> dict:
    """The card of a finished run: a new one, unless that on disk is of this checkpoint, evaluator and settings."""
    from t2i_jax import __version__
    from t2i_jax.training.checkpoint import newest_good

    directory = workdir / "evaluation"
    file = directory / "card.json"
    checkpoint = (newest_good(workdir)[0] / "COMMITTED").read_text(encoding="utf-8")
    made_from = {"checkpoint": checkpoint, "evaluator": evaluator_sha256, "num": num, "seed": seed,
                 "program": __version__}
    content = lambda: {**made_from, "card": hashlib.sha256(file.read_bytes()).hexdigest()}
    try:
        known = file.is_file() and json.loads((directory / MADE_FROM).read_text(encoding="utf-8")) == content()
    except (OSError, ValueError):
        known = False
    if not known:
        evaluate.judge(workdir, (), num, "ema", str(evaluator), (), None, seed, directory)
        (directory / MADE_FROM).write_text(json.dumps(content(), indent=1), encoding="utf-8")
    return json.loads(file.read_text(encoding="utf-8"))


def measured(name: str, spec: str, system: str, workdir: Path, card: dict, prompts, seed: int):
    """(Entry of a finished run, for each prompt its draws)."""
    import jax

    from t2i_jax.commands.models_judged import draw
    from t2i_jax.evaluation import overview
    from t2i_jax.inference.pipeline import load
    from t2i_jax.measuring import drawing

    model = load(workdir)
    texts = [prompt.text for prompt in prompts]
    pictures = draw(model, [text for text in texts for _ in range(overview.DRAWS)], seed)
    entry = overview.Entry(
        name=name, config=spec, system=system, card=card,
        parameters_drawing=drawing.parameters_read(model),
        parameters=sum(x.size for x in jax.tree.leaves(model.params)),
        images_per_second=training_speed(workdir), milliseconds=drawing.milliseconds_per_picture(model, texts),
    )
    return entry, list(pictures.reshape(len(texts), overview.DRAWS, *pictures.shape[1:]))


def training_speed(workdir: Path) -> float:
    """Images per second of the last call that trained the run, by its metrics.jsonl. UserError where that is missing."""
    try:
        lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        return next(line["images_per_second"] for line in reversed(lines) if "images_per_second" in line)
    except (OSError, ValueError, StopIteration) as error:
        raise UserError(f"--out: {workdir / 'metrics.jsonl'} does not say how fast the run was trained; restore it, or "
                        f"delete {workdir} to train it again") from error
