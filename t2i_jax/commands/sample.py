"""`t2i sample`: pictures from prompts, with what made them written into the files."""

from pathlib import Path

import click
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from t2i_jax import __version__
from t2i_jax.commands.cluster import clustered
from t2i_jax.commands.writable import check_writable
from t2i_jax.errors import UserError


@click.command("sample")
@click.option("--workdir", required=True, type=click.Path(path_type=Path), help="A run, or one of its checkpoints.")
@click.option("--best", is_flag=True, help="The run's checkpoint best by run.best, not its newest.")
@click.option("--prompt", "prompts", multiple=True, help="What to draw; may be given several times. '(red:1.5)' gives a "
              "phrase more weight, below 1 less.")
@click.option("--prompts", "prompt_file", type=click.Path(path_type=Path), help="A text file, one prompt a line.")
@click.option("--negative", help="A prompt to move away from.")
@click.option("--strength", type=float, help="How far to move away from --negative, or without it from what says nothing; 1 "
              "draws the prompt as it is.  [default: 2 with --negative]")
@click.option("--interpolate", nargs=2, metavar="A B", help="Draw the way from one prompt to another, as a strip or .gif.")
@click.option("--steps", default=8, show_default=True, type=click.IntRange(min=2), help="Pictures of --interpolate.")
@click.option("--num", default=1, show_default=True, type=click.IntRange(min=1), help="Pictures for each prompt.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1),
              help="Same seed, same pictures.")
@click.option("--truncation", type=click.FloatRange(min=0), help="Noise scale; below 1 trades variety for typical "
              "pictures.  [default: 1]")
@click.option("--temperature", type=click.FloatRange(min=0), help="Of drawn tokens; 0 takes the likeliest.  "
              "[default: 1]")
@click.option("--top-k", type=click.IntRange(min=0), help="Draw among the k likeliest tokens.  [default: 0, all]")
@click.option("--top-p", type=click.FloatRange(0, 1), help="Draw among the likeliest tokens that together have this "
              "probability.  [default: 1]")
@click.option("--num-inference-steps", type=click.IntRange(min=0), help="In how many steps tokens are drawn, "
              "0 for one after another.  [default: the model's own]")
@click.option("--weights", default="ema", show_default=True, type=click.Choice(["ema", "raw"]), help="Averaged or raw.")
@click.option("--grid/--no-grid", default=None, help="One captioned grid, or a file for each picture. "
              "[default: a grid where there are several]")
@click.option("--out", type=click.Path(path_type=Path), help="PNG file; separate files get -0, -1, ...  [required but "
              "for --animate]")
@click.option("--animate", type=click.Path(path_type=Path), help="GIF file of the partial pictures after each step, of "
              "models that draw in steps.")
@clustered
def command(prompts, prompt_file, workdir, best, negative, strength, interpolate, steps, num, seed, weights, grid, out,
            animate, **options) -> None:
    """Draw pictures from prompts.

    An option that the model does not have is refused: token models have no truncation, others no temperature.

    \b
    t2i sample --workdir runs/quickstart --prompt "a red heart" --num 4 --out heart.png
    t2i sample --workdir runs/noisy_ar --prompt "a red heart" --num-inference-steps 16 --animate heart.gif
    t2i sample --workdir runs/quickstart --prompt "a (red:1.5) heart" --negative "a broken heart" --out heart.png
    t2i sample --workdir runs/quickstart --interpolate "a red heart" "a blue circle" --steps 8 --out way.gif
    """
    from t2i_jax.distributed.together import here
    from t2i_jax.inference.pipeline import load
    from t2i_jax.inference.prompts import whole
    from t2i_jax.training.best import best_checkpoint

    options = {name: value for name, value in options.items() if value is not None}
    if interpolate:
        refused = [name for name, given in (("--prompt", prompts), ("--prompts", prompt_file), ("--negative", negative),
                                            ("--strength", strength), ("--animate", animate), ("--num", num > 1)) if given]
        if refused:
            raise UserError(f"{refused[0]} does not go with --interpolate, which draws one way between two prompts")
        _check_out(out, "--out", ".png", ".gif")
        model = load(best_checkpoint(workdir) if best else workdir, weights)
        return way(model, tuple(map(whole, interpolate)), steps, seed, weights, out, options)
    prompts = [whole(prompt) for prompt in (*prompts, *(_read_prompts(prompt_file) if prompt_file else []))]
    negative = negative and whole(negative)
    if not prompts:
        raise UserError("prompt: none given; use --prompt TEXT or --prompts FILE")
    if not all(prompt.strip() for prompt in prompts):
        raise UserError("prompt: it is empty; describe a picture, for example --prompt 'a red heart'")
    if out is None and animate is None:
        raise UserError("--out is missing; give a PNG file to write, or --animate FILE.gif")
    for path, option, suffix in ((out, "--out", ".png"), (animate, "--animate", ".gif")):
        if path is not None:
            _check_out(path, option, suffix)
    model = load(best_checkpoint(workdir) if best else workdir, weights)
    if animate is not None and "return_steps" not in model.system.options:
        raise UserError(f"--animate: {model.name} draws a picture at once, it has no steps to show; use --out FILE.png")
    if animate is not None:
        options["return_steps"] = True
    drawn = [(prompt, model(prompt, num, seed, negative=negative, strength=strength, **options)) for prompt in prompts]
    if not here().first:
        return
    asked = {name: str(value) for name, value in (("negative", negative), ("strength", strength)) if value is not None}
    about = _about(model, seed, weights, options) | asked
    if animate is not None:
        write_gif([_page(frame) for frame in _frames(drawn)], animate, about | {"prompt": "\n".join(prompts)})
        print(animate)
        drawn = [(prompt, [steps[-1] for steps in row]) for prompt, row in drawn]
    if out is None:
        return
    several = len(prompts) * num > 1
    if several if grid is None else grid:
        write_png(_page(drawn), out, about | {"prompt": "\n".join(prompts)})
        print(out)
        return
    pictures = [(prompt, index, picture) for prompt, row in drawn for index, picture in enumerate(row)]
    for number, (prompt, index, picture) in enumerate(pictures):
        path = out.with_stem(f"{out.stem}-{number}") if several else out
        write_png(picture, path, about | {"prompt": prompt, "index": str(index)})
        print(path)


def way(model, ends: tuple[str, str], steps: int, seed: int, weights: str, out: Path, options: dict) -> None:
    """Draw the pictures between two prompts into one strip, or an animation there and back."""
    from t2i_jax.distributed.together import here
    from t2i_jax.inference.grid import enlarge
    from t2i_jax.inference.prompts import roughness

    frames = model.interpolate(*ends, steps, seed, **options)
    if not here().first:
        return
    about = _about(model, seed, weights, options) | {"prompt": "\n".join(ends), "steps": str(steps)}
    if out.suffix.lower() == ".gif":
        write_gif([enlarge(frame) for frame in frames + frames[-2:0:-1]], out, about)
    else:
        captions = [ends[0], *[""] * (steps - 2), ends[1]]
        write_png(_strip(captions, frames), out, about)
    print(f"{out}: the largest step between neighbours is {roughness(frames):.1f} times the mean step")


def _strip(captions: list[str], frames: list[Image.Image]) -> Image.Image:
    from t2i_jax.inference.grid import grid

    return grid([(caption, [frame]) for caption, frame in zip(captions, frames, strict=True)], per_row=len(frames))


def _about(model, seed: int, weights: str, options: dict) -> dict[str, str]:
    """What made a picture, but for its prompt."""
    settings = {name: str(value) for name, value in (model.system.options | options).items() if name != "return_steps"}
    return {"seed": str(seed), **settings, "model": model.name, "weights": weights,
            "software": f"t2i_jax {__version__}", "source": "generated by a text-to-image model"}


def _check_out(path: Path | None, option: str, *suffixes: str) -> None:
    if path is None:
        raise UserError(f"{option} is missing; give a {' or '.join(suffixes)} file to write")
    if path.suffix.lower() not in suffixes:
        raise UserError(f"{option}: {path} is not a {' or '.join(suffixes)} file")
    check_writable(path.parent, option)


def _page(drawn: list[tuple[str, list[Image.Image]]]) -> Image.Image:
    """A captioned grid: a column for each prompt, or a square of one prompt's pictures."""
    from t2i_jax.inference.grid import grid

    if len(drawn) > 1:
        return grid(drawn)
    ((prompt, (first, *others)),) = drawn
    columns = [(prompt, [first]), *(("", [picture]) for picture in others)]
    return grid(columns, per_row=max(1, round(len(columns) ** 0.5)))


def _frames(drawn: list[tuple[str, list[list[Image.Image]]]]) -> list[list[tuple[str, list[Image.Image]]]]:
    """The partial pictures of step 0, 1, ..., each step as `drawn` without steps."""
    steps = len(drawn[0][1][0])
    return [[(prompt, [partial[step] for partial in row]) for prompt, row in drawn] for step in range(steps)]


def _read_prompts(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--prompts: cannot read {path} as UTF-8 text: {getattr(error, 'strerror', error)}") from error
    return [line for line in lines if line.strip()]


def write_png(picture: Image.Image, path: Path, about: dict[str, str]) -> None:
    """Save with `about` as PNG text: prompt, seed, model and version travel with the picture."""
    info = PngInfo()
    for name, value in about.items():
        info.add_itxt(name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, pnginfo=info)


def write_gif(frames: list[Image.Image], path: Path, about: dict[str, str]) -> None:
    """Save as an endless animation, about three seconds of steps and two of the last, with `about` as its comment."""
    shown = [max(20, 3000 // len(frames))] * (len(frames) - 1) + [2000]  # milliseconds
    comment = "\n".join(f"{name}: {value}" for name, value in about.items()).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *others = frames
    first.save(path, save_all=True, append_images=others, duration=shown, loop=0, comment=comment)
