"""latent_gan: its losses against NumPy, what its phases may touch, its stages' starts, drawing, and what it refuses."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import synthetic

from t2i_jax import keys, systems
from t2i_jax.errors import UserError
from t2i_jax.models.autoencoders import Autoencoder, start_as_pca
from t2i_jax.models.discriminators import LatentDiscriminator, PatchDiscriminator
from t2i_jax.models.generators import ChoosingGenerator, LatentGenerator
from t2i_jax.models.refined_autoencoder import RefinedAutoencoder
from t2i_jax.models.smoothing import flatten
from t2i_jax.models.text import TextEncoder
from t2i_jax.objectives.augment import cut_mix, mirror
from t2i_jax.paths import flat
from t2i_jax.systems import Turn, _latents
from t2i_jax.training import alternate
from t2i_jax.training.state import create

BATCH = 16
CONFIG = synthetic.config()
settings = lambda section: {name: value for name, value in CONFIG[section].items() if name != "kind"}
PHASES = [("autoencoder", "patches"), ("autoencoder", "autoencoder"), ("imitation", "imitation"), ("gan", "discriminator"),
          ("gan", "generator")]
BEGIN = 512  # images, of the gan stage
OWNED = {
    "patches": {"patches"},
    "autoencoder": {"autoencoder"},
    "discriminator": {"discriminator"},
    "imitation": {"generator", "text"},
    "generator": {"generator", "text"},
}


@pytest.fixture(scope="module")
def system():
    return synthetic.system()


def moved(tree, seed):
    """Every float array nudged, so that nothing is zero or a copy of another."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: x + jnp.asarray(rng.normal(0, 0.05, x.shape), x.dtype), tree)


@pytest.fixture(scope="module")
def state(system):
    fresh = jax.jit(lambda key: create(system, key))(jax.random.key(0))
    aux = {"latent": {name: 1 + 0.1 * moved(x, 3) ** 2 for name, x in fresh.aux["latent"].items()}}
    return dataclasses.replace(fresh, params=moved(fresh.params, 1), ema=moved(fresh.ema, 2), aux=aux)


@pytest.fixture(scope="module")
def batch():
    return jax.tree.map(jnp.asarray, alternate.as_float(synthetic.examples(0, BATCH)))


@pytest.fixture(scope="module")
def sample():
    return jax.tree.map(jnp.asarray, alternate.as_float(synthetic.examples(99, 64)))


def phase_of(system, stage, name):
    (stage,) = [each for each in system.stages if each.name == stage]
    (phase,) = [each for each in stage.phases if each.name == name]
    return phase


@pytest.fixture(scope="module")
def play(system, state, batch):
    """(stage, phase, images seen) -> (state after that phase, its terms); one compilation per phase."""

    def compiled(phase):
        def run(state, batch, images):
            turn = Turn(state.params, state.aux, state.ema, batch, keys.per_example(state.key, BATCH), images)
            return alternate.run_phase(system, phase, state, turn)

        return jax.jit(run)

    runs = {names: compiled(phase_of(system, *names)) for names in PHASES}
    return lambda stage, name, images: runs[stage, name](state, batch, jnp.float32(images))


@pytest.fixture(scope="module")
def outputs(state, batch):
    """What the networks say of the batch, from the modules alone, in NumPy."""
    part, shape = 4, (16, 16, 3)  # a quarter of the batch is penalized
    networks = {
        "autoencoder": Autoencoder(shape, **settings("autoencoder")),
        "patches": PatchDiscriminator(**CONFIG.patches),
        "text": TextEncoder(CONFIG.data.vocabulary, **CONFIG.text),
        "generator": ChoosingGenerator(CONFIG.autoencoder.latent, **settings("generator")),
        "discriminator": LatentDiscriminator(**settings("discriminator")),
    }

    @jax.jit
    def compute(params, aux, batch, key):
        net = lambda name, *x, **options: networks[name].apply({"params": params[name]}, *x, **options)
        example_keys, out = keys.per_example(key, BATCH), {}
        draw = lambda use, size: keys.normal(keys.named(example_keys, use), (size,))

        images = mirror(batch["image"], keys.named(example_keys, "mirror"))
        images = cut_mix(images, keys.named(example_keys, "cut mix"), 0.5)
        mean, log_variance = net("autoencoder", images, method="encode")
        made = net("autoencoder", mean + jnp.exp(log_variance / 2) * draw("posterior", 24), method="decode")
        slope = jax.vmap(jax.grad(lambda x: net("patches", x[None]).sum()))(images)
        out |= {"images": images, "mean": mean, "log_variance": log_variance, "made": made, "patch_slope": slope,
                "patch_real": net("patches", images), "patch_made": net("patches", made)}

        latent = aux["latent"]
        real = (net("autoencoder", batch["image"], method="encode")[0] - latent["mean"][None]) / latent["scale"][None]
        caption = net("text", batch["tokens"], batch["mask"])[1]
        whole = net("text", batch["whole_tokens"], batch["whole_mask"])[1]
        fake = net("generator", batch["noise"], caption)
        told = net("generator", whole, method="draw")
        wanted, missing = whole, caption + net("generator", batch["noise"], caption, method="choose") - whole
        for choice in range(CONFIG.data.choices):
            one = {name: entry[:, choice] for name, entry in batch.items() if name.startswith("choice_")}
            open_caption = net("text", one["choice_tokens"], one["choice_mask"])[1]
            chosen = net("text", one["choice_whole_tokens"], one["choice_whole_mask"])[1]
            added = net("generator", one["choice_noise"], open_caption, method="choose")
            wanted, missing = jnp.concatenate([wanted, chosen]), jnp.concatenate([missing, open_caption + added - chosen])
        again = keys.normal(keys.named(example_keys[::8], "noise"), (8,))
        out |= {"latent": real, "drawn": fake, "redrawn": net("generator", again, caption[::8]), "noise": batch["noise"],
                "again": again}
        out["real"], out["real_embedding"], out["text_embedding"] = net("discriminator", real, caption)
        out["fake"], out["fake_embedding"], _ = net("discriminator", fake, caption)
        out["crossed"] = net("discriminator", *(jnp.repeat(real, BATCH, 0), jnp.tile(caption, (BATCH, 1))))[0]
        judge = lambda z, t: net("discriminator", z[None], t[None])[0][0]
        slope = jax.vmap(jax.grad(judge))
        out["real_slope"], out["fake_slope"] = (slope(z[:part], caption[:part]) for z in (real, fake))
        return out | {"miss": (fake - real) * latent["scale"][None], "miss_told": (told - real) * latent["scale"][None],
                      "incomplete": missing, "whole": wanted}

    return jax.tree.map(lambda x: np.asarray(x, np.float64), compute(state.params, state.aux, batch, state.key))


def softplus(x):
    return np.logaddexp(0, x).mean()


def kl(mean, log_variance):
    return (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(-1).mean() / 2


def info_nce(images, texts, right):
    """Both directions at temperature 0.1, other right pairs left out, by loops."""
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
    similarity, losses = np.exp(unit(images) @ unit(texts).T / 0.1), []
    for i in range(BATCH):
        texts_of_i = [j for j in range(BATCH) if j == i or not right[i, j]]
        images_of_i = [j for j in range(BATCH) if j == i or not right[j, i]]
        losses.append(-np.log(similarity[i, i] / similarity[i, texts_of_i].sum()))
        losses.append(-np.log(similarity[i, i] / similarity[images_of_i, i].sum()))
    return np.mean(losses)


def right_pairs(batch):
    """Whether caption j is among the captions of picture i, by sets."""
    sets = [set(np.asarray(row)) - {0} for row in batch["captions"]]
    return np.array([[int(caption) in mine for caption in batch["caption"]] for mine in sets])


@pytest.mark.parametrize("images", [0, CONFIG.losses.patch_start])
def test_autoencoder_loss(play, outputs, images):
    _, terms = play("autoencoder", "autoencoder", images)
    error = np.clip(outputs["made"], -1, 1) - outputs["images"]
    assert np.abs(outputs["made"]).max() > 1  # clipping is at work
    divergence = kl(outputs["mean"], outputs["log_variance"])
    smooth = (np.sqrt(error**2 + 1 / 127.5**2) - 1 / 127.5).mean()
    loss = (error**2).mean() + 0.1 * smooth + 3e-6 * divergence
    patch = softplus(-outputs["patch_made"])
    np.testing.assert_allclose(terms["mean_square"], (error**2).mean(), rtol=1e-5)
    np.testing.assert_allclose(terms["kl"], divergence, rtol=1e-5)
    np.testing.assert_allclose(terms["patch"], patch, rtol=1e-5)
    np.testing.assert_allclose(terms["loss"], loss + (0.1 * patch if images else 0), rtol=1e-5)


def test_patches_loss(play, outputs):
    _, terms = play("autoencoder", "patches", 0)
    r1 = (outputs["patch_slope"] ** 2).sum((1, 2, 3)).mean()
    np.testing.assert_allclose(terms["r1"], r1, rtol=1e-4)
    loss = softplus(-outputs["patch_real"]) + softplus(outputs["patch_made"]) + r1 / 2
    np.testing.assert_allclose(terms["loss"], loss, rtol=1e-5)


def test_discriminator_loss(play, outputs, batch):
    _, terms = play("gan", "discriminator", BEGIN)
    right = right_pairs(batch)
    assert BATCH < right.sum() < BATCH**2
    crossed = outputs["crossed"].reshape(BATCH, BATCH)  # picture, caption
    wrong = [next(j % BATCH for j in range(i + 1, i + BATCH) if not right[i, j % BATCH]) for i in range(BATCH)]
    expected = {
        "gan": softplus(outputs["fake"] - outputs["real"]),
        "contrastive": info_nce(outputs["real_embedding"], outputs["text_embedding"], right),
        "r1": (outputs["real_slope"] ** 2).sum(-1).mean(),
        "r2": (outputs["fake_slope"] ** 2).sum(-1).mean(),
        "gap": (outputs["real"] - outputs["fake"]).mean(),
        "matching": softplus(crossed[np.arange(BATCH), wrong] - outputs["real"]),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(terms[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
    loss = expected["gan"] + expected["contrastive"] + expected["r1"] + expected["r2"] + 0.5 * expected["matching"]
    np.testing.assert_allclose(terms["loss"], loss, rtol=1e-5)


def distance(miss, state):
    squared = (miss ** 2).sum(-1) / float(state.aux["latent"]["energy"])
    return np.sqrt(squared + CONFIG.losses.corner**2).mean()


def test_imitation_loss(play, outputs, state):
    """Whole sentences are drawn; noise completes those that are not."""
    _, terms = play("imitation", "imitation", 256)
    expected = {"imitation": distance(outputs["miss_told"], state), "choice": choice(outputs)}
    assert np.abs(outputs["miss_told"] - outputs["miss"]).max() > 0.01
    for name, value in expected.items():
        np.testing.assert_allclose(terms[name], value, rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(terms["loss"], expected["imitation"] + 3 * expected["choice"], rtol=1e-5)


def test_latents_that_are_kept_are_those_that_a_step_computes(system, state, batch):
    assert [stage.name for stage in system.stages if stage.keeps] == ["imitation", "gan"]
    kept = system.stages[-1].keeps(state.params, state.aux, batch["image"])
    assert {name: x.shape for name, x in kept.items()} == {"latent": (BATCH, 24)}
    for stage, phase in PHASES[2:]:
        loss = jax.jit(lambda batch, phase=phase_of(system, stage, phase): phase.loss(
            Turn(state.params, state.aux, state.ema, batch, keys.per_example(state.key, BATCH), jnp.float32(BEGIN)))[0])
        np.testing.assert_allclose(loss(batch | kept), loss(batch), rtol=1e-5)
        assert abs(loss(batch | {"latent": kept["latent"] + 1}) - loss(batch)) > 1e-3


def choice(outputs):
    spread = ((outputs["whole"] - outputs["whole"].mean(0)) ** 2).sum(-1).mean()
    return (outputs["incomplete"] ** 2).sum(-1).mean() / spread


def test_what_noise_adds_learns_what_words_mean_and_does_not_teach_it(system, state, batch):
    """The gradient of w_choice L_choice reaches F alone: beside it, text and W learn as without it."""
    def slopes(system):
        phase = phase_of(system, "imitation", "imitation")
        loss = lambda params: phase.loss(Turn(params, state.aux, state.ema, batch, keys.per_example(state.key, BATCH), jnp.float32(256)))[0]
        return flat(jax.jit(jax.grad(loss))(state.params))

    with_it, without = slopes(system), slopes(synthetic.system("losses.choice=0.0"))
    apart = {path for path in with_it if np.abs(with_it[path] - without[path]).max() > 1e-4}
    assert apart and all(path.startswith(("generator/choosing", "generator/chosen")) for path in apart)


def test_a_generator_that_hears_noise_imitates_by_what_it_draws(state, batch, outputs):
    config = synthetic.config().copy_and_resolve_references()
    config.unlock()
    config.generator = {"kind": "mlp", "width": 32, "hidden": 32, "blocks": 1, "noise_gain": 3.0}
    config.data.whole, config.data.choices = False, 0
    plain = systems.build(config, tokenizer=None)
    params = state.params | {"generator": plain.init(jax.random.key(5))[0]["generator"]}
    phase = phase_of(plain, "imitation", "imitation")
    kept = {name: entry for name, entry in batch.items() if not name.startswith(("whole_", "choice_"))}
    loss, _ = jax.jit(lambda p: phase.loss(Turn(p, state.aux, state.ema, kept, keys.per_example(state.key, BATCH), 256.0)))(params)
    network, text = LatentGenerator(24, 32, 32, 1, 3.0), TextEncoder(CONFIG.data.vocabulary, **CONFIG.text)
    caption = text.apply({"params": params["text"]}, batch["tokens"], batch["mask"])[1]
    made = network.apply({"params": params["generator"]}, batch["noise"], caption)
    miss = (np.asarray(made, np.float64) - outputs["latent"]) * np.asarray(state.aux["latent"]["scale"])
    np.testing.assert_allclose(loss, distance(miss, state), rtol=1e-5)


def test_distances_are_squared_without_a_corner(outputs, state):
    latents = _latents.build(CONFIG, (16, 16, 3), _latents.AutoencoderLosses())
    turn = Turn({}, state.aux, {}, {}, state.key, 0)
    miss = latents.miss(turn, jnp.asarray(outputs["latent"]), jnp.asarray(outputs["drawn"]))
    loss = (outputs["miss"] ** 2).sum(-1).mean() / float(state.aux["latent"]["energy"])
    np.testing.assert_allclose(miss, loss, rtol=1e-5)


def test_generator_loss(play, outputs, batch, state):
    _, terms = play("gan", "generator", BEGIN)
    right = right_pairs(batch)
    assert np.any(right != right.T)
    expected = {
        "gan": softplus(outputs["real"] - outputs["fake"]),
        "contrastive": info_nce(outputs["fake_embedding"], outputs["text_embedding"], right | right.T),
        "imitation": distance(outputs["miss"], state),
        "choice": choice(outputs),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(terms[name], value, rtol=1e-4, err_msg=name)
    weights = {"gan": 1, "contrastive": 1, "imitation": CONFIG.losses.imitation, "choice": CONFIG.losses.imitation * 3}
    np.testing.assert_allclose(terms["loss"], sum(weights[name] * expected[name] for name in expected), rtol=1e-5)


def test_watched_terms_read_the_same_logits_latents_and_noise(play, outputs):
    _, terms = play("gan", "discriminator", BEGIN)
    told = (outputs["real"] > outputs["fake"]).mean()
    np.testing.assert_allclose(terms["pairs_told"], told, rtol=1e-6)
    _, terms = play("gan", "generator", BEGIN)
    spread = lambda z: np.sqrt(z.var(0).sum())
    np.testing.assert_allclose(terms["deviation"], spread(outputs["drawn"]) / spread(outputs["latent"]), rtol=1e-4)
    np.testing.assert_allclose(terms["norm_fake"], np.linalg.norm(outputs["drawn"], axis=-1).mean(), rtol=1e-4)
    np.testing.assert_allclose(terms["norm_real"], np.linalg.norm(outputs["latent"], axis=-1).mean(), rtol=1e-4)
    noise = np.stack([outputs["noise"][::8], outputs["again"]])  # two draws of it for every eighth caption
    assert np.abs(noise[0] - noise[1]).min() > 0
    difference = outputs["drawn"][::8] - outputs["redrawn"]
    diversity = np.sqrt((difference**2).sum(-1).mean() / 2) / spread(outputs["latent"])
    np.testing.assert_allclose(terms["diversity"], diversity, rtol=1e-4)


@pytest.mark.parametrize("progress, gamma", [(0, 2.0), (0.35, 0.6**0.5), (0.7, 0.3), (1, 0.3)])
def test_gamma_falls_geometrically_over_seventy_percent_of_the_stage(play, progress, gamma):
    _, terms = play("gan", "discriminator", BEGIN + 256 * progress)
    rest = terms["loss"] - terms["gan"] - terms["contrastive"] - 0.5 * terms["matching"]
    np.testing.assert_allclose(2 * rest / (terms["r1"] + terms["r2"]), gamma, rtol=1e-3)


@pytest.mark.parametrize("stage, name", PHASES)
def test_a_phase_leaves_what_it_does_not_train_or_write_bit_identical(play, system, state, stage, name):
    after, _ = play(stage, name, 600)  # late enough for every learning rate to have begun
    changed = lambda a, b: {path for path in flat(a) if not np.array_equal(flat(a)[path], flat(b)[path])}
    assert {path.split("/")[0] for path in changed(state.params, after.params)} == OWNED[name]
    phase = phase_of(system, stage, name)
    assert {path.split("/")[0] for path in flat(state.params) if phase.trains(path)} == OWNED[name] and not phase.writes
    assert not changed(state.aux, after.aux) and not changed(state.ema, after.ema)
    assert state.opt_state.keys() == after.opt_state.keys() == OWNED.keys()
    touched = {player for player, before in state.opt_state.items() if not all(
        np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (before, after.opt_state[player])), strict=True))}
    assert touched == {name}
    assert int(after.step) == int(state.step) and after.images.tolist() == state.images.tolist()
    assert jax.random.key_data(after.key).tolist() == jax.random.key_data(state.key).tolist()


def test_entering_the_imitation_stage_normalizes_latents_and_takes_averaged_weights(system, state, sample):
    entered = jax.jit(system.stages[1].enter)(state, sample)
    jax.tree.map(np.testing.assert_array_equal, entered.params["autoencoder"], state.ema["params"]["autoencoder"])
    others = lambda params: {player: weights for player, weights in params.items() if player != "autoencoder"}
    jax.tree.map(np.testing.assert_array_equal, others(entered.params), others(state.params))
    jax.tree.map(np.testing.assert_array_equal, (entered.ema, entered.opt_state), (state.ema, state.opt_state))
    model = Autoencoder((16, 16, 3), **settings("autoencoder"))
    encode = jax.jit(lambda params, x: model.apply({"params": params}, x, method="encode")[0])
    z = np.asarray(encode(entered.params["autoencoder"], sample["image"]), np.float64)
    latent = jax.tree.map(np.asarray, entered.aux["latent"])
    normal = (z - latent["mean"]) / latent["scale"]
    np.testing.assert_allclose(normal.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose((normal**2).mean(), 1, rtol=1e-4)
    np.testing.assert_allclose(latent["energy"], z.var(0).sum(), rtol=1e-4)
    # whitening = ½: a dimension's spread after it is the root of the spread before it.
    ratio = normal.std(0) / np.sqrt(z.std(0))
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-3)


def test_entering_the_autoencoder_stage_sets_weights_and_their_average_alike(system, state, sample):
    entered = jax.jit(system.stages[0].enter)(state, sample)
    jax.tree.map(np.testing.assert_array_equal, entered.params["autoencoder"], entered.ema["params"]["autoencoder"])
    assert not np.array_equal(entered.params["autoencoder"]["linear_encoder"]["kernel"],
                              state.params["autoencoder"]["linear_encoder"]["kernel"])


@pytest.fixture(scope="module")
def refining():
    """The system with a refined autoencoder whose linear code has an optimizer of its own, and its fresh state."""
    config = synthetic.config()
    with config.unlocked():
        config.autoencoder = {"kind": "refined", "latent": 24, "channels": 8, "blocks": 1, "step": 2, "remat": False}
        config.optimizers.refinement = config.optimizers.autoencoder.copy_and_resolve_references()
    config.optimizers.autoencoder.learning_rate = 0.0
    config.losses.patch, config.losses.mirror = 0.0, False
    system = systems.build(config, None)
    return system, jax.jit(lambda key: create(system, key))(jax.random.key(0))


def test_what_refines_pictures_is_trained_by_an_optimizer_of_its_own(refining, batch):
    system, state = refining
    step = jax.jit(lambda state, batch: alternate.step(system, system.stages[0], 0, state, batch)[0])
    after = step(step(step(state, batch), batch), batch)  # the first has a rate of 0, before the second the last layer is 0
    before, after = (flat(each.params["autoencoder"]) for each in (state, after))
    moved = {path for path in before if not np.array_equal(before[path], after[path])}
    assert moved == {path for path in before if path.startswith("refinement/")}


def test_what_noise_adds_is_taught_by_an_optimizer_of_its_own_where_the_config_has_one(state, batch):
    config = synthetic.config().copy_and_resolve_references()
    with config.unlocked():
        config.optimizers.choosing = config.optimizers.imitation.copy_and_resolve_references()
    config.optimizers.imitation.learning_rate = 0.0
    apart = systems.build(config, None)
    fresh = jax.jit(lambda key: create(apart, key))(jax.random.key(0))
    phase = phase_of(apart, "imitation", "imitation")
    turn = Turn(state.params, state.aux, state.ema, batch, keys.per_example(state.key, BATCH), jnp.float32(320))
    after, _ = jax.jit(lambda turn: alternate.run_phase(apart, phase, dataclasses.replace(fresh, params=turn.params), turn))(turn)
    before, after = flat(state.params), flat(after.params)
    moved = {path for path in before if not np.array_equal(before[path], after[path])}
    assert moved == {path for path in before if path.startswith(("generator/choosing/", "generator/chosen/"))}


def test_a_refined_autoencoder_starts_as_components_of_mirrored_pictures_too_wherever_it_learns_none(refining, system, sample):
    (refined, fresh), shape = refining, (16, 16, 3)
    entered = jax.jit(refined.stages[0].enter)(fresh, sample).params["autoencoder"]
    plain = jax.jit(start_as_pca)(fresh.params["autoencoder"], sample["image"], keys.named(fresh.key, "pca"))
    model = RefinedAutoencoder(shape, 24, 8, 1, 2)
    error = jax.jit(lambda params, x: jnp.mean((model.apply({"params": params}, x) - x) ** 2))
    mirrored = sample["image"][:, :, ::-1]
    assert error(entered, mirrored) < 0.95 * error(plain, mirrored)
    assert error(plain, sample["image"]) < error(entered, sample["image"]) < 2 * error(plain, sample["image"])


def test_generate_is_deterministic_in_range_and_truncation_0_silences_noise(system, state, batch):
    text = {name: batch[name] for name in ("tokens", "mask")}
    generate = jax.jit(system.generate)
    draw = lambda seed, truncation: generate(
        state.params, state.aux, text, jax.random.split(jax.random.key(seed), BATCH), jnp.float32(truncation))
    pictures = draw(0, 1)
    assert pictures.shape == (BATCH, *system.image_shape) == (BATCH, 16, 16, 3) and pictures.dtype == jnp.float32
    assert pictures.min() >= -1 and pictures.max() <= 1 and jnp.ptp(pictures) > 0.1
    np.testing.assert_array_equal(pictures, draw(0, 1))
    assert jnp.abs(pictures - draw(1, 1)).max() > 1e-3
    np.testing.assert_array_equal(draw(0, 0), draw(1, 0))
    assert jnp.ptp(draw(0, 0), axis=0).max() > 1e-3  # captions still speak


def test_what_is_drawn_and_returned_loses_noise_in_flat_areas_where_asked_and_training_sees_it(system, state, batch):
    flattening = synthetic.system("latents.flatten=25.5")
    text = {name: batch[name] for name in ("tokens", "mask")}
    draw = lambda system: jax.jit(system.generate)(state.params, state.aux, text, keys.per_example(state.key, BATCH))
    decode = lambda system: jax.jit(system.codec.decode)(state.params, state.aux, jnp.ones((BATCH, 24)))
    for shown in (draw, decode):
        np.testing.assert_allclose(shown(flattening), flatten(shown(system), 0.2), atol=1e-5)
        assert jnp.abs(shown(flattening) - shown(system)).max() > 1e-3
    losses = [phase_of(system, "autoencoder", "autoencoder").loss(
        Turn(state.params, state.aux, state.ema, batch, keys.per_example(state.key, BATCH), 256.0))[0] for system in (flattening, system)]
    np.testing.assert_array_equal(*losses)


@pytest.mark.parametrize("override, message", [
    ("latents.flatten=-1.0", r"latents\.flatten = -1\.0.*0 or more"),
    ("data.resolution=30", r"data\.resolution = 30.*multiple of 8"),
    ("data.whole=False", r"data\.whole = False.*generator\.kind is 'choosing'"),
    ("data.noise=0", r"data\.noise = 0.*1 or more"),
    ("data.choices=-1", r"data\.choices = -1.*0, or more where generator\.kind is 'choosing'"),
    ("data.resolution=0", r"data\.resolution = 0.*multiple of 8"),
    ("dtype=float16", r"dtype = 'float16'.*float32, bfloat16"),
    ("losses.adversarial=lsgan", "adversarial.*'lsgan'.*relativistic"),
    ("system=latent_gun", "system = 'latent_gun'.*latent_gan"),
    ("optimizers.generator.name=lion", "optimizer.*'lion'.*adam"),
    ("optimizers.generator.decay=linear", "optimizer decay.*'linear'.*cosine"),
])
def test_impossible_values_are_refused_by_name(override, message):
    with pytest.raises(UserError, match=message):
        synthetic.system(override)


@pytest.mark.parametrize("section", ["losses", "latents", "text", "autoencoder", "generator", "discriminator",
                                     "patches", "stages"])
def test_unknown_keys_are_refused_by_name(section):
    config = synthetic.config().copy_and_resolve_references()
    with config.unlocked():
        config[section].colour = 1
    with pytest.raises(UserError, match=rf"unknown key {section}\.colour; accepted here: \w+"):
        systems.build(config, None)


def test_a_bfloat16_step_reports_finite_float32_and_keeps_a_float32_state(state):
    system = synthetic.system("dtype=bfloat16")
    step = jax.jit(lambda state, batch: alternate.step(system, system.stages[2], 0, state, batch))
    traced = step.trace(state, jax.tree.map(jnp.asarray, synthetic.examples(0, BATCH)))
    assert "bf16" in str(traced.jaxpr)
    after, metrics = step(state, jax.tree.map(jnp.asarray, synthetic.examples(0, BATCH)))
    assert {"discriminator/loss", "generator/loss"} < set(metrics)
    for name, value in metrics.items():
        assert value.dtype == jnp.float32 and np.isfinite(value), name
    for before, now in zip(jax.tree.leaves(state), jax.tree.leaves(after), strict=True):
        assert before.dtype == now.dtype and before.dtype != jnp.bfloat16


@pytest.mark.parametrize("name", ["patches", "autoencoder"])
def test_bfloat16_losses_of_the_autoencoder_stage_are_finite_float32(state, batch, name, play):
    phase = phase_of(synthetic.system("dtype=bfloat16"), "autoencoder", name)
    turn = lambda state, batch: Turn(
        state.params, state.aux, state.ema, batch, keys.per_example(state.key, BATCH), jnp.float32(256))
    loss, (_, terms) = jax.jit(lambda state, batch: phase.loss(turn(state, batch)))(state, batch)
    assert {x.dtype for x in (loss, *terms.values())} == {jnp.dtype("float32")}
    np.testing.assert_allclose(loss, play("autoencoder", name, 256)[1]["loss"], rtol=0.02)
