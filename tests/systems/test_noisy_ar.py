"""noisy_ar: its losses against NumPy, what its phases may touch, few pairs, a run killed, drawing, what it refuses."""

import dataclasses

import jax
import jax.numpy as jnp
import killed
import numpy as np
import pytest
import synthetic
from PIL import Image
from running import CONFIGS, call

from t2i_jax import config as configs
from t2i_jax import keys, load, systems
from t2i_jax.errors import UserError
from t2i_jax.paths import flat
from t2i_jax.systems import Turn, _noisy_networks
from t2i_jax.systems._few_pairs import belongs, few_pairs
from t2i_jax.systems._noisy_steps import Caption, unspoken
from t2i_jax.training import alternate
from t2i_jax.training.state import create

TINY = f"{CONFIGS / 'noisy_ar.py'}:tiny"
CONFIG = configs.load(TINY)
BATCH, PART, ALONE = 16, 8, 4  # the game is played for half of the batch, and for half of that without captions
PHASES = [("pretraining", "pretraining"), ("gan", "discriminator"), ("gan", "generator"), ("gan", "detector")]
OWNED = {"pretraining": {"generator"}, "discriminator": {"discriminator"}, "generator": {"generator", "text"},
         "detector": {"detector"}}


@pytest.fixture(scope="module")
def system():
    return systems.build(CONFIG, tokenizer=None)


@pytest.fixture(scope="module")
def state(system):
    """Every array nudged, so that nothing is zero or a copy of another."""
    rng = np.random.default_rng(1)
    fresh = jax.jit(lambda key: create(system, key))(jax.random.key(0))
    moved = lambda tree: jax.tree.map(lambda x: x + jnp.asarray(rng.normal(0, 0.05, x.shape), x.dtype), tree)
    return dataclasses.replace(fresh, params=moved(fresh.params), ema=moved(fresh.ema))


@pytest.fixture(scope="module")
def batch():
    examples = synthetic.examples(0, BATCH)
    return jax.tree.map(jnp.asarray, alternate.as_float(examples | {"noise": examples["noise"][:, :CONFIG.data.noise]}))


@pytest.fixture(scope="module")
def play(system, state, batch):
    """(stage, phase) -> (state after that phase, its terms); one compilation per phase."""

    def run(names):
        (stage,) = [each for each in system.stages if each.name == names[0]]
        (phase,) = [each for each in stage.phases if each.name == names[1]]
        turn = lambda state, batch: Turn(
            state.params, state.aux, state.ema, batch, keys.per_example(state.key, BATCH), jnp.float32(600))
        compiled = jax.jit(lambda state, batch: alternate.run_phase(system, phase, state, turn(state, batch)))
        return compiled(state, batch)

    done = {}
    return lambda *names: done.setdefault(names, None) or done.update({names: run(names)}) or done[names]


@pytest.fixture(scope="module")
def outputs(state, batch):
    """What the networks say of the batch, from the modules alone, in NumPy."""
    nets = _noisy_networks.build(CONFIG)

    @jax.jit
    def compute(params, aux, batch, key):
        example_keys = keys.per_example(key, BATCH)
        net = lambda network, name, *x: network.apply({"params": params[name]}, *x)
        judge = lambda images, sentence: net(nets.discriminator, "discriminator", images, sentence)
        words, sentence = net(nets.text.network, "text", batch["tokens"], batch["mask"])
        caption = Caption(sentence, words, batch["mask"], batch["noise"])
        variables = {"params": params["tokenizer"]}
        out = {"latents": nets.tokens.network.apply(variables, batch["image"], method="encode")}
        real = nets.tokens.tokens(params, aux, batch["image"])
        for name, given in (("nll", caption), ("nll_alone", unspoken(caption))):
            logits, hidden = nets.steps.corrupted(params, real, given, example_keys, CONFIG.losses.corruption)
            out |= {f"{name}_logits": logits, f"{name}_hidden": hidden}

        part = jax.tree.map(lambda x: x[:PART], (batch, caption, example_keys))
        batch, caption, example_keys = part
        images, sentence, nothing = batch["image"], caption.sentence, jnp.zeros((PART, CONFIG.text.width))
        blocks = jax.random.randint(keys.named(example_keys[0], "blocks"), (), 1, CONFIG.losses.blocks + 1)
        both = jax.tree.map(lambda x, y: jnp.concatenate([x, y[:ALONE]]), caption, unspoken(caption))
        both_keys = jnp.concatenate([example_keys, keys.named(example_keys[:ALONE], "alone")])
        drawn = nets.steps.imagine(params, both, both_keys, blocks, CONFIG.losses.blocks, 1.0)
        pictures = nets.tokens.decode(params, aux, drawn)
        made, alone = pictures[:PART], pictures[PART:]
        slope = jax.vmap(jax.grad(lambda x, t: judge(x[None], t[None])[0][0]))(images, sentence)
        attacked = jnp.clip(images - CONFIG.losses.epsilon * jnp.sign(slope), -1, 1)
        out["real"], out["real_embedding"], out["said"] = judge(images, sentence)
        out["fake"], out["fake_embedding"], _ = judge(made, sentence)
        crossed = judge(jnp.repeat(images, PART, 0), jnp.tile(sentence, (PART, 1)))[0]
        detect = lambda x: nets.detector.apply({"params": params["detector"]}, x)[:, 0]
        return out | {
            "crossed": crossed.reshape(PART, PART), "slope": slope, "attacked": judge(attacked, sentence)[0],
            "real_alone": judge(images, nothing)[0][:ALONE], "fake_alone": judge(alone, nothing[:ALONE])[0],
            "detected": detect(attacked), "clean": detect(images),
        }

    return jax.tree.map(lambda x: np.asarray(x, np.float64), compute(state.params, state.aux, batch, state.key))


def softplus(x):
    return np.logaddexp(0, x).mean()


def nll(outputs, name, state):
    """The mean of -log p over hidden places, tokens found by brute force."""
    vectors = np.asarray(state.aux["codebook"]["vectors"], np.float64)
    tokens = ((outputs["latents"][:, :, None] - vectors[None, None]) ** 2).sum(-1).argmin(-1)
    logits, hidden = outputs[f"{name}_logits"], outputs[f"{name}_hidden"].astype(bool)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    each = -np.take_along_axis(log_p, tokens[..., None], -1)[..., 0]
    return each[hidden].mean()


def info_nce(images, texts, right):
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
    similarity, losses = np.exp(unit(images) @ unit(texts).T / CONFIG.losses.temperature), []
    for i in range(len(right)):
        texts_of_i = [j for j in range(len(right)) if j == i or not right[i, j]]
        images_of_i = [j for j in range(len(right)) if j == i or not right[j, i]]
        losses.append(-np.log(similarity[i, i] / similarity[i, texts_of_i].sum()))
        losses.append(-np.log(similarity[i, i] / similarity[images_of_i, i].sum()))
    return np.mean(losses)


def right_pairs(batch):
    sets = [set(np.asarray(row)) - {0} for row in batch["captions"][:PART]]
    return np.array([[int(caption) in mine for caption in batch["caption"][:PART]] for mine in sets])


def check(terms, expected):
    for name, value in expected.items():
        np.testing.assert_allclose(terms[name], value, rtol=2e-4, atol=1e-6, err_msg=name)


def test_pretraining_is_the_likelihood_without_captions(play, outputs, state):
    check(play("pretraining", "pretraining")[1], {"loss": nll(outputs, "nll_alone", state)})


def test_discriminator_loss(play, outputs, batch):
    right = right_pairs(batch)
    assert PART < right.sum() < PART**2
    wrong = [next(j % PART for j in range(i + 1, i + PART) if not right[i, j % PART]) for i in range(PART)]
    expected = {
        "gan": softplus(-outputs["real"])
        + (softplus(outputs["fake"]) + softplus(outputs["crossed"][np.arange(PART), wrong])) / 2,
        "contrastive": info_nce(outputs["real_embedding"], outputs["said"], right),
        "r1": (outputs["slope"] ** 2).sum((1, 2, 3)).mean(),
        "alone": softplus(-outputs["real_alone"]) + softplus(outputs["fake_alone"]),
        "perturbed": softplus(-outputs["attacked"]) + softplus(outputs["fake"]),
    }
    assert outputs["attacked"].mean() < outputs["real"].mean()
    weights = {"gan": 1, "contrastive": 1, "r1": CONFIG.losses.gamma / 2, "alone": CONFIG.losses.alone,
               "perturbed": CONFIG.losses.perturbed}
    expected["loss"] = sum(weights[name] * expected[name] for name in expected)
    check(play("gan", "discriminator")[1], expected)


def test_generator_loss(play, outputs, batch, state):
    right = right_pairs(batch)
    expected = {
        "gan": softplus(-outputs["fake"]),
        "contrastive": info_nce(outputs["fake_embedding"], outputs["said"], right | right.T),
        "alone": softplus(-outputs["fake_alone"]),
        "likelihood": nll(outputs, "nll", state),
    }
    weights = {"gan": 1, "contrastive": 1, "alone": CONFIG.losses.alone, "likelihood": CONFIG.losses.likelihood}
    expected["loss"] = sum(weights[name] * expected[name] for name in expected)
    check(play("gan", "generator")[1], expected)


def test_detector_loss(play, outputs):
    accuracy = ((outputs["detected"] > 0).mean() + (outputs["clean"] < 0).mean()) / 2
    check(play("gan", "detector")[1],
          {"loss": softplus(-outputs["detected"]) + softplus(outputs["clean"]), "accuracy": accuracy})


@pytest.mark.parametrize("stage, name", PHASES)
def test_a_phase_leaves_what_it_does_not_train_or_write_bit_identical(play, state, stage, name):
    after, _ = play(stage, name)
    changed = lambda a, b: {path.split("/")[0] for path in flat(a) if not np.array_equal(flat(a)[path], flat(b)[path])}
    assert changed(state.params, after.params) == OWNED[name]
    assert not changed(state.aux, after.aux) and not changed(state.ema, after.ema)


def test_stages_and_who_trains_in_them(system):
    players = {stage.name: [phase.name for phase in stage.phases] for stage in system.stages}
    assert players == {"tokenizer": ["tokenizer"], "pretraining": ["pretraining"],
                       "gan": ["discriminator", "generator", "detector"], "finetuning": ["discriminator", "generator"]}


def test_few_pairs_are_the_same_pictures_in_every_batch():
    rng = np.random.default_rng(0)
    rows = rng.integers(1, 2**32, (2000, 3), dtype=np.uint32)
    few = np.asarray(belongs(jnp.asarray(rows), 0.2))
    assert 0.15 < few.mean() < 0.25
    assert np.all(few <= np.asarray(belongs(jnp.asarray(rows), 0.3)))
    shuffled = rng.permutation(2000)[:64]
    batch = {"captions": jnp.asarray(rows[shuffled]), "image": jnp.asarray(shuffled)}
    kept = np.asarray(few_pairs(batch, 0.2)["image"])
    wanted = shuffled[few[shuffled]]
    assert kept.shape == (64,) and set(kept) == set(wanted)
    counts = np.unique(kept, return_counts=True)[1]
    assert counts.max() - counts.min() <= 1
    none = {"captions": jnp.asarray(rows[~few][:8])}
    np.testing.assert_array_equal(few_pairs(none, 0.2)["captions"], rows[~few][:8])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A work directory in which the tiny config ran to its end; not to be changed."""
    workdir = tmp_path_factory.mktemp("runs") / "noisy"
    killed.train(TINY, workdir)
    return workdir


def test_a_killed_run_ends_in_the_same_bits(run, tmp_path):
    killed.dies_and_ends_in_the_same_bits(TINY, run, tmp_path / "again")


@pytest.fixture(scope="module")
def model(run):
    return load(run)


def test_steps_end_in_the_picture(model):
    key, prompts = jax.random.key(3), ["flag", "face"]
    steps = np.asarray(model.generate(prompts, key=key, num_inference_steps=4, return_steps=True))
    assert steps.shape == (2, 4, 16, 16, 3) and np.abs(steps).max() <= 1
    np.testing.assert_allclose(steps[:, -1], model.generate(prompts, key=key, num_inference_steps=4), atol=1e-5)
    assert np.all(np.abs(steps[:, 0] - steps[:, -1]).max(axis=(1, 2, 3)) > 1e-3)


@pytest.mark.parametrize("asked, steps", [(1, 1), (50, 16)])
def test_steps_are_capped_at_the_tokens(model, asked, steps):
    partial = model("flag", num_images=2, num_inference_steps=asked, return_steps=True)
    assert [len(pictures) for pictures in partial] == [steps, steps] and partial[0][0].size == (16, 16)


def test_animation(run, model, tmp_path):
    gif, png = tmp_path / "new" / "flag.gif", tmp_path / "flag.png"
    asked = ("sample", "--workdir", run, "--num-inference-steps", 4, "--prompt", "flag")
    assert call(*asked, "--seed", 3, "--animate", gif, "--out", png) == 0
    animation = Image.open(gif)
    assert 2 <= animation.n_frames <= 4 and animation.info["loop"] == 0 and min(animation.size) > 128
    comment = animation.info["comment"].decode()
    assert "prompt: flag" in comment and "num_inference_steps: 4" in comment and "seed: 3" in comment
    assert np.array_equal(np.asarray(Image.open(png)), np.asarray(model("flag", seed=3, num_inference_steps=4)[0]))
    assert call(*asked, "--prompt", "face", "--num", 2, "--animate", tmp_path / "both.gif") == 0
    assert Image.open(tmp_path / "both.gif").width > 2 * 128


@pytest.mark.parametrize("override", [
    "data.noise=0", "steps.order=spiral", "steps.noise=0", "losses.blocks=17", "losses.blocks=0", "losses.drawn=0.0",
    "losses.few=0.0", "losses.epsilon=0.0", "losses.corruption=1.5", "losses.relaxation=0.0", "generator.heads=3",
    "text.heads=3", "tokenizer.patch=3", "losses.adversarial=softmax", "dtype=float16",
])
def test_what_cannot_work_is_refused_by_name(override):
    with pytest.raises(UserError, match=override.split("=")[0].split(".")[-1]):
        systems.build(configs.load(TINY, [f"--config.{override}"]), tokenizer=None)


def test_pixels_need_no_tokenizer_stage():
    system = systems.build(configs.load(f"{CONFIGS / 'noisy_ar.py'}:pixel"), tokenizer=None)
    assert [stage.name for stage in system.stages] == ["pretraining", "gan", "finetuning"]
    params, aux = jax.eval_shape(system.init, jax.random.key(0))
    assert "tokenizer" not in params and aux["codebook"]["vectors"].shape == (17, 1)
