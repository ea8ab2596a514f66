"""Which text encoder draws better from captions seen, unseen and paraphrased: the same GAN, several runs of each.

    python tests/benchmarks/text_encoders.py --evaluator runs/evaluator --arm minilm runs/minilm-0 runs/minilm-1 runs/minilm-2
        --arm own runs/own-0 runs/own-1 runs/own-2 [--num 300] [--out figures.json]

Runs must have been trained on the same prepared data as the evaluator. R-precision (top 1 of 100) and Frechet distance as on
the evaluation card; a paraphrase of configs/paraphrases.json is drawn, and judged by the caption that it paraphrases.
Means over the runs of an arm and their standard deviation (n - 1).
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from t2i_jax.commands.evaluate import prepared_directory
from t2i_jax.commands.models_judged import draw
from t2i_jax.data.prepared import Prepared, read_info
from t2i_jax.evaluation import distances, retrieval
from t2i_jax.evaluation.card import check_evaluator
from t2i_jax.evaluation.evaluator import Evaluator
from t2i_jax.evaluation.groups import caption_pool, groups, right_captions
from t2i_jax.evaluation.measures import WRONG
from t2i_jax.inference.pipeline import load
from t2i_jax.training.checkpoint import newest_good

PARAPHRASES = Path(__file__).parents[2] / "configs" / "paraphrases.json"


class Asked(NamedTuple):
    """Prompts, and what their pictures are judged by."""

    name: str
    prompts: list[str]  # what is drawn
    captions: list[tuple[str, ...]]  # of the real picture, general to detailed; the last one is what has to be seen
    images: np.ndarray  # uint8 [N, H, W, C], real pictures
    pool: list[str]  # what wrong captions are drawn from


def paraphrased(prompts: dict[str, str], train: Prepared) -> tuple[Asked, Asked]:
    """The paraphrases, and beside them the captions themselves, with the first picture of each caption.

    Raises KeyError for a caption that no training picture has.
    """
    first = {}
    for number, row in enumerate(train.words):
        for caption in row["captions"]:
            first.setdefault(caption, number)
    numbers = [first[caption] for caption in prompts.values()]
    images, pool = train.images(numbers), caption_pool(train)
    own = lambda number, caption: (*(text for text in train.words[number]["captions"] if text != caption), caption)
    captions = [own(number, caption) for number, caption in zip(numbers, prompts.values(), strict=True)]
    return (Asked("paraphrases", list(prompts), captions, images, pool),
            Asked("the same captions", list(prompts.values()), captions, images, pool))


def all_asked(data: dict[str, Prepared], num: int, prompts: dict[str, str]) -> list[Asked]:
    """The card's groups, at most `num` pictures each, and the paraphrases."""
    card = [Asked(group.name, group.prompts, group.captions, group.images,
                  caption_pool(*{name: data[name] for name in ("train", group.split)}.values()))
            for group in groups(data, num, 0)]
    return [*card, *paraphrased(prompts, data["train"])]


def figures(evaluator: Evaluator, asked: Asked, images: np.ndarray) -> tuple[float, float]:
    """(R-precision, Frechet distance) of pictures drawn for the prompts."""
    seen = evaluator.images(images)
    own, pool = evaluator.texts([captions[-1] for captions in asked.captions]), evaluator.texts(asked.pool)
    hits = retrieval.hits(seen, own, pool, right_captions(asked.captions, asked.pool), wrong=WRONG)
    real = distances.moments(evaluator.images(asked.images))
    return float(hits.mean()), distances.frechet(real, distances.moments(seen))


def table(found: dict[str, dict[str, list[tuple[float, float]]]]) -> str:
    """{row: {group: figures of each run}} as text: mean and standard deviation of R-precision, of Frechet distance."""
    names = list(next(iter(found.values())))
    lines = ["R-precision / Frechet distance".ljust(32) + "".join(name.rjust(34) for name in names)]
    for row, groups_ in found.items():
        cells = [spread([run[0] for run in groups_[name]], 3) + " / " + spread([run[1] for run in groups_[name]], 4)
                 for name in names]
        lines.append(f"{row} ({len(groups_[names[0]])})".ljust(32) + "".join(cell.rjust(34) for cell in cells))
    return "\n".join(lines)


def spread(values: Sequence[float], digits: int) -> str:
    """Mean and, of several, standard deviation."""
    mean = f"{np.mean(values):.{digits}f}"
    return f"{mean} ±{np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluator", type=Path, required=True)
    parser.add_argument("--arm", nargs="+", action="append", required=True, metavar="NAME RUN", help="name, then runs")
    parser.add_argument("--num", type=int, default=300, help="most pictures of a group")
    parser.add_argument("--paraphrases", type=Path, default=PARAPHRASES)
    parser.add_argument("--out", type=Path, help="JSON of every run's figures")
    options = parser.parse_args()
    arms = {name: [Path(run) for run in runs] for name, *runs in options.arm}
    evaluator, asked, real, found = Evaluator.load(options.evaluator), None, {}, {}
    for arm, runs in arms.items():
        found[arm] = {}
        for run in runs:
            stored = newest_good(run)[1]
            check_evaluator(evaluator, stored.about["data"])
            if asked is None:
                directory = prepared_directory(run, stored.config)
                data = {split: Prepared(directory, split) for split in read_info(directory)["splits"]}
                asked = all_asked(data, options.num, json.loads(options.paraphrases.read_text(encoding="utf-8")))
                real = {each.name: [figures(evaluator, each, each.images)] for each in asked}
            model = load(run)
            for each in asked:
                found[arm].setdefault(each.name, []).append(figures(evaluator, each, draw(model, each.prompts, 0)))
            print(run, {name: [round(number, 4) for number in runs[-1]] for name, runs in found[arm].items()}, flush=True)
    found = {"real pictures": real} | found
    print(table(found))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    jax.config.update("jax_numpy_rank_promotion", "raise")
    main()
