"""latent_gan over latent maps: training, going on and drawing end to end; what its discriminator's turn adds up."""

import json

import jax
import jax.numpy as jnp
import killed
import numpy as np
import playing
import pytest
from PIL import Image
from running import CONFIGS, call

from t2i_jax import keys, systems
from t2i_jax.errors import UserError
from t2i_jax.models.latent_transformers import TransformerDiscriminator, TransformerGenerator
from t2i_jax.systems import _reading

SMALL = ("data.resolution=16", "data.text_length=12", "dtype=float32", "scan_length=2")
SPEC = f"{CONFIGS / 'latent_gan_256.py'}:tiny"


def batch_of(config):
    rng = np.random.default_rng(0)
    batch = playing.batch_of(config)
    noise = rng.standard_normal((len(batch["image"]), config.data.noise)).astype(np.float32)
    return batch | {"noise": jnp.asarray(noise)}


def test_it_trains_is_killed_and_goes_on_to_the_same_bits_and_draws(tmp_path):
    overrides = (*SMALL, "data.limit=32", "run.checkpoint_every=32", "run.samples_every=0", "stages.autoencoder=64",
                 "stages.gan=64")
    whole = tmp_path / "whole"
    killed.train(SPEC, whole, *overrides)
    lines = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    terms = {name: value for line in lines for name, value in line.items()}
    for name in ("discriminator/r1", "discriminator/matching", "generator/contrastive", "autoencoder/mean_square"):
        assert np.isfinite(terms[name]), name
    assert call("sample", "--workdir", whole, "--prompt", "a three", "--num", 2, "--out", tmp_path / "three.png") == 0
    with Image.open(tmp_path / "three.png") as picture:
        assert np.ptp(np.asarray(picture)) > 10
    killed.dies_and_ends_in_the_same_bits(SPEC, whole, tmp_path / "killed", *overrides)


def test_the_discriminators_turn_is_the_sum_of_its_terms_judged_apart():
    table = playing.Table("latent_gan_256", *SMALL)
    table.batch = batch_of(table.config)
    state, batch = table.state, table.batch
    _, terms = table.play("gan", "discriminator")
    unused = ("kind", "remat", "keep")
    settings = lambda section: {name: value for name, value in table.config[section].items() if name not in unused}
    shape = (4, 4, 4)
    generator = TransformerGenerator(shape, **settings("generator"))
    discriminator = TransformerDiscriminator(**settings("discriminator"))
    apply = lambda network, name, *x: network.apply({"params": state.params[name]}, *x)

    @jax.jit
    def compute():
        caption = _reading.build(table.config, None).read(state.params, batch)
        z = table.system.codec.encode(state.params, state.aux, batch["image"]).reshape(-1, *shape)
        latent = state.aux["latent"]
        real = (z - latent["mean"][None, None, None]) / latent["scale"][None, None, None]
        fake = apply(generator, "generator", batch["noise"], caption.sentence, caption.words, caption.mask)
        example = keys.per_example(state.key, len(real))
        noise = keys.normal(keys.named(example, "penalty"), shape)
        judge = lambda z: apply(discriminator, "discriminator", z, caption.sentence)[0]
        return {"real": judge(real), "fake": judge(fake), "r1": judge(real + 0.01 * noise), "r2": judge(fake + 0.01 * noise)}

    found = {name: np.asarray(value, np.float64) for name, value in compute().items()}
    np.testing.assert_allclose(terms["gan"], np.logaddexp(0, found["fake"] - found["real"]).mean(), rtol=1e-4)
    for name, logits in (("r1", found["real"]), ("r2", found["fake"])):
        np.testing.assert_allclose(terms[name], (((logits - found[name]) / 0.01) ** 2).mean(), rtol=0.02)  # of rounding
    weights = {"gan": 1, "contrastive": 1, "matching": 0.5, "r1": 0.05, "r2": 0.05}
    np.testing.assert_allclose(terms["loss"], sum(weight * terms[name] for name, weight in weights.items()), rtol=1e-5)
    table.assert_moves("gan", "discriminator", {"discriminator"})


def test_a_stage_of_no_images_is_left_out_and_the_next_freezes_the_latents():
    names = lambda *overrides: [stage.name for stage in playing.system("latent_gan_256", *overrides).stages]
    assert names() == ["autoencoder", "gan"]
    assert names("stages.imitation=64") == ["autoencoder", "imitation", "gan"]
    system, config = playing.system("latent_gan_256", *SMALL), playing.config("latent_gan_256", *SMALL)
    state, sample = playing.state_of(system), batch_of(config)
    entered = playing.quick(system.stages[1].enter)(state, sample)
    jax.tree.map(np.testing.assert_array_equal, entered.params["autoencoder"], state.ema["params"]["autoencoder"])
    z = np.asarray(system.codec.encode(entered.params, entered.aux, sample["image"]), np.float64).reshape(-1, 4)
    latent = jax.tree.map(np.asarray, entered.aux["latent"])
    np.testing.assert_allclose(latent["mean"], z.mean(0), atol=1e-5)
    np.testing.assert_allclose(latent["scale"], z.std(0), rtol=1e-3)  # whitening = 1
    np.testing.assert_allclose(latent["energy"], 16 * z.var(0).sum(), rtol=1e-3)


@pytest.mark.parametrize("override, message", [
    ("generator.kind=mlp", r"generator\.kind = 'mlp'.*transformer"),
    ("autoencoder.kind=wavelet", r"autoencoder\.kind = 'wavelet'.*linear, refined, convolutional"),
    ("losses.penalty=none", r"losses\.penalty = 'none'.*gradient, finite_difference"),
    ("autoencoder.channels=(8, 8, 8, 8, 8)", r"data\.resolution = 16.*multiple of the 32"),
])
def test_what_does_not_fit_is_refused_by_name(override, message):
    with pytest.raises(UserError, match=message):
        systems.build(playing.config("latent_gan_256", "data.resolution=16", override), None)
