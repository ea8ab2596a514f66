"""lm_gan: its stages, its losses against NumPy, whom each turn moves, killed and run again, judged by a card."""

import json

import jax
import killed
import numpy as np
import playing
import pytest
import reference
from running import CONFIGS, call, evaluate

from t2i_jax import config as configs
from t2i_jax import systems
from t2i_jax.commands import train
from t2i_jax.errors import UserError
from t2i_jax.models.discriminators import LatentDiscriminator
from t2i_jax.models.generators import AttendingGenerator
from t2i_jax.models.text.adapter import LanguageAdapter
from t2i_jax.paths import flat
from t2i_jax.pretrained import captions
from t2i_jax.pretrained.captions import CachedText, TunedText
from t2i_jax.pretrained.language import load_language_model
from t2i_jax.training.state import create

PROMPTS = ["red heart", "blue flag", "a cat", "woman on a house"]


@pytest.fixture(scope="module")
def table(tiny_bert):
    """`:tiny` with features of a language model as its captions, a non-saturating game."""
    text = CachedText(load_language_model(tiny_bert), "float32")
    at_once = [f"optimizers.{name}.warmup_images=0" for name in ("discriminator", "generator", "imitation")]
    table = playing.Table("lm_gan", "losses.adversarial=non_saturating", "losses.gamma=0.6", "text.stored=float32", *at_once,
                          tokenizer=text)
    table.batch |= text.arrays([PROMPTS[number % 4] for number in range(playing.BATCH)], 20)
    return table


@pytest.fixture(scope="module")
def out(table):
    """What the networks say of latents, and the latents, in NumPy; `made` are the generator's."""
    config = table.config
    settings = lambda section: {name: value for name, value in config[section].items() if name != "kind"}
    generator = AttendingGenerator(config.autoencoder.latent, **settings("generator"))
    discriminator = LatentDiscriminator(**settings("discriminator"))
    codec = table.system.codec

    @playing.quick
    def compute(params, aux, batch):
        words, sentence = LanguageAdapter(16).apply({"params": params["text"]["adapter"]}, batch["words"], batch["sentence"])
        made = generator.apply({"params": params["generator"]}, batch["noise"], words, batch["words_mask"], sentence)
        real = (codec.encode(params, aux, batch["image"]) - aux["latent"]["mean"][None]) / aux["latent"]["scale"][None]
        judge = lambda z, t: discriminator.apply({"params": params["discriminator"]}, z, t)
        return playing.judged(judge, real, made, sentence) | {"latents": real, "made": made}

    return playing.as_float64(compute(table.state.params, table.state.aux, table.batch))


def test_discriminator_loss_is_the_game_played_with_latents(table, out):
    _, terms = table.play("gan", "discriminator")
    losses = table.config.losses.copy_and_resolve_references().unlock()
    losses.update(l1=0.0)  # of parameters; the section's own is of reconstructions
    losses.gamma_fake, losses.l2 = 0.6, 0.0
    expected = reference.discriminator_terms(losses, out, table.batch, table.state.params["discriminator"])
    reference.assert_terms(terms, expected)


def test_generator_loss_adds_imitation_of_the_latents_that_noise_stands_for(table, out):
    _, terms = table.play("gan", "generator")
    squares = ((out["latents"] - out["made"]) * np.asarray(table.state.aux["latent"]["scale"])) ** 2
    imitation = squares.sum(1).mean() / float(table.state.aux["latent"]["energy"])
    expected = reference.generator_terms(table.config.losses, out, table.batch)
    expected |= {"imitation": imitation, "loss": expected.pop("game") + 10 * imitation}
    reference.assert_terms(terms, expected)
    _, terms = table.play("imitation", "imitation")
    np.testing.assert_allclose(terms["loss"], imitation, rtol=1e-4)


def test_each_turn_moves_its_players_alone(table):
    table.assert_moves("gan", "discriminator", {"discriminator"})
    table.assert_moves("gan", "generator", {"generator", "text"})
    table.assert_moves("imitation", "imitation", {"generator", "text"})


def built(tiny_bert, *overrides, kind="cached", layers=0):
    config = playing.config("lm_gan").copy_and_resolve_references().unlock()
    config.text.update(kind=kind, tuned_layers=layers)
    if kind == "tuned":
        config.optimizers.text = config.optimizers.generator
    for override in overrides:
        configs.apply_override(config, f"--config.{override}")
    model = load_language_model(tiny_bert)
    return systems.build(config, CachedText(model, "float16") if kind == "cached" else TunedText(model))


def test_stages_of_no_images_are_absent_and_the_autoencoder_is_frozen_before_the_first_other(tiny_bert):
    names = lambda system: [stage.name for stage in system.stages]
    assert names(built(tiny_bert)) == ["autoencoder", "imitation", "gan"]
    alone = built(tiny_bert, "stages.imitation=0", "stages.gan=0")
    assert names(alone) == ["autoencoder"] and "start" in alone.stages[0].enter.__qualname__
    late = built(tiny_bert, "stages.autoencoder=0", "stages.imitation=0")
    assert names(late) == ["gan"] and "freeze" in late.stages[0].enter.__qualname__


def test_the_last_stage_tunes_the_language_model_and_nothing_else_of_the_generators_side(tiny_bert):
    system = built(tiny_bert, "stages.text=128", kind="tuned", layers=1)
    state = jax.eval_shape(lambda: create(system, jax.random.key(0)))
    paths = {stage.name: {path for phase in stage.phases if phase.name != "discriminator"
                          for path in flat(state.params) if phase.trains(path)} for stage in system.stages}
    assert all(path.startswith("text/model/block_1/") for path in paths["text"]) and len(paths["text"]) > 5
    assert not any(path.startswith("text/model/") for path in paths["gan"] | paths["imitation"])
    assert any(path.startswith("text/adapter/") for path in paths["gan"])
    assert system.stages[-1].phases[-1].optimizer == "text"
    throughout = built(tiny_bert, kind="tuned", layers=1)  # without that stage the layers move with the generator
    assert any(throughout.stages[-1].phases[-1].trains(path) for path in paths["text"])
    with pytest.raises(UserError, match="stages.text = 128 is impossible; accepted: 0, for no layer of a language model"):
        built(tiny_bert, "stages.text=128")


@pytest.mark.parametrize("argument", ["", ":small", ":pod", ":own", ":tiny"])
def test_its_configs_fit_together(argument, tiny_bert):
    config = configs.load(f"{CONFIGS / 'lm_gan.py'}{argument}").copy_and_resolve_references().unlock()
    if argument != ":own":
        config.text.encoder = str(tiny_bert)  # in place of those that are larger or elsewhere
    train.check(config)
    stages = [stage.name for stage in systems.build(config, captions.opened(config)).stages]
    assert stages == ["autoencoder", "imitation", "gan", *(["text"] if argument == "" else [])]


def test_it_trains_through_all_stages(lm_run):
    lines = [json.loads(line) for line in (lm_run / "metrics.jsonl").read_text().splitlines()]
    assert list(dict.fromkeys(line["stage"] for line in lines)) == ["autoencoder", "imitation", "gan"]
    assert lines[-1]["images"] == 384 and (lm_run / "samples").is_dir()


def test_killed_and_run_again_it_ends_in_the_same_bits(lm_run, tiny_bert, tmp_path):
    killed.dies_and_ends_in_the_same_bits(f"{CONFIGS / 'lm_gan.py'}:tiny", lm_run, tmp_path / "run", f"text.encoder={tiny_bert}")


def test_its_card_is_made_by_an_evaluator_with_its_own_tokens(lm_run, tiny_evaluator, tmp_path):
    assert evaluate("--workdir", lm_run, "--evaluator", tiny_evaluator, "--num", 8, "--split", "train", "--out", tmp_path) == 0
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["groups"]["train"] == 8


def test_the_dry_run_counts_features_of_the_language_model(tiny_bert, capsys):
    arguments = ("train", "--config", f"{CONFIGS / 'lm_gan.py'}:tiny", "--dry-run", f"--config.text.encoder={tiny_bert}",
                 "--config.stages.gan=0", "--config.stages.autoencoder=0")
    assert call(*arguments) == 0
    printed = capsys.readouterr().out
    assert "imitation: 128 images" in printed and "  gan:" not in printed
