"""How systems read captions: by an encoder of their own, a frozen language model's features, a tuned language model."""

import jax
import numpy as np
import playing
import pytest
from ml_collections import ConfigDict

from t2i_jax import config as configs
from t2i_jax import systems
from t2i_jax.errors import UserError
from t2i_jax.paths import flat
from t2i_jax.pretrained import captions
from t2i_jax.pretrained.captions import CachedText, TunedText
from t2i_jax.pretrained.language import load_language_model
from t2i_jax.systems import _reading
from t2i_jax.training import alternate
from t2i_jax.training.state import create

PROMPTS = ["a red heart", "blue flag", "a woman with a white cat on the house"]


@pytest.fixture(scope="module")
def language_model(tiny_bert):
    return load_language_model(tiny_bert)


def config_of(kind, name="latent_gan", **more):
    config = playing.config(name).copy_and_resolve_references().unlock()
    if kind != "own":
        config.text = ConfigDict({"kind": kind, "encoder": "toy", "width": 12} | more)
    if kind == "tuned":
        config.optimizers.text = config.optimizers.generator
    return config


@pytest.fixture(scope="module")
def readers(language_model):
    """{kind: (reader, parameters of all players, text object)}"""
    cached, tuned = CachedText(language_model, "float16"), TunedText(language_model)
    found = {}
    for kind, text in (("cached", cached), ("tuned", tuned)):
        reader = _reading.build(config_of(kind, **({"tuned_layers": 1} if kind == "tuned" else {})), text)
        found[kind] = reader, {"text": reader.init(jax.random.key(0))}, text
    return found


def test_frozen_features_and_the_model_in_the_graph_say_the_same(readers):
    read = {}
    for kind, (reader, params, text) in readers.items():
        params = {"text": params["text"] | {"adapter": readers["cached"][1]["text"]["adapter"]}}
        batch = text.arrays(PROMPTS, 20)
        for name, entry in reader.entries.items():
            assert batch[name].shape[1:] == entry.shape and batch[name].dtype == entry.dtype
        read[kind] = reader.read(params, batch)
        assert reader.width == 12 == read[kind].sentence.shape[-1] == read[kind].words.shape[-1]
    np.testing.assert_array_equal(read["cached"].mask, read["tuned"].mask)
    seen = np.asarray(read["cached"].mask)
    np.testing.assert_allclose(read["cached"].sentence, read["tuned"].sentence, atol=5e-3)  # float16 is stored
    np.testing.assert_allclose(np.asarray(read["cached"].words)[seen], np.asarray(read["tuned"].words)[seen], atol=5e-3)


def test_mixed_prompts_add_up(readers):
    reader, params, text = readers["cached"]
    batch = text.arrays([*PROMPTS[:2], *PROMPTS[1:]], 20)
    pairs = {name: entry.reshape(2, 2, *entry.shape[1:]) for name, entry in batch.items()}
    shares = np.array([[1.5, -0.5], [0.25, 0.75]], np.float32)
    mixed, apart = reader.read(params, pairs | {"blend": shares}), reader.read(params, batch)
    sentence = np.asarray(apart.sentence).reshape(2, 2, -1)
    np.testing.assert_allclose(mixed.sentence, np.einsum("bk,bkd->bd", shares, sentence), atol=1e-5)
    weights = np.asarray(mixed.mask).reshape(2, 2, 20)
    mask = np.asarray(apart.mask).reshape(2, 2, 20)
    np.testing.assert_allclose(weights[0], mask[0] * np.array([[1.0], [0.0]]))
    np.testing.assert_allclose(weights[1], mask[1] * np.array([[0.25], [0.75]]))
    assert mixed.words.shape == (2, 40, 12)


@pytest.mark.parametrize("name", [name for name in systems.names() if name != "contrastive"])
@pytest.mark.parametrize("kind", ["cached", "tuned"])
def test_every_system_can_be_read_to_by_a_language_model(name, kind, language_model):
    """Its state has the players it needs, and each phase of each stage steps."""
    more = {"tuned_layers": 1} if kind == "tuned" else {}
    config = config_of(kind, name, **more)
    text = CachedText(language_model, "float16") if kind == "cached" else TunedText(language_model)
    system = systems.build(config, text)
    state = jax.eval_shape(lambda key: create(system, key), jax.random.key(0))
    entries = text.arrays(["a red heart"] * 16, config.data.text_length)
    batch = {name: x for name, x in playing.batch_of(config).items() if name not in ("tokens", "mask")} | entries
    said = entries | {f"whole_{name}": entry for name, entry in entries.items()}
    batch |= said
    if config.data.get("choices", 0):
        batch |= {f"choice_{name}": np.stack([entry] * config.data.choices, axis=1) for name, entry in said.items()}
    if "noise" in config.data:
        batch["noise"] = batch["noise"][:, : config.data.noise]
    moved = set()
    for stage in system.stages:
        after, _ = jax.eval_shape(lambda s, b: alternate.step(system, stage, 0, s, b), state, batch)
        assert jax.tree.structure(after) == jax.tree.structure(state)
        moved |= {path for phase in stage.phases for path in flat(state.params) if phase.trains(path)}
    blocks = {path.split("/")[2] for path in moved if path.startswith("text/model/")}
    assert blocks == ({"block_1"} if kind == "tuned" else set())
    assert any(path.startswith("text/adapter/") for path in moved)
    pictures = jax.eval_shape(system.generate, state.params, state.aux, system.encode(["a red heart", "cat"]),
                              jax.random.split(jax.random.key(0), 2))
    assert pictures.shape == (2, *system.image_shape)
    pairs = {name: entry.reshape(2, 2, *entry.shape[1:]) for name, entry in system.encode(["cat", "flag"] * 2).items()}
    mixed = jax.eval_shape(system.generate, state.params, state.aux, pairs | {"blend": np.ones((2, 2), np.float32)},
                           jax.random.split(jax.random.key(0), 2))
    assert system.blends and mixed.shape == pictures.shape


def test_only_the_last_layers_move_each_by_its_own_optimizer(language_model):
    config = config_of("tuned", tuned_layers=1)
    config.optimizers.text.update(learning_rate=0.5, warmup_images=0, decay="constant", final=1.0)
    system = systems.build(config, TunedText(language_model))
    (phase,) = next(stage for stage in system.stages if stage.name == "imitation").phases
    state = jax.jit(lambda key: create(system, key))(jax.random.key(0))
    for path, array in flat(language_model.params).items():
        np.testing.assert_array_equal(flat(state.params["text"]["model"])[path], array)
    batch = {name: x for name, x in playing.batch_of(config).items() if name not in ("tokens", "mask")}
    batch |= system.encode([PROMPTS[number % 3] for number in range(16)])
    step = playing.quick(lambda state: alternate.run_phase(system, phase, state, playing.turn_of(state, batch, 1e4)))
    after, _ = step(state)
    steps = {path: np.abs(np.asarray(array) - flat(state.params)[path]).max() for path, array in flat(after.params).items()}
    frozen = [path for path in steps if path.startswith("text/model/") and not path.startswith("text/model/block_1/")]
    tuned = [path for path in steps if path.startswith("text/model/block_1/")]
    assert len(frozen) > 5 and not any(steps[path] for path in frozen)
    assert len(tuned) > 5 and max(steps[path] for path in tuned) > 0.4  # Adam's first step is its learning rate
    assert 0 < max(steps[path] for path in steps if path.startswith("text/adapter/")) < 0.1
    assert 0 < max(steps[path] for path in steps if path.startswith("generator/")) < 0.1


@pytest.mark.parametrize("change, message", [
    ({"kind": "frozen"}, "text.kind = 'frozen' is impossible; accepted: own, cached, tuned"),
    ({"tuned_layers": 1}, "text.tuned_layers = 1 is impossible; accepted: 0, for what text.kind = 'cached' stores"),
    ({"stored": "int8"}, "text.stored = 'int8'"),
    ({"depth": 2}, "unknown key text.depth; accepted here: encoder, width, tuned_layers, stored"),
    ({"width": 0}, "text.width = 0"),
])
def test_impossible_sections_are_refused(change, message, language_model):
    config = config_of("cached")
    config.text.update(change)
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        _reading.build(config, CachedText(language_model, "float16"))


def test_tuning_needs_its_optimizer_and_layers_that_there_are(language_model):
    config = config_of("tuned", tuned_layers=3)
    with pytest.raises(UserError, match="text.tuned_layers = 3 is impossible; accepted: 0 to 2, the layers that 'toy' has"):
        _reading.build(config, TunedText(language_model))
    del config.optimizers["text"]
    with pytest.raises(UserError, match="with text.kind = 'tuned' also 'text'"):
        _reading.build(config, TunedText(language_model))


def test_a_whole_section_can_be_given_on_the_command_line(tiny_bert):
    config = playing.config("dcgan", f'text={{"kind": "cached", "encoder": "{tiny_bert}", "width": 8}}')
    assert captions.options(config).encoder == str(tiny_bert) and captions.opened(config).model.width == 16
    with pytest.raises(UserError, match="text takes dict"):
        configs.apply_override(config.copy_and_resolve_references().unlock(), "--config.text={broken")
