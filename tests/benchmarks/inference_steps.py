"""How good pictures are, and how long they take, by the number of steps they are drawn in.

    python tests/benchmarks/inference_steps.py --workdir runs/noisy_ar --evaluator runs/evaluator

For each group of captions: R-precision (top 1 of 100) and Fréchet distance by the evaluator, as on the card of `t2i
evaluate` with the same --num and --seed. The last column is the time of a picture in a batch of eight, compilation left
out.
"""

import time
from pathlib import Path

import click
import jax
import numpy as np

from t2i_jax.commands.evaluate import prepared_directory
from t2i_jax.data.prepared import Prepared, read_info
from t2i_jax.evaluation import distances, retrieval
from t2i_jax.evaluation.evaluator import Evaluator
from t2i_jax.evaluation.groups import Group, caption_pool, groups, right_captions
from t2i_jax.inference.pipeline import TextToImage, load, to_uint8
from t2i_jax.training.checkpoint import newest_good


def judged(evaluator: Evaluator, group: Group, pool: list[str], drawn: np.ndarray, seed: int) -> tuple[float, float]:
    """(R-precision, Fréchet distance) of pictures [N, H, W, C] drawn for the captions of a group."""
    seen, real = evaluator.images(drawn), evaluator.images(group.images)
    right = right_captions(group.captions, pool)
    hits = retrieval.hits(seen, evaluator.texts(group.prompts), evaluator.texts(pool), right, seed=seed)
    return float(hits.mean()), distances.frechet(distances.moments(real), distances.moments(seen))


def draw(model: TextToImage, prompts: list[str], seed: int, **options) -> tuple[np.ndarray, float]:
    """(pictures uint8 [N, H, W, C], seconds)."""
    started = time.monotonic()
    images = np.asarray(model.generate(prompts, key=jax.random.key(seed), **options))
    return to_uint8(images), time.monotonic() - started


@click.command()
@click.option("--workdir", required=True, type=click.Path(path_type=Path), help="A trained run that draws in steps.")
@click.option("--evaluator", required=True, type=click.Path(path_type=Path), help="A trained evaluator's directory.")
@click.option("--steps", "counts", multiple=True, type=click.IntRange(0), default=(1, 2, 4, 8, 16, 64))
@click.option("--temperature", default=1.0, show_default=True)
@click.option("--num", default=300, show_default=True, help="Pictures of each group.")
@click.option("--seed", default=0, show_default=True)
def main(workdir: Path, evaluator: Path, counts: tuple[int, ...], temperature: float, num: int, seed: int) -> None:
    """Print a table in Markdown."""
    model, judge = load(workdir), Evaluator.load(evaluator)
    directory = prepared_directory(workdir, newest_good(workdir)[1].config)
    data = {split: Prepared(directory, split) for split in read_info(directory)["splits"]}
    found = groups(data, num, seed)
    pools = {split: caption_pool(*{name: data[name] for name in ("train", split)}.values()) for split in data}
    click.echo(f"| steps | {' | '.join(f'{group.name}: R-precision, FD' for group in found)} | ms a picture |")
    click.echo("|---" * (len(found) + 2) + "|")
    for steps in counts:
        options = {"num_inference_steps": steps, "temperature": temperature}
        draw(model, found[0].prompts[:1], seed, **options)  # compiles
        cells, seconds = [], 0.0
        for group in found:
            images, took = draw(model, group.prompts, seed, **options)
            precision, distance = judged(judge, group, pools[group.split], images, seed)
            cells.append(f"{precision:.3f}, {distance:.4f}")
            seconds += took
        milliseconds = 1000 * seconds / sum(len(group.prompts) for group in found)
        click.echo(f"| {steps} | {' | '.join(cells)} | {milliseconds:.1f} |")


if __name__ == "__main__":
    main()
