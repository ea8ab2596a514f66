"""token_transformer: its losses against NumPy, whom each turn moves, drawing, killed runs, and what it refuses."""

import dataclasses

import jax
import jax.numpy as jnp
import killed
import numpy as np
import playing
import pytest
import reference
from PIL import Image
from running import CONFIGS, call

from t2i_jax import config as configs
from t2i_jax import keys, load
from t2i_jax.commands.train import check
from t2i_jax.errors import UserError
from t2i_jax.models.discriminators import ConvDiscriminator
from t2i_jax.models.encoders import ConvEmbedder
from t2i_jax.models.patches import PatchAutoencoder
from t2i_jax.models.quantization import start_codebook
from t2i_jax.models.text import TextEncoder
from t2i_jax.models.token_transformers import TokenTransformer
from t2i_jax.objectives.augment import augment, cut_mix, mirror
from t2i_jax.paths import flat
from t2i_jax.training.state import create

NAME = "token_transformer"
TINY = f"{CONFIGS / NAME}.py:tiny"
PLACES, CODES = 16, 32
STAGES = {"tokenizer": ["tokenizer"], "correspondence": ["correspondence"], "likelihood": ["likelihood"],
          "gan": ["discriminator", "generator"]}
PLAYERS = [player for players in STAGES.values() for player in players]
WEIGHTS = ("losses.content=0.3", "losses.likelihood=0.7", "losses.matching=True", "losses.contrastive=0.5",
           *(f"optimizers.{player}.warmup_images=0" for player in PLAYERS))


def table_of(*overrides):
    table = playing.Table(NAME, *WEIGHTS, *overrides)
    vectors = jnp.asarray(np.random.default_rng(0).normal(size=(CODES, 8)), jnp.float32)
    table.state = dataclasses.replace(table.state, aux={"codebook": start_codebook(vectors)})
    return table


@pytest.fixture(scope="module")
def table():
    return table_of()


@pytest.fixture(scope="module")
def out(table):
    """What the networks say of the batch, from the modules alone, in NumPy."""
    config = table.config
    networks = {
        "tokenizer": PatchAutoencoder((16, 16, 3), **config.tokenizer),
        "text": TextEncoder(config.data.vocabulary, **config.text),
        "embedder": ConvEmbedder(**config.embedder),
        "generator": TokenTransformer(CODES, PLACES, **config.generator),
        "discriminator": ConvDiscriminator(**config.discriminator),
    }

    @playing.quick
    def compute(params, codebook, batch, key):
        net = lambda name, *x, **options: networks[name].apply({"params": params[name]}, *x, **options)
        example_keys = keys.per_example(key, playing.BATCH)
        nearest = lambda z: jnp.argmin(((z[:, :, None] - codebook[None, None]) ** 2).sum(-1), -1)
        decode = lambda tokens: net("tokenizer", codebook[tokens], method="decode")

        images = mirror(batch["image"], keys.named(example_keys, "mirror"))
        images = cut_mix(images, keys.named(example_keys, "cut mix"), 0.5)
        encoded = net("tokenizer", images, method="encode")
        features, sentence = net("text", batch["tokens"], batch["mask"])
        view = augment(batch["image"], keys.named(example_keys, "view"), ("translation", "cutout"), 0.5)
        tokens = nearest(net("tokenizer", batch["image"], method="encode"))
        logits = net("generator", tokens, features, batch["mask"], sentence)
        gumbel = jax.vmap(lambda key: jax.random.gumbel(key, (PLACES, CODES)))(keys.named(example_keys, "tokens"))
        made = decode(jnp.argmax(logits + gumbel, -1))
        judge = lambda images, sentence: net("discriminator", images, sentence)
        return playing.judged(judge, jnp.clip(decode(tokens), -1, 1), made, sentence) | {
            "images": images, "encoded": encoded, "chosen": nearest(encoded), "restored": decode(nearest(encoded)),
            "viewed": net("embedder", view), "drawn": net("embedder", made), "tokens": tokens, "logits": logits,
            "projected": sentence @ params["projection"]["kernel"] + params["projection"]["bias"][None],
        }

    state = table.state
    return playing.as_float64(compute(state.params, state.aux["codebook"]["vectors"], table.batch, state.key))


def nll(out):
    logarithms = out["logits"] - np.log(np.exp(out["logits"]).sum(-1, keepdims=True))
    return -np.take_along_axis(logarithms, out["tokens"].astype(int)[..., None], -1).mean()


def test_tokenizer_loss_and_the_codebook_that_follows(table, out):
    after, terms = table.play("tokenizer", "tokenizer")
    vectors, chosen = np.asarray(table.state.aux["codebook"]["vectors"], np.float64), out["chosen"].astype(int)
    error = np.clip(out["restored"], -1, 1) - out["images"]
    square, absolute = (error**2).mean(), (np.sqrt(error**2 + 1 / 127.5**2) - 1 / 127.5).mean()
    commitment = ((out["encoded"] - vectors[chosen]) ** 2).mean()
    counts = np.bincount(chosen.ravel(), minlength=CODES)
    share = counts[counts > 0] / chosen.size
    reference.assert_terms(terms, {
        "mean_square": square, "absolute": absolute, "commitment": commitment,
        "loss": square + 0.1 * absolute + 0.25 * commitment, "used": (counts > 0).mean(),
        "perplexity": np.exp(-(share * np.log(share)).sum()) / CODES,
    })
    sums = np.stack([out["encoded"][chosen == code].sum(0) for code in range(CODES)])
    even = chosen.size / CODES
    expected = (0.99 * vectors + 0.01 * sums / even) / (0.99 + 0.01 * counts / even)[:, None]
    assert (counts > 0).sum() > 3
    np.testing.assert_allclose(after.aux["codebook"]["vectors"], expected, rtol=1e-4, atol=1e-5)


def test_losses_between_the_tokenizer_and_the_game(table, out):
    _, terms = table.play("correspondence", "correspondence")
    right = reference.right_pairs(table.batch)
    reference.assert_terms(terms, {"loss": reference.info_nce(out["viewed"], out["projected"], right)})
    _, terms = table.play("likelihood", "likelihood")
    reference.assert_terms(terms, {"loss": nll(out)})


def test_discriminator_loss_on_real_images_as_tokens_give_them_back(table, out):
    _, terms = table.play("gan", "discriminator")
    own = table.state.params["discriminator"]
    reference.assert_terms(terms, reference.discriminator_terms(table.config.losses, out, table.batch, own), rtol=1e-4)


def test_generator_loss(table, out):
    _, terms = table.play("gan", "generator")
    right = reference.right_pairs(table.batch)
    content = reference.info_nce(out["drawn"], out["projected"], right | right.T)
    expected = reference.generator_terms(table.config.losses, out, table.batch)
    loss = expected.pop("game") + 0.3 * content + 0.7 * nll(out)
    reference.assert_terms(terms, expected | {"content": content, "nll": nll(out), "loss": loss}, rtol=1e-4)


def test_pairs_of_real_and_generated_and_squared_content_and_the_discriminator_alone_moves_the_transformer(out):
    options = ("losses.adversarial=relativistic", "losses.content_kind=mse", "losses.content=0.0", "losses.likelihood=0.0",
               "losses.contrastive=0.0")
    other = table_of(*options)
    _, terms = other.play("gan", "generator")
    apart = reference.unit(out["drawn"]) - reference.unit(out["projected"])
    gan = reference.softplus(out["real"] - out["fake"])
    reference.assert_terms(terms, {"gan": gan, "content": (apart**2).sum(1).mean(), "loss": gan}, rtol=1e-4)
    other.assert_moves("gan", "generator", {"generator"})


@pytest.mark.parametrize("stage, name", [(stage, name) for stage, names in STAGES.items() for name in names])
def test_each_turn_moves_its_players_alone(table, stage, name):
    moved = {"likelihood": {"generator"}, "correspondence": {"embedder", "text", "projection"}}.get(name, {name})
    if stage == "tokenizer":  # an aux entry besides, of which each vector may stay
        after, _ = table.play(stage, name)
        assert set(after.aux) == {"codebook"} and playing.phase_of(table.system, stage, name).writes == ("codebook",)
        changed = {path.split("/")[0] for path, x in flat(after.params).items()
                   if not np.array_equal(x, flat(table.state.params)[path])}
        assert changed == moved
    else:
        table.assert_moves(stage, name, moved)


def test_the_codec_quantises(table):
    codec, state = table.system.codec, table.state
    latents = codec.encode(state.params, state.aux, table.batch["image"])
    assert latents.shape == (playing.BATCH, codec.size) and codec.size == PLACES * 8
    vectors = np.asarray(state.aux["codebook"]["vectors"])
    apart = np.abs(np.asarray(latents).reshape(-1, 1, 8) - vectors[None]).max(-1).min(1)
    np.testing.assert_array_equal(apart, 0)
    images = codec.decode(state.params, state.aux, latents)
    assert images.shape == table.batch["image"].shape and np.abs(images).max() <= 1


def test_drawing_depends_on_key_and_caption_and_at_temperature_0_on_the_caption_alone(table):
    text = {name: table.batch[name] for name in ("tokens", "mask")}
    generate = jax.jit(table.system.generate, static_argnames="top_k")

    def draw(seed, temperature, top_k=0):
        example_keys = jax.random.split(jax.random.key(seed), playing.BATCH)
        return np.asarray(generate(table.state.params, table.state.aux, text, example_keys,
                                   temperature=jnp.float32(temperature), top_k=top_k, top_p=jnp.float32(1)))

    pictures, cold = draw(0, 1), draw(0, 0)
    assert pictures.shape == (playing.BATCH, 16, 16, 3) and pictures.dtype == np.float32 and np.abs(pictures).max() <= 1
    np.testing.assert_array_equal(pictures, draw(0, 1))
    assert np.abs(pictures - draw(1, 1)).max() > 1e-3
    np.testing.assert_array_equal(cold, draw(1, 0))
    assert np.ptp(cold, axis=0).max() > 1e-3  # captions still speak
    np.testing.assert_allclose(draw(0, 1, top_k=1), cold, atol=1e-5)


def test_pixels_themselves_are_tokens_of_the_preset():
    """No tokenizer is trained; the codebook is fitted as the next stage begins, and pictures of its levels come back."""
    system = playing.system(f"{NAME}.py:pixel")
    assert [stage.name for stage in system.stages] == ["correspondence", "likelihood", "gan"]
    state = playing.quick(lambda key: create(system, key))(jax.random.key(0))
    assert "tokenizer" not in state.params and system.codec.size == 64
    levels = np.linspace(-1, 1, 17).astype(np.float32)
    images = jnp.asarray(levels[np.random.default_rng(0).integers(0, 17, (64, 8, 8, 1))])
    entered = jax.jit(system.stages[0].enter)(state, {"image": images})
    np.testing.assert_allclose(np.sort(entered.aux["codebook"]["vectors"][:, 0]), levels, atol=1e-5)
    latents = system.codec.encode(entered.params, entered.aux, images)
    np.testing.assert_allclose(system.codec.decode(entered.params, entered.aux, latents), images, atol=1e-5)


def test_the_tokenizer_starts_as_pca_and_its_codebook_at_its_latents(table):
    sample = playing.batch_of(table.config, 64)
    fresh = playing.quick(lambda key: create(table.system, key))(jax.random.key(0))
    entered = jax.jit(table.system.stages[0].enter)(fresh, sample)
    error = lambda state: float(jnp.mean((table.system.codec.decode(
        state.params, state.aux, table.system.codec.encode(state.params, state.aux, sample["image"])) - sample["image"]) ** 2))
    assert error(entered) < 0.5 * float(sample["image"].var()) < error(fresh)
    others = lambda state: {name: x for name, x in state.params.items() if name != "tokenizer"}
    jax.tree.map(np.testing.assert_array_equal, others(entered), others(fresh))


@pytest.mark.parametrize("overrides, message", [
    (["tokenizer.patch=3"], r"tokenizer\.patch = 3.*divisor of data.resolution = 16"),
    (["tokenizer.learnt=False"], r"tokenizer\.latent = 8.*= 48 where tokenizer.learnt is false"),
    (["tokenizer.learnt=False", "tokenizer.latent=48"], r"stages\.tokenizer = 256.*0 where tokenizer.learnt is false"),
    (["codebook.size=1"], r"codebook\.size = 1.*2 or more"),
    (["codebook.decay=1.0"], r"codebook\.decay = 1\.0"),
    (["generator.heads=3"], r"generator\.heads = 3.*divisor of generator.width = 16"),
    (["text.heads=3"], r"text\.heads = 3.*divisor of text.width = 16"),
    (["losses.content_kind=cosine"], r"losses\.content_kind = 'cosine'.*mse, info_nce"),
    (["losses.relaxation=0.0"], r"losses\.relaxation = 0\.0.*more than 0"),
    (["losses.adversarial=lsgan"], "adversarial.*'lsgan'"),
])
def test_impossible_values_are_refused_by_name(overrides, message):
    with pytest.raises(UserError, match=message) as refused:
        playing.system(NAME, *overrides)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("arg", ["", "small", "pixel"])
def test_every_preset_can_be_trained(arg):
    check(configs.load(f"{CONFIGS / NAME}.py:{arg}"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / NAME
    killed.train(TINY, workdir)
    return workdir


def test_killed_and_run_again_it_ends_in_the_same_bits(run, tmp_path):
    killed.dies_and_ends_in_the_same_bits(TINY, run, tmp_path / "run")


def test_samples_from_the_command_line_chinese_prompts_included(run, tmp_path, capsys):
    prompt, out = "一只猫在草地上玩耍", tmp_path / "cat.png"
    sample = lambda *more: call("sample", "--workdir", run, "--prompt", prompt, "--out", out, *more)
    assert sample("--temperature", 0.8, "--top-k", 8, "--top-p", 0.9) == 0
    picture, model = Image.open(out), load(run)
    assert picture.size == (16, 16) and picture.text["prompt"] == prompt
    assert (picture.text["temperature"], picture.text["top_k"], picture.text["top_p"]) == ("0.8", "8", "0.9")
    again = model(prompt, temperature=0.8, top_k=8, top_p=0.9)[0]
    assert np.array_equal(np.asarray(picture), np.asarray(again))
    assert not np.array_equal(np.asarray(again), np.asarray(model(prompt, seed=1)[0]))
    assert sample("--truncation", 0.5) == 2
    assert "has no option 'truncation'; it has: temperature, top_k, top_p" in capsys.readouterr().err
