"""gan_vae, dcgan and conv_codec by the command line: train, be killed and go on, draw from prompts in two languages."""

import json

import jax
import killed
import numpy as np
import pytest
from PIL import Image
from running import CONFIGS, call

import t2i_jax

# In two languages; without penalties and attention, which other tests see and which take long to compile.
OVERRIDES = ('data.languages=("en", "zh")', "text.depth=0", "losses.gamma=0.0", "losses.gamma_fake=0.0",
             "losses.augment=0.0")


@pytest.fixture(scope="module", params=["gan_vae", "dcgan", "conv_codec"])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def run(name, tmp_path_factory):
    """A work directory in which `:tiny` ran to its end on English and Chinese names; not to be changed."""
    workdir = tmp_path_factory.mktemp("runs") / name
    killed.train(f"{CONFIGS / name}.py:tiny", workdir, *OVERRIDES)
    return workdir


def test_it_trains_through_all_stages(name, run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    stages = {"conv_codec": ["features", "correspondence", "gan"]}.get(name, ["gan"])
    assert list(dict.fromkeys(line["stage"] for line in lines)) == stages
    assert all(np.isfinite(value) for line in lines for value in line.values() if isinstance(value, float))
    assert lines[-1]["images"] == 512 and (run / "samples").is_dir()


def test_killed_and_run_again_it_ends_in_the_same_bits(name, run, tmp_path):
    killed.dies_and_ends_in_the_same_bits(f"{CONFIGS / name}.py:tiny", run, tmp_path / "run", *OVERRIDES)


def test_prompts_in_both_languages_draw(run, tmp_path):
    def sample(prompt, out):
        arguments = ("--workdir", run, "--prompt", prompt, "--num", 2, "--no-grid", "--out", tmp_path / out)
        assert call("sample", *arguments) == 0
        pictures = [Image.open(tmp_path / out.replace(".", f"-{number}.")) for number in range(2)]
        assert all(picture.size == (16, 16) and picture.text["prompt"] == prompt for picture in pictures)
        return np.stack(pictures)

    heart, flag = sample("红心", "heart.png"), sample("红旗", "flag.png")
    np.testing.assert_array_equal(heart, sample("红心", "again.png"))
    assert not np.array_equal(heart[0], heart[1])
    assert not np.array_equal(heart, flag)
    system, model = t2i_jax.load(run).system, t2i_jax.load(run)
    generate = jax.jit(system.generate)  # with the same noise for every prompt
    noise = jax.random.split(jax.random.key(0), 1)
    draw = lambda prompt: generate(model.params, model.aux, system.encode([prompt]), noise)
    for one, other in (("红心", "红旗"), ("red heart", "red flag")):
        assert np.abs(draw(one) - draw(other)).max() > 1e-3
