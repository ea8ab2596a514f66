"""The game that systems share: a judge whose every answer is known, worked numbers, formulas in NumPy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import playing
import pytest
import reference

from t2i_jax import keys
from t2i_jax.errors import UserError
from t2i_jax.objectives.augment import augment
from t2i_jax.systems import _game

COUNT = 6
LOSSES = _game.GameLosses(matching=True, contrastive=0.7, temperature=0.3, gamma=0.6, gamma_fake=0.4, l1=0.01, l2=0.02)
PARAMS = {name: jax.random.normal(jax.random.key(n), shape) / 5 for n, (name, shape) in enumerate(
    {"w": (27,), "v": (27, 5), "see": (27, 4), "say": (5, 4)}.items())}
IMAGES, MADE = (jax.random.uniform(jax.random.key(n), (COUNT, 3, 3, 3), minval=-1) for n in (10, 11))
SENTENCE = jax.random.normal(jax.random.key(12), (COUNT, 5))
CAPTION = jnp.array([1, 2, 1, 4, 12, 6], jnp.uint32)  # 0 and 2 share one; 12 says more of what 2 says
BATCH = {"image": IMAGES, "caption": CAPTION,
         "captions": jnp.array([[1, 0], [2, 0], [1, 0], [4, 0], [2, 12], [6, 0]], jnp.uint32)}


def judge(params, images, sentence):
    """A bilinear discriminator of squared pixels, so that slopes depend on the picture."""
    own, h = params["discriminator"], images.reshape(len(images), -1)
    matches = jnp.einsum("be,...be->...b", h @ own["v"], sentence)
    return jnp.broadcast_to(h**2 @ own["w"], matches.shape) + matches, h @ own["see"], sentence @ own["say"]


def turn(batch=BATCH, params=PARAMS):
    return playing.turn_of(dataclasses.make_dataclass("S", ["params", "aux", "ema", "key"])(
        {"discriminator": params}, {}, {}, jax.random.key(0)), batch)


@pytest.fixture(scope="module")
def out():
    return playing.as_float64(playing.judged(lambda *x: judge({"discriminator": PARAMS}, *x), IMAGES, MADE, SENTENCE))


def play(losses, side, batch=BATCH):
    """(loss, terms) of one side."""
    run = getattr(_game.build(losses, judge), side)
    loss, terms = playing.quick(lambda: run(turn(batch), MADE, SENTENCE))()
    return float(loss), playing.as_float64(terms)


@pytest.mark.parametrize("losses", [LOSSES, _game.GameLosses(), dataclasses.replace(LOSSES, gamma=0.0, l1=0.0)])
def test_every_term_and_its_weight(out, losses):
    loss, terms = play(losses, "discriminator")
    expected = reference.discriminator_terms(losses, out, BATCH, PARAMS)
    np.testing.assert_allclose(loss, expected.pop("loss"), rtol=1e-5)
    assert terms.keys() == expected.keys()  # what has no weight is neither computed nor reported
    reference.assert_terms(terms, expected)
    loss, terms = play(losses, "generator")
    expected = reference.generator_terms(losses, out, BATCH)
    np.testing.assert_allclose(loss, expected.pop("game"), rtol=1e-5)
    assert terms.keys() == expected.keys()
    reference.assert_terms(terms, expected)


softplus = reference.softplus
SIDES = {  # (real, fake) -> L_D; (fake, real) -> L_G
    "minimax": (lambda r, f: softplus(-r) + softplus(f), lambda f, r: -softplus(f)),
    "non_saturating": (lambda r, f: softplus(-r) + softplus(f), lambda f, r: softplus(-f)),
    "hinge": (lambda r, f: np.maximum(0, 1 - r).mean() + np.maximum(0, 1 + f).mean(), lambda f, r: -f.mean()),
    "wasserstein": (lambda r, f: f.mean() - r.mean(), lambda f, r: -f.mean()),
    "relativistic": (lambda r, f: softplus(f - r), lambda f, r: softplus(r - f)),
}


@pytest.mark.parametrize("name", SIDES)
def test_every_game_with_and_without_wrong_captions(out, name):
    discriminator, generator = SIDES[name]
    mismatched = out["crossed"][np.arange(COUNT), reference.wrong(reference.right_pairs(BATCH))]
    plain = discriminator(out["real"], out["fake"])
    for matching, expected in ((False, plain), (True, (plain + discriminator(out["real"], mismatched)) / 2)):
        losses = _game.GameLosses(adversarial=name, matching=matching)
        np.testing.assert_allclose(play(losses, "discriminator")[0], expected, rtol=1e-5)
    loss, terms = play(losses, "generator")
    np.testing.assert_allclose(loss, generator(out["fake"], out["real"]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(terms["discriminator"], plain, rtol=1e-5)


def test_a_caption_that_suits_every_picture_is_never_taken_for_a_wrong_one(out):
    same = BATCH | {"caption": jnp.ones(COUNT, jnp.uint32), "captions": jnp.ones((COUNT, 1), jnp.uint32)}
    loss, _ = play(_game.GameLosses(matching=True), "discriminator", same)
    np.testing.assert_allclose(loss, SIDES["non_saturating"][0](out["real"], out["fake"]), rtol=1e-5)


def test_the_worked_numbers():
    """With D(x) = 0.9 and D(G(z)) = 0.1 each half of L_D is -log 0.9, and L_G = -log 0.1."""
    logit = np.log(0.9 / 0.1)
    told = lambda params, images, sentence: (images[:, 0, 0, 0], images[:, 0, 0], sentence)
    game = _game.build(_game.GameLosses(), told)
    batch = BATCH | {"image": jnp.full((COUNT, 1, 1, 1), logit)}
    (l_d, d_terms), (l_g, g_terms) = (
        run(turn(batch), jnp.full((COUNT, 1, 1, 1), -logit), SENTENCE) for run in (game.discriminator, game.generator))
    np.testing.assert_allclose(l_d, -np.log(0.9) - np.log(0.9), rtol=1e-5)
    np.testing.assert_allclose(l_g, -np.log(0.1), rtol=1e-5)
    np.testing.assert_allclose((d_terms["gan"], g_terms["gan"], g_terms["discriminator"]), (l_d, l_g, l_d), rtol=1e-6)
    assert d_terms["accuracy_real"] == d_terms["accuracy_fake"] == d_terms["pairs_told"] == 1
    # Only the real half: D asked about real pictures, fakes so bad that their half costs nothing.
    (half, _) = game.discriminator(turn(batch), jnp.full((COUNT, 1, 1, 1), -100.0), SENTENCE)
    np.testing.assert_allclose(half, -np.log(0.9), rtol=1e-5)
    # A discriminator that can no longer tell.
    (lost, terms) = game.discriminator(turn(batch), batch["image"], SENTENCE)
    assert terms["accuracy_real"] == terms["accuracy_fake"] == terms["pairs_told"] == 0.5
    np.testing.assert_allclose(lost, -np.log(0.9) - np.log(0.1), rtol=1e-5)


def test_real_and_generated_pictures_are_augmented_alike_and_penalties_see_them_before(out):
    losses = _game.GameLosses(augment=0.8, gamma=1.0)
    example_keys = keys.named(keys.per_example(jax.random.key(0), COUNT), "augment")

    def one(image, sentence, key):
        shown = augment(image[None], key[None], strength=0.8)
        return judge({"discriminator": PARAMS}, shown, sentence[None])[0][0]

    ask = playing.quick(jax.vmap(jax.value_and_grad(one)))
    (real, slope), (fake, _) = (playing.as_float64(ask(x, SENTENCE, example_keys)) for x in (IMAGES, MADE))
    r1 = (slope.reshape(COUNT, -1) ** 2).sum(1).mean()
    assert np.abs(real - out["real"]).max() > 1e-2
    _, terms = play(losses, "discriminator")
    reference.assert_terms(terms, {"gan": SIDES["non_saturating"][0](real, fake), "r1": r1})
    reference.assert_terms(play(losses, "generator")[1], {"gan": softplus(-fake)})


def test_gradients_reach_whom_they_should():
    game = _game.build(LOSSES, judge)
    loss = lambda run: playing.quick(jax.grad(lambda made, sentence: run(turn(), made, sentence)[0], argnums=(0, 1)))
    made, sentence = loss(game.generator)(MADE, SENTENCE)
    assert jnp.abs(made).max() > 0 and not sentence.any()  # the generator's caption must not be bent to please
    _, sentence = loss(game.discriminator)(MADE, SENTENCE)
    assert sentence.any()


def test_an_unknown_game_is_refused():
    with pytest.raises(UserError, match="'lsgan'.*relativistic"):
        _game.build(_game.GameLosses(adversarial="lsgan"), judge)
