"""What a training step costs against the size of the data set, and against width, depth, resolution and batch size.

    python tests/benchmarks/scaling.py --data --networks --out scaling.json

`--data`: the quickstart's loop on 1,000, 10,000 and 100,000 pictures of noise, from next batch to next batch; chunks on
the three are taken in turns, so that a machine whose speed drifts counts for all; noise is not coupled. `--networks`: compiled chunks of the
quickstart with one size changed at a time. Medians; least and most say how steady they were.
"""

import io
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import click
import jax
import numpy as np
from PIL import Image

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "systems")]

import playing  # noqa: E402
from race import batch_of  # noqa: E402

from t2i_jax import systems  # noqa: E402
from t2i_jax.data.prepare import prepare  # noqa: E402
from t2i_jax.data.sources import Example, Source  # noqa: E402
from t2i_jax.distributed import hosts, sharding  # noqa: E402
from t2i_jax.distributed.mesh import make_mesh  # noqa: E402
from t2i_jax.measuring.training import chunk_seconds  # noqa: E402
from t2i_jax.planning.compiling import stage_of  # noqa: E402
from t2i_jax.training import alternate  # noqa: E402
from t2i_jax.training.examples import open_examples  # noqa: E402
from t2i_jax.training.state import create  # noqa: E402

SIZES = (1_000, 10_000, 100_000)
CHANGES = {
    "width of both players": ("gan", [[f"generator.width={n}", f"generator.hidden={2 * n}", f"discriminator.width={n}",
                                       f"discriminator.hidden={2 * n}"] for n in (256, 512, 1024)], (256, 512, 1024)),
    "blocks of both players": ("gan", [[f"generator.blocks={n}", f"discriminator.blocks={n}"] for n in (2, 4, 8)], (2, 4, 8)),
    "batch size": ("gan", [[f"batch_size={n}"] for n in (32, 128, 512)], (32, 128, 512)),
    "resolution, autoencoder": ("autoencoder", [[f"data.resolution={n}"] for n in (16, 32, 64)], (16, 32, 64)),
    "resolution, GAN": ("gan", [[f"data.resolution={n}"] for n in (16, 32, 64)], (16, 32, 64)),
}
STEPS = 10


def noise(count: int) -> Source:
    """So many pictures of 32x32, all different, of a thousand words."""
    def read(number: int) -> bytes:
        random, file = np.random.default_rng(number), io.BytesIO()
        pixels = random.integers(0, 200, (1, 1, 3)) + random.integers(0, 56, (32, 32, 3))  # of every brightness
        Image.fromarray(pixels.astype(np.uint8)).save(file, "BMP")
        return file.getvalue()

    words = lambda number: f"word{number % 1000} word{number // 1000}"
    examples = lambda: (Example(lambda number=number: read(number), (words(number), f"word{number % 1000}"), str(number),
                                "train", {}) for number in range(count))
    return Source("noise", "none", count, examples, ())


def chunk_of(config, stage: str, stacked: dict):
    """(state, compiled chunk) of a stage for arrays such as `stacked` [K, B, ...]."""
    mesh, system = make_mesh(), systems.build(config, None)
    steps, batch_size = jax.tree.leaves(stacked)[0].shape[:2]
    stage = stage_of(system, stage)._replace(images=steps * batch_size)
    state = jax.jit(lambda: create(system, jax.random.key(0)))()
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), stacked)
    return state, alternate.compile_update(system, stage, state, one, steps, mesh).run.lower(state, stacked).compile()


def of_data(repeats: int) -> dict:
    """{pictures: microseconds an image of each repeat}, the batch read and the chunk computed."""
    mesh, loops, found = make_mesh(), {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for count in SIZES:
            prepared = Path(folder) / str(count)
            prepare(noise(count), prepared, resolution=32)
            config = playing.config("quickstart.py:32", f"data.path={prepared}")
            with config.unlocked():
                config.data.coupled = False  # fitted to all pictures before training begins
            data = open_examples(config, Path(folder) / f"run{count}")
            batches = data.batches(0, batch_size=config.batch_size, scan_length=config.scan_length, seed=0)
            stack = hosts.join_batch(next(batches), hosts.rows(mesh, config.batch_size), config.batch_size, mesh)
            loops[count], found[count] = [batches, *chunk_of(config, "imitation", stack)], []
        images, rows = config.batch_size * config.scan_length, hosts.rows(mesh, config.batch_size)
        for number in range(repeats + 2):
            for count, (batches, state, run) in loops.items():
                begun = time.perf_counter()
                for _ in range(4):
                    state, report = run(state, hosts.join_batch(next(batches), rows, config.batch_size, mesh))
                jax.block_until_ready((state, report))
                loops[count][1] = state
                if number > 1:
                    found[count].append(1e6 * (time.perf_counter() - begun) / images / 4)
    return found


def of_networks(repeats: int) -> dict:
    """{what: {its value: microseconds an image of each repeat}}."""
    found = {}
    for what, (stage, changes, values) in CHANGES.items():
        found[what] = {}
        for change, value in zip(changes, values, strict=True):
            config = playing.config("quickstart.py:32", *change)
            stacked = jax.device_put({name: np.stack([x] * STEPS) for name, x in batch_of(config).items()},
                                     sharding.stacked_batch(make_mesh()))
            state, run = chunk_of(config, stage, stacked)
            took, _ = chunk_seconds(run, state, stacked, repeats)
            found[what][value] = [1e6 * seconds / STEPS / config.batch_size for seconds in took]
    return found


def row(what: str, times: list[float]) -> str:
    return f"| {what} | {statistics.median(times):.0f} | {min(times):.0f} to {max(times):.0f} |"


@click.command()
@click.option("--data", is_flag=True, help="Sizes of the data set.")
@click.option("--networks", is_flag=True, help="Width, depth, resolution, batch size.")
@click.option("--repeats", default=7, show_default=True, type=click.IntRange(min=1))
@click.option("--out", type=click.Path(path_type=Path), help="JSON file of all figures.")
def main(data, networks, repeats, out) -> None:
    """Measure how the cost of training grows."""
    found = {}
    print("| what | microseconds an image | least to most |\n|---|---|---|")
    if data:
        found["data"] = of_data(repeats)
        for count, times in found["data"].items():
            print(row(f"{count:,} pictures, imitation", times))
    if networks:
        found["networks"] = of_networks(repeats)
        for what, values in found["networks"].items():
            for value, times in values.items():
                print(row(f"{what}: {value}", times))
    if out:
        out.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
