"""gan_vae: its losses against NumPy, whom each term moves, what it draws and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import playing
import pytest
import reference

from t2i_jax import keys, systems
from t2i_jax.errors import UserError
from t2i_jax.models.discriminators import ConvDiscriminator
from t2i_jax.models.encoders import ConvEncoder
from t2i_jax.models.generators import ConvGenerator
from t2i_jax.models.text import TextEncoder

WEIGHTS = ("losses.vae=0.03", "losses.decoder=0.7", "losses.kl=1.3", "losses.generated=0.4", "losses.discriminator=0.6",
           "losses.log_scale=-0.5", "text.depth=0")
CONFIG = playing.config("gan_vae", *WEIGHTS)


@pytest.fixture(scope="module")
def table():
    return playing.Table("gan_vae", *WEIGHTS)


@pytest.fixture(scope="module")
def shared():
    return playing.Table("gan_vae", *WEIGHTS, "shared=True", "losses.likelihood=laplace")


def outputs(table):
    """What the networks say of the batch, from the modules alone, in NumPy."""
    networks = {
        "text": TextEncoder(CONFIG.data.vocabulary, **CONFIG.text),
        "encoder": ConvEncoder(8, CONFIG.encoder.channels),
        "generator": ConvGenerator((16, 16, 3), CONFIG.generator.channels, batch_norm=False),
        "decoder": ConvGenerator((16, 16, 3), CONFIG.generator.channels, batch_norm=False),
        "discriminator": ConvDiscriminator(CONFIG.discriminator.channels, embedding=16),
    }

    @playing.quick
    def compute(params, batch, key):
        net = lambda name, *x: networks[name].apply({"params": params[name]}, *x)
        draw = lambda use: keys.normal(keys.named(keys.per_example(key, playing.BATCH), use), (8,))
        sentence = net("text", batch["tokens"], batch["mask"])[1]
        decode = lambda z: net("generator", z, sentence) if "decoder" not in params else net("decoder", z, None)
        made = net("generator", draw("noise"), sentence)
        mean, log_variance = net("encoder", batch["image"])
        made_mean, made_log_variance = net("encoder", made)
        return playing.judged(lambda *x: net("discriminator", *x), batch["image"], made, sentence) | {
            "made": made, "mean": mean, "log_variance": log_variance, "made_mean": made_mean,
            "made_log_variance": made_log_variance, "at_mean": decode(mean), "made_at_mean": decode(made_mean),
            "at_sample": decode(mean + jnp.exp(log_variance / 2) * draw("posterior")),
        }

    return playing.as_float64(compute(table.state.params, table.batch, table.state.key))


@pytest.fixture(scope="module")
def out(table):
    return outputs(table)


def expected_of_generator(table, out, surprise):
    losses, image = table.config.losses, np.asarray(table.batch["image"], np.float64)
    terms = reference.generator_terms(losses, out, table.batch)
    at_mean, at_sample = (surprise(image, out[name], -0.5) for name in ("at_mean", "at_sample"))
    kl = reference.kl(out["mean"], out["log_variance"])
    made_kl = reference.kl(out["made_mean"], out["made_log_variance"])
    terms |= {"at_mean": at_mean.mean(), "at_sample": at_sample.mean(), "kl": kl.mean(),
              "active": (out["mean"].var(0) > 0.01).mean()}
    terms["vae"] = terms["at_mean"] + 0.7 * terms["at_sample"] + 1.3 * terms["kl"]
    terms["generated"] = 0.03 * (surprise(out["made"], out["made_at_mean"], -0.5) + 1.3 * made_kl).mean()
    terms["total"] = terms["gan"] + 0.6 * terms["discriminator"] + 0.03 * terms["vae"]
    terms["loss"] = terms.pop("game") + 0.03 * terms["vae"] + 0.4 * terms["generated"]
    return terms


def test_discriminator_loss(table, out):
    _, terms = table.play("gan", "discriminator")
    own = table.state.params["discriminator"]
    reference.assert_terms(terms, reference.discriminator_terms(table.config.losses, out, table.batch, own))


def test_generator_loss_with_a_decoder_of_its_own(table, out):
    _, terms = table.play("gan", "generator")
    reference.assert_terms(terms, expected_of_generator(table, out, reference.gaussian))


def test_generator_loss_where_the_generator_decodes(shared):
    assert "decoder" not in shared.state.params
    _, terms = shared.play("gan", "generator")
    reference.assert_terms(terms, expected_of_generator(shared, outputs(shared), reference.laplace))


def test_each_turn_moves_its_players_alone(table, shared):
    table.assert_moves("gan", "discriminator", {"discriminator"})
    table.assert_moves("gan", "generator", {"generator", "text", "encoder", "decoder"})
    shared.assert_moves("gan", "generator", {"generator", "text", "encoder"})


def test_vae_terms_move_encoder_and_decoder_by_generated_pictures_the_generator_and_never_the_discriminator(table):
    phase = playing.phase_of(table.system, "gan", "generator")

    @playing.quick
    def slopes(state, batch):
        def term(params, name):
            return phase.loss(playing.turn_of(state, batch)._replace(params=params))[1][1][name]

        size = lambda name: {player: sum(jnp.abs(x).sum() for x in jax.tree.leaves(slope))
                             for player, slope in jax.grad(term)(state.params, name).items()}
        return {name: size(name) for name in ("vae", "generated")}

    moved = {name: {player for player, size in sizes.items() if size > 0}
             for name, sizes in slopes(table.state, table.batch).items()}
    assert moved == {"vae": {"encoder", "decoder"}, "generated": {"encoder", "decoder", "generator", "text"}}


def test_what_it_draws(table):
    generate = playing.quick(table.system.generate)
    text = {name: table.batch[name] for name in ("tokens", "mask")}
    draw = lambda seed, truncation, text=text: generate(
        table.state.params, {}, text, jax.random.split(jax.random.key(seed), playing.BATCH), jnp.float32(truncation))
    images = draw(0, 1)
    assert images.shape == (playing.BATCH, 16, 16, 3) and images.dtype == jnp.float32 and jnp.abs(images).max() <= 1
    np.testing.assert_array_equal(images, draw(0, 1))
    assert jnp.abs(images - draw(1, 1)).max() > 1e-2
    np.testing.assert_array_equal(draw(0, 0), draw(1, 0))
    assert jnp.abs(draw(0, 0) - draw(0, 0, jax.tree.map(lambda x: x[::-1], text))).max() > 1e-2  # captions speak


@pytest.mark.parametrize("override, message", [
    ("noise=0", "noise = 0 is impossible; accepted: 1 or more"),
    ("dtype=float16", "dtype = 'float16'.*float32, bfloat16"),
    ("data.resolution=30", "data.resolution = 30 is impossible; accepted: a multiple of 4"),
    ("text.heads=3", "text.heads = 3 is impossible; accepted: a divisor of text.width = 16"),
    ("generator.kind=mlp", "generator.kind = 'mlp' is impossible; accepted: dense, conv"),
    ("losses.likelihood=bernoulli", "losses.likelihood = 'bernoulli' is impossible; accepted: gaussian, laplace"),
    ("losses.adversarial=lsgan", "'lsgan'.*relativistic"),
    ("optimizers.generator.name=lion", "'lion'.*sgd, momentum, adam, adamw"),
])
def test_impossible_configs_are_refused_in_one_line(override, message):
    with pytest.raises(UserError, match=message) as error:
        playing.system("gan_vae", override)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("section", ["text", "encoder", "generator", "discriminator", "losses", "stages"])
def test_unknown_keys_are_refused_by_name(section):
    config = playing.config("gan_vae").copy_and_resolve_references()
    with config.unlocked():
        config[section].colour = 1
    with pytest.raises(UserError, match=rf"unknown key {section}\.colour; accepted here: \w+"):
        systems.build(config, None)
