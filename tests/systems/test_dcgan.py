"""dcgan: its losses against NumPy, whom each turn moves, running statistics, what it draws and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import playing
import pytest
import reference

from t2i_jax import keys, systems
from t2i_jax.errors import UserError
from t2i_jax.models.discriminators import ConvDiscriminator
from t2i_jax.models.generators import ConvGenerator
from t2i_jax.models.text import TextEncoder
from t2i_jax.paths import flat
from t2i_jax.training.state import create

WEIGHTS = ("losses.generator=0.7", "losses.augment=0.0", "losses.l1=0.0003", "losses.l2=0.0002", "text.depth=0")
CONFIG = playing.config("dcgan", *WEIGHTS)


@pytest.fixture(scope="module")
def table():
    return playing.Table("dcgan", *WEIGHTS)


@pytest.fixture(scope="module")
def out(table):
    """What the networks say of the batch in training, from the modules alone, in NumPy; "moved" are statistics."""
    text = TextEncoder(CONFIG.data.vocabulary, **CONFIG.text)
    generator = ConvGenerator((16, 16, 3), CONFIG.generator.channels)
    discriminator = ConvDiscriminator(CONFIG.discriminator.channels, embedding=16)

    @playing.quick
    def compute(params, aux, batch, key):
        sentence = text.apply({"params": params["text"]}, batch["tokens"], batch["mask"])[1]
        z = keys.normal(keys.named(keys.per_example(key, playing.BATCH), "noise"), (8,))
        variables = {"params": params["generator"], "batch_stats": aux["generator"]}
        made, moved = generator.apply(variables, z, sentence, train=True, mutable=["batch_stats"])
        judge = lambda *x: discriminator.apply({"params": params["discriminator"]}, *x)
        return playing.judged(judge, batch["image"], made, sentence) | {"moved": moved["batch_stats"]}

    return playing.as_float64(compute(table.state.params, table.state.aux, table.batch, table.state.key))


def test_discriminator_loss(table, out):
    _, terms = table.play("gan", "discriminator")
    own = table.state.params["discriminator"]
    expected = reference.discriminator_terms(table.config.losses, out, table.batch, own)
    assert expected["l1"] * 0.0003 > 1e-3 < expected["l2"] * 0.0002  # the sums are seen in the loss
    reference.assert_terms(terms, expected)


def test_generator_loss_and_the_reported_total(table, out):
    _, terms = table.play("gan", "generator")
    expected = reference.generator_terms(table.config.losses, out, table.batch)
    expected |= {"loss": expected.pop("game"), "total": expected["discriminator"] + 0.7 * expected["gan"]}
    reference.assert_terms(terms, expected)


def test_each_turn_moves_its_players_alone_and_the_generators_its_running_statistics(table, out):
    table.assert_moves("gan", "discriminator", {"discriminator"})
    table.assert_moves("gan", "generator", {"generator", "text"}, aux=("generator",))
    after, _ = table.play("gan", "generator")
    found, expected = flat(after.aux["generator"]), flat(out["moved"])
    assert found.keys() == expected.keys() and len(found) == 4  # mean and variance of two layers
    for path in found:
        np.testing.assert_allclose(found[path], expected[path], rtol=1e-4, atol=1e-6, err_msg=path)


def test_statistics_are_averaged_with_the_weights_they_belong_to(table):
    assert flat(table.state.ema["aux"]).keys() == flat(table.state.aux).keys()
    assert {path.split("/")[0] for path in flat(table.state.ema["params"])} == {"generator", "text"}


def test_a_generator_without_normalization_has_no_statistics():
    system = playing.system("dcgan", "generator.batch_norm=False")
    state = jax.eval_shape(lambda: create(system, jax.random.key(0)))
    assert state.aux == {"generator": {}}
    batch = playing.batch_of(CONFIG)
    (stage,) = system.stages
    for phase in stage.phases:
        turn = lambda state, batch: playing.turn_of(state, batch, stage=stage)
        _, (aux, _) = jax.eval_shape(lambda state, batch: phase.loss(turn(state, batch)), state, batch)
        assert not flat(aux)


def test_it_draws_by_running_statistics_each_picture_by_itself(table):
    generate = playing.quick(table.system.generate)
    text = {name: table.batch[name] for name in ("tokens", "mask")}

    def draw(seed, truncation, text=text, aux=table.state.aux):
        return generate(table.state.params, aux, text, jax.random.split(jax.random.key(seed), playing.BATCH),
                        jnp.float32(truncation))

    images = draw(0, 1)
    assert images.shape == (playing.BATCH, 16, 16, 3) and images.dtype == jnp.float32 and jnp.abs(images).max() <= 1
    np.testing.assert_array_equal(images, draw(0, 1))
    assert jnp.abs(images - draw(1, 1)).max() > 1e-2
    np.testing.assert_array_equal(draw(0, 0), draw(1, 0))
    other = {"tokens": text["tokens"].at[1:].set(text["tokens"][::-1][:-1]), "mask": text["mask"].at[1:].set(True)}
    beside = draw(0, 1, other)
    np.testing.assert_allclose(beside[0], images[0], atol=1e-6)
    assert jnp.abs(beside[1:] - images[1:]).max() > 1e-2
    assert jnp.abs(images - draw(0, 1, aux=jax.tree.map(lambda x: x + 1, table.state.aux))).max() > 1e-2


@pytest.mark.parametrize("override, message", [
    ("noise=0", "noise = 0 is impossible; accepted: 1 or more"),
    ("data.resolution=18", "data.resolution = 18 is impossible; accepted: a multiple of 4"),
    ("text.heads=3", "text.heads = 3 is impossible; accepted: a divisor of text.width = 16"),
    ("discriminator.kind=patch", "discriminator.kind = 'patch' is impossible; accepted: dense, conv"),
    ("turns.generator=0", "turns.generator = 0 is impossible; accepted: 1 or more"),
    ("optimizers.discriminator.weight_decay=0.1", "'adamw' only"),
])
def test_impossible_configs_are_refused_in_one_line(override, message):
    with pytest.raises(UserError, match=message) as error:
        playing.system("dcgan", override)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("section", ["text", "generator", "discriminator", "losses", "turns", "stages"])
def test_unknown_keys_are_refused_by_name(section):
    config = playing.config("dcgan").copy_and_resolve_references()
    with config.unlocked():
        config[section].colour = 1
    with pytest.raises(UserError, match=rf"unknown key {section}\.colour; accepted here: \w+"):
        systems.build(config, None)
