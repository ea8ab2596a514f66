"""Drawing in blocks through noise: what a step sees, that training and sampling draw alike, where gradients pass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2i_jax import keys
from t2i_jax.models.masked_tokens import MaskedTokenTransformer
from t2i_jax.models.token_order import drawn_before
from t2i_jax.systems._noisy_steps import Caption, NoisySteps, Order, unspoken

B, GRID, V, D = 2, (3, 4), 6, 8
COUNT, MOST = 12, 3
RNG = np.random.default_rng(0)
draw = lambda *shape: jnp.asarray(RNG.normal(size=shape), jnp.float32)
STEPS = NoisySteps(MaskedTokenTransformer(V, width=16, depth=1, heads=2, hidden=16), GRID, Order("scattered", noise=3))
CAPTION = Caption(draw(B, D), draw(B, 5, D), jnp.ones((B, 5), bool), draw(B, 2))
KEYS = keys.per_example(jax.random.key(7), B)


@pytest.fixture(scope="module")
def params():
    return {"generator": STEPS.init(jax.random.key(0), CAPTION)}


@pytest.fixture(scope="module")
def one_by_one(params):
    """(blocks) -> tokens [B, N], drawn with the network alone, a block at a time, and the levels that it was told."""
    logits = jax.jit(STEPS.logits)
    gumbel, noise = np.asarray(STEPS.gumbel(KEYS)), STEPS.place_noise(KEYS)

    def run(blocks):
        tokens, known, levels = np.zeros((B, COUNT), np.int32), np.zeros((1, COUNT), bool), []
        while not known.all():
            levels.append(1 - known.mean())
            seen = np.where(known[..., None], np.eye(V)[tokens], 1e9)  # hidden ones must not be read
            said = logits(params, jnp.asarray(seen, jnp.float32), known, noise, jnp.full(B, levels[-1]), CAPTION)
            now = (STEPS.rank < drawn_before(len(levels), blocks, COUNT)) & ~known
            tokens, known = np.where(now, np.argmax(np.asarray(said) + gumbel, -1), tokens), known | now
        return tokens, levels

    return run


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_training_and_sampling_draw_what_the_network_says_block_by_block(params, one_by_one, blocks):
    expected, levels = one_by_one(blocks)
    assert len(levels) == blocks and levels[0] == 1 and sorted(levels, reverse=True) == levels
    imagined = jax.jit(lambda params, blocks: STEPS.imagine(params, CAPTION, KEYS, blocks, MOST, 1.0))(params, blocks)
    np.testing.assert_allclose(imagined, np.eye(V)[expected], atol=1e-6)
    drawn, _ = jax.jit(lambda params: STEPS.draw(params, CAPTION, KEYS, 1.0, 0, 1.0, blocks))(params)
    np.testing.assert_array_equal(drawn, expected)


@pytest.mark.parametrize("asked", [5, COUNT, 0, 50])
def test_any_number_of_steps_is_legal(params, one_by_one, asked):
    steps = asked if 0 < asked < COUNT else COUNT
    paint = lambda choice: choice
    drawn, painted = jax.jit(lambda params: STEPS.draw(params, CAPTION, KEYS, 1.0, 0, 1.0, asked, paint))(params)
    np.testing.assert_array_equal(drawn, one_by_one(steps)[0])
    assert painted.shape == (steps, B, COUNT, V)


def test_steps_are_painted_as_drawn_and_where_nothing_is_drawn_as_expected(params):
    drawn, painted = STEPS.draw(params, CAPTION, KEYS, 1.0, 0, 1.0, 3, lambda choice: choice)
    for step in range(3):
        now = np.broadcast_to(STEPS.rank < drawn_before(step + 1, 3, COUNT), (B, COUNT))
        np.testing.assert_array_equal(painted[step][now], np.eye(V)[drawn][now])
        np.testing.assert_allclose(painted[step].sum(-1), 1, rtol=1e-5)
        assert step == 2 or np.asarray(painted[step])[~now].max() < 1
    np.testing.assert_array_equal(painted[-1], np.eye(V)[drawn])


def test_temperature_0_takes_the_likeliest_whatever_the_key(params):
    network = STEPS.draw(params, CAPTION, KEYS, 0.0, 0, 1.0, 1, lambda choice: choice)[0]
    noise = STEPS.place_noise(KEYS)
    nothing = jnp.zeros((B, COUNT, V))
    logits = STEPS.logits(params, nothing, nothing[..., 0] > 0, noise, jnp.ones(B), CAPTION)
    np.testing.assert_array_equal(network, np.argmax(logits, -1))


@pytest.mark.parametrize("blocks", [1, 3])
def test_gradients_pass_from_later_blocks_through_the_tokens_drawn_before(params, blocks):
    weights = draw(B, COUNT, V) * (STEPS.rank >= 8)[..., None]  # of the last of three blocks alone
    value = lambda params: jnp.sum(weights * STEPS.imagine(params, CAPTION, KEYS, jnp.int32(blocks), MOST, 1.0))
    slope = jax.jit(jax.grad(value))(params)["generator"]
    assert np.any(slope["logits"]["kernel"])
    assert np.any(slope["tokens"]["kernel"]) == (blocks > 1)  # what embeds visible tokens


@pytest.mark.parametrize("most", [0.0, 1.0])
def test_pretraining_hides_all_but_a_prefix_and_corrupts_as_much_as_the_level_says(params, most, monkeypatch):
    seen = {}
    monkeypatch.setattr(NoisySteps, "logits", lambda self, params, *inputs: seen.update(zip(
        ("tokens", "known", "noise", "level"), inputs)) or jnp.zeros((512, COUNT, V)))
    tokens = jnp.asarray(RNG.integers(0, V, (512, COUNT)))
    _, hidden = STEPS.corrupted(params, tokens, CAPTION, keys.per_example(jax.random.key(1), 512), most)
    known = np.asarray(seen["known"])
    np.testing.assert_array_equal(known, ~np.asarray(hidden))
    counts = known.sum(1)
    np.testing.assert_array_equal(known, STEPS.rank < counts[:, None])
    assert set(counts) == set(range(COUNT)) and np.mean(counts == 0) > 0.2
    level = np.asarray(seen["level"])
    assert 0 <= level.min() < 0.01 and 0.99 < level.max() < 1
    wrong = np.argmax(seen["tokens"], -1) != np.asarray(tokens)
    np.testing.assert_allclose(wrong.mean(), most * level.mean() * (1 - 1 / V), atol=0.02)
    if most:
        slope = np.polyfit(level, wrong.mean(1), 1)[0]
        np.testing.assert_allclose(slope, 1 - 1 / V, atol=0.05)


def test_without_a_caption_only_its_noise_is_left(params):
    nothing = unspoken(CAPTION)
    assert not np.any(nothing.sentence) and not np.any(nothing.words) and not np.any(nothing.mask)
    np.testing.assert_array_equal(nothing.noise, CAPTION.noise)
    drawn = lambda caption: STEPS.draw(params, caption, KEYS, 1.0, 0, 1.0, 1, lambda choice: choice)[0]
    assert np.any(drawn(nothing) != drawn(nothing._replace(noise=-CAPTION.noise)))
