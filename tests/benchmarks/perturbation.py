"""What training with perturbed pictures does for a discriminator, and whether perturbed pictures can be detected.

    python tests/benchmarks/perturbation.py --workdir runs/noisy_ar --workdir runs/without

For each run of `noisy_ar` (train one of them with --config.losses.perturbed=0): how often its discriminator is right
about held-out pictures beside their captions, about as many drawn by the run, about the real ones after an attack (fast
gradient sign on this discriminator, Goodfellow et al. 2015), and after random signs of the same size. Then its
detector: accuracy and area under the ROC curve, attacked pictures against clean ones; and the area for random signs,
which it never saw.
"""

from pathlib import Path
from typing import NamedTuple

import click
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from sklearn.metrics import roc_auc_score

from t2i_jax import config as configs
from t2i_jax.commands.evaluate import prepared_directory
from t2i_jax.data.prepared import Prepared, read_info
from t2i_jax.data.tokenizer import Tokenizer
from t2i_jax.errors import UserError
from t2i_jax.evaluation.groups import groups
from t2i_jax.inference.pipeline import load
from t2i_jax.objectives.perturbation import fast_gradient_sign
from t2i_jax.systems import _noisy_networks
from t2i_jax.training.alternate import as_float
from t2i_jax.training.resume import load_weights

BATCH = 50  # pictures at once
EPSILONS = (0.015, 0.03, 0.06, 0.12)


class Judges(NamedTuple):
    """A run's discriminator and detector, compiled; images [B, H, W, C] in [-1, 1], text: arrays of captions."""

    discriminate: callable  # (images, text) -> logits [B], above 0: real
    attack: callable  # (images, text, epsilon) -> images that the discriminator thinks less real
    detect: callable  # images -> logits [B], above 0: attacked


def judges(workdir: Path) -> tuple[Judges, callable]:
    """(judges of a run, its captions -> text). Raises UserError where it is no run of noisy_ar."""
    found = load_weights(workdir, Tokenizer.from_json)
    config = configs.from_json(found.run.config)
    if config.system != "noisy_ar":
        raise UserError(f"{workdir} holds a {config.system!r}; give a run of noisy_ar")
    nets, params = _noisy_networks.build(config), found.params

    def discriminate(images: Array, text: dict) -> Array:
        sentence = nets.text.read(params, text).sentence
        return nets.discriminator.apply({"params": params["discriminator"]}, images, sentence)[0]

    attack = lambda images, text, epsilon: fast_gradient_sign(lambda x: -discriminate(x, text), images, epsilon)
    detect = lambda images: nets.detector.apply({"params": params["detector"]}, images)[:, 0]
    return Judges(*map(jax.jit, (discriminate, attack, detect))), found.system.encode


def measure(workdir: Path, num: int, seed: int) -> list[dict]:
    """A record {epsilon, figures} for each epsilon, of at most `num` pictures of each held-out group."""
    judge, encode = judges(workdir)
    directory = prepared_directory(workdir, load_weights(workdir, Tokenizer.from_json).run.config)
    held_out = {split: Prepared(directory, split) for split in read_info(directory)["splits"] if split != "train"}
    found = groups(held_out, num, seed)
    images = as_float(jnp.asarray(np.concatenate([group.images for group in found])))
    prompts = [prompt for group in found for prompt in group.prompts]
    count = len(prompts) // BATCH * BATCH
    made = load(workdir).generate(prompts[:count], key=jax.random.key(seed), num_inference_steps=8)
    parts = [slice(start, start + BATCH) for start in range(0, count, BATCH)]
    texts = {part.start: encode(prompts[part]) for part in parts}
    run = lambda function: np.concatenate([np.asarray(function(part, texts[part.start])) for part in parts])
    told_real = run(lambda part, text: judge.discriminate(images[part], text) > 0).mean()
    told_made = run(lambda part, text: judge.discriminate(made[part], text) < 0).mean()
    clean = run(lambda part, text: judge.detect(images[part]))
    signs = jax.random.rademacher(jax.random.key(seed), images.shape, jnp.float32)
    records = []
    for epsilon in EPSILONS:
        attacked = lambda part, text: judge.attack(images[part], text, epsilon)
        shaken = lambda part: jnp.clip(images[part] + epsilon * signs[part], -1, 1)
        detected = run(lambda part, text: judge.detect(attacked(part, text)))
        random = run(lambda part, text: judge.detect(shaken(part)))
        area = lambda wrong: roc_auc_score(np.repeat([1, 0], count), np.concatenate([wrong, clean]))
        records.append({
            "epsilon": epsilon, "D: real": told_real, "D: drawn": told_made,
            "D: real, attacked": run(lambda part, text: judge.discriminate(attacked(part, text), text) > 0).mean(),
            "D: real, random signs": run(lambda part, text: judge.discriminate(shaken(part), text) > 0).mean(),
            "detector: accuracy": ((detected > 0).mean() + (clean < 0).mean()) / 2,
            "detector: AUC": area(detected), "detector: AUC, random signs": area(random),
        })
    return records


@click.command()
@click.option("--workdir", "workdirs", multiple=True, required=True, type=click.Path(path_type=Path))
@click.option("--num", default=300, show_default=True, help="Pictures of each held-out group.")
@click.option("--seed", default=0, show_default=True)
def main(workdirs: tuple[Path, ...], num: int, seed: int) -> None:
    """Print a table in Markdown."""
    head = None
    for workdir in workdirs:
        for record in measure(workdir, num, seed):
            if head is None:
                head = list(record)
                click.echo(f"| run | {' | '.join(head)} |")
                click.echo("|---" * (len(head) + 1) + "|")
            click.echo(f"| {workdir.name} | {' | '.join(f'{record[name]:.3f}' for name in head)} |")


if __name__ == "__main__":
    main()
