"""conv_codec: the losses of its three stages against NumPy, whom each turn moves, what it draws and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import playing
import pytest
import reference

from t2i_jax import keys, systems
from t2i_jax.errors import UserError
from t2i_jax.models.discriminators import ConvDiscriminator
from t2i_jax.models.encoders import ConvEmbedder
from t2i_jax.models.generators import TextCodec
from t2i_jax.models.text import TextEncoder
from t2i_jax.objectives.augment import augment
from t2i_jax.systems import _correspondence

WEIGHTS = ("losses.content=0.6", "losses.content_temperature=0.2", "text.depth=0")
CONFIG = playing.config("conv_codec", *WEIGHTS)
VIEWS = ("brightness", "saturation", "contrast", "translation", "cutout")


@pytest.fixture(scope="module")
def table():
    return playing.Table("conv_codec", *WEIGHTS)


@pytest.fixture(scope="module")
def out(table):
    """What the networks say of the batch, from the modules alone, in NumPy."""
    networks = {
        "text": TextEncoder(CONFIG.data.vocabulary, **CONFIG.text),
        "embedder": ConvEmbedder(**CONFIG.embedder),
        "generator": TextCodec((16, 16, 3), **CONFIG.generator),
        "discriminator": ConvDiscriminator(**CONFIG.discriminator, classes=2),
    }

    @playing.quick
    def compute(params, batch, key):
        net = lambda name, *x: networks[name].apply({"params": params[name]}, *x)
        example_keys = keys.per_example(key, playing.BATCH)
        sentence = net("text", batch["tokens"], batch["mask"])[1]
        made = net("generator", keys.normal(keys.named(example_keys, "noise"), (8,)), sentence)
        projection = params["projection"]
        view = lambda use, policy, strength: augment(batch["image"], keys.named(example_keys, use), policy, strength)
        classes = lambda images: net("discriminator", images, sentence)[0]

        def judge(images, sentence):
            logits, seen, said = net("discriminator", images, sentence)
            return logits[:, 1] - logits[:, 0], seen, said

        return playing.judged(judge, batch["image"], made, sentence) | {
            "real_classes": classes(batch["image"]), "fake_classes": classes(made),
            "first": net("embedder", view("first view", VIEWS, 0.8)),
            "second": net("embedder", view("second view", VIEWS, 0.8)),
            "viewed": net("embedder", view("view", ("translation", "cutout"), 0.5)),
            "drawn": net("embedder", made),
            "projected": sentence @ projection["kernel"] + projection["bias"][None],
        }

    return playing.as_float64(compute(table.state.params, table.batch, table.state.key))


def test_losses_of_the_stages_before_the_game(table, out):
    _, terms = table.play("features", "features")
    alone = np.eye(playing.BATCH, dtype=bool)
    reference.assert_terms(terms, {"loss": reference.info_nce(out["first"], out["second"], alone, 0.2)})
    _, terms = table.play("correspondence", "correspondence")
    right = reference.right_pairs(table.batch)
    assert playing.BATCH < right.sum()
    reference.assert_terms(terms, {"loss": reference.info_nce(out["viewed"], out["projected"], right, 0.2)})


def test_discriminator_loss(table, out):
    _, terms = table.play("gan", "discriminator")
    own = table.state.params["discriminator"]
    reference.assert_terms(terms, reference.discriminator_terms(table.config.losses, out, table.batch, own))


def test_the_discriminator_is_a_softmax_of_two_classes(table, out):
    def probability(classes):
        """Of "real": the second."""
        return np.exp(classes[:, 1]) / np.exp(classes).sum(1)

    sigmoid = lambda x: 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(probability(out["real_classes"]), sigmoid(out["real"]), rtol=1e-5)
    real, fake = (probability(out[name]) for name in ("real_classes", "fake_classes"))
    _, terms = table.play("gan", "generator")
    reference.assert_terms(terms, {"gan": -np.log(fake).mean(),
                                   "discriminator": -np.log(real).mean() - np.log(1 - fake).mean()})


def test_generator_loss(table, out):
    _, terms = table.play("gan", "generator")
    expected = reference.generator_terms(table.config.losses, out, table.batch)
    right = reference.right_pairs(table.batch)
    expected["content"] = reference.info_nce(out["drawn"], out["projected"], right | right.T, 0.2)
    expected["loss"] = expected.pop("game") + 0.6 * expected["content"]
    reference.assert_terms(terms, expected)


def test_content_as_mean_square_of_unit_vectors(table, out):
    system = playing.system("conv_codec", *WEIGHTS, "losses.content_kind=mse")
    phase = playing.phase_of(system, "gan", "generator")
    content = playing.quick(lambda state, batch: phase.loss(playing.turn_of(state, batch))[1][1]["content"])
    expected = ((reference.unit(out["projected"]) - reference.unit(out["drawn"])) ** 2).sum(1).mean()
    np.testing.assert_allclose(content(table.state, table.batch), expected, rtol=1e-5)


def test_each_turn_moves_its_players_alone_and_the_game_neither_text_nor_embeddings(table):
    table.assert_moves("features", "features", {"embedder"})
    table.assert_moves("correspondence", "correspondence", {"embedder", "text", "projection"})
    table.assert_moves("gan", "discriminator", {"discriminator"})
    table.assert_moves("gan", "generator", {"generator"})
    assert [stage.name for stage in table.system.stages] == ["features", "correspondence", "gan"]
    assert _correspondence.VIEWS == VIEWS


@pytest.mark.parametrize("preset", ["", ":small", ":dense"])
def test_presets_are_of_a_size_to_be_trained(preset):
    system = playing.system(f"conv_codec.py{preset}")
    params = jax.eval_shape(lambda: system.init(jax.random.key(0)))[0]
    assert sum(x.size for x in jax.tree.leaves(params)) < 1e8


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
    ("data.resolution=18", "data.resolution = 18 is impossible; accepted: a multiple of 4"),
    ("text.heads=3", "text.heads = 3 is impossible; accepted: a divisor of text.width = 16"),
    ("generator.side=1", "generator.side = 1 is impossible; accepted: a multiple of 2"),
    ("losses.content_kind=cosine", "losses.content_kind = 'cosine' is impossible; accepted: mse, info_nce"),
    ("optimizers.features.decay=linear", "'linear'.*constant, cosine"),
])
def test_impossible_configs_are_refused_in_one_line(override, message):
    with pytest.raises(UserError, match=message) as error:
        playing.system("conv_codec", override)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("section", ["text", "embedder", "generator", "discriminator", "losses", "stages"])
def test_unknown_keys_are_refused_by_name(section):
    config = playing.config("conv_codec").copy_and_resolve_references()
    with config.unlocked():
        config[section].colour = 1
    with pytest.raises(UserError, match=rf"unknown key {section}\.colour; accepted here: \w+"):
        systems.build(config, None)
