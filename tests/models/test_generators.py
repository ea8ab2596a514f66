"""Generators: what their outputs depend on, ranges, shapes, batch normalization by hand."""

import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2i_jax.models.generators import ChoosingGenerator, ConvGenerator, DenseGenerator, LatentGenerator, Norm, TextCodec
from t2i_jax.models.layers import ResidualStack

SIZE = {"latent": 10, "width": 16, "hidden": 24, "blocks": 2}
CHOOSING = {"choosing_width": 12, "choosing_hidden": 20, "choosing_blocks": 1, "noise_gain": 3.0}
NOISE, SENTENCE = (jax.random.normal(jax.random.key(n), (6, n)) for n in (4, 8))


@pytest.fixture(scope="module", params=[LatentGenerator, ChoosingGenerator])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def params(kind):
    return started(kind(**SIZE))


def started(generator):
    """Parameters, that of them at random which begins as zeros."""
    params = jax.jit(generator.init)(jax.random.key(0), NOISE, SENTENCE)["params"]
    random = lambda x: 0.2 * jax.random.normal(jax.random.key(1), x.shape)
    return params | {"chosen": jax.tree.map(random, params["chosen"])} if "chosen" in params else params


@functools.partial(jax.jit, static_argnums=0)
def draw(generator, params, noise, sentence):
    return generator.apply({"params": params}, noise, sentence)


def test_every_latent_depends_on_its_noise_and_its_sentence_alone(kind, params):
    latents = draw(kind(**SIZE), params, NOISE, SENTENCE)
    assert latents.shape == (6, 10)
    for noise, sentence in [(NOISE.at[2].add(1), SENTENCE), (NOISE, SENTENCE.at[2].add(1))]:
        moved = jnp.abs(draw(kind(**SIZE), params, noise, sentence) - latents).max(axis=-1)
        assert moved[2] > 1e-2 and jnp.all(moved.at[2].set(0) < 1e-6)
    np.testing.assert_allclose(draw(kind(**SIZE), params, NOISE[4:5], SENTENCE[4:5]), latents[4:5], atol=1e-6)


def test_gain_of_noise(kind, params):
    louder = draw(kind(**SIZE, noise_gain=3.0), params, NOISE, SENTENCE)
    np.testing.assert_allclose(louder, draw(kind(**SIZE), params, 3 * NOISE, SENTENCE), atol=1e-5)


def test_bfloat16_and_recomputation(kind, params):
    exact = draw(kind(**SIZE), params, NOISE, SENTENCE)
    half = kind(**SIZE, dtype=jnp.bfloat16)
    fresh = jax.eval_shape(half.init, jax.random.key(0), NOISE, SENTENCE)
    assert {p.dtype for p in jax.tree.leaves(fresh)} == {jnp.dtype("float32")}
    rough = draw(half, params, NOISE, SENTENCE)
    assert rough.dtype == jnp.bfloat16 and 1e-4 < jnp.abs(rough - exact).max() < 0.1
    grads = lambda generator: jax.jit(jax.grad(lambda p: jnp.sum(draw(generator, p, NOISE, SENTENCE) ** 2)))(params)
    again, kept = grads(kind(**SIZE, remat=True)), grads(kind(**SIZE))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), again, kept)


def test_noise_completes_the_sentence_and_what_it_says_then_is_drawn():
    """G(n, t) = W(t + F(n, t))."""
    generator = ChoosingGenerator(**SIZE, **CHOOSING)
    params = started(generator)
    heard = jnp.concatenate([3 * NOISE, SENTENCE], axis=1)
    more = ResidualStack(12, 20, 1).apply({"params": params["choosing"]}, heard) @ params["chosen"]["Dense_0"]["kernel"]
    call = functools.partial(generator.apply, {"params": params})
    np.testing.assert_allclose(call(NOISE, SENTENCE, method="choose"), more, atol=1e-5)
    h = ResidualStack(16, 24, 2).apply({"params": params["drawing"]}, SENTENCE + more)
    drawn = h @ params["drawn"]["kernel"] + params["drawn"]["bias"][None]
    np.testing.assert_allclose(call(SENTENCE + more, method="draw"), drawn, atol=1e-5)
    np.testing.assert_allclose(draw(generator, params, NOISE, SENTENCE), drawn, atol=1e-5)


def test_a_last_hidden_layer_lifts_latents_out_of_the_space_of_features():
    generator = ChoosingGenerator(**SIZE | {"latent": 40, "width": 6}, **CHOOSING, last_hidden=50)
    sentences = jax.random.normal(jax.random.key(5), (60, 8))
    params = jax.jit(generator.init)(jax.random.key(0), NOISE, SENTENCE)["params"]
    drawn = generator.apply({"params": params}, sentences, method="draw")
    h = ResidualStack(6, 24, 2).apply({"params": params["drawing"]}, sentences) @ params["last"]["kernel"]
    h = h + params["last"]["bias"][None]
    expected = (h * jax.nn.sigmoid(h)) @ params["drawn"]["kernel"] + params["drawn"]["bias"][None]
    np.testing.assert_allclose(drawn, expected, atol=1e-5)
    rank = lambda z: np.linalg.matrix_rank(np.asarray(z - z.mean(0)[None]), tol=1e-4)
    assert rank(drawn) > 20
    plain = ChoosingGenerator(**SIZE | {"latent": 40, "width": 6}, **CHOOSING)
    params = jax.jit(plain.init)(jax.random.key(0), NOISE, SENTENCE)["params"]
    assert rank(plain.apply({"params": params}, sentences, method="draw")) == 6


def test_noise_says_nothing_at_first():
    generator = ChoosingGenerator(**SIZE, **CHOOSING)
    params = jax.jit(generator.init)(jax.random.key(0), NOISE, SENTENCE)
    assert not jnp.any(generator.apply(params, NOISE, SENTENCE, method="choose"))


def test_what_noise_chooses_does_not_teach_what_words_mean():
    generator = ChoosingGenerator(**SIZE, **CHOOSING)
    params = started(generator)
    slope = jax.grad(lambda noise, sentence: jnp.sum(generator.apply({"params": params}, noise, sentence, method="choose") ** 2),
                     argnums=(0, 1))
    of_noise, of_sentence = slope(NOISE, SENTENCE)
    assert jnp.abs(of_noise).max() > 1e-3 and not jnp.any(of_sentence)


quick = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # to compile


def variables_of(module, *inputs, **options):
    """Random ones in the shapes that the module asks for; variances are positive."""
    shapes = jax.eval_shape(functools.partial(module.init, **options), jax.random.key(0), *inputs)
    drawn = lambda path, x: 0.2 * jax.random.normal(jax.random.key(zlib.crc32(str(path).encode())), x.shape)
    variables = jax.tree_util.tree_map_with_path(drawn, shapes)
    if "batch_stats" in variables:
        variables["batch_stats"] = jax.tree.map(jnp.abs, variables["batch_stats"])
    return variables


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 2, 3)])
def test_batch_normalization_by_hand(shape):
    norm = Norm(on=True)
    h = 2 + 3 * jax.random.normal(jax.random.key(0), shape)
    variables = variables_of(norm, h, train=True)
    found, moved = quick(lambda v, h: norm.apply(v, h, train=True, mutable=["batch_stats"]))(variables, h)
    (params,), (running,), (after,) = (
        [jax.tree.map(np.asarray, layer) for layer in tree.values()]
        for tree in (variables["params"], variables["batch_stats"], moved["batch_stats"]))
    x = np.asarray(h, np.float64)
    axes = tuple(range(x.ndim - 1))
    normal = lambda mean, var: (x - mean) / np.sqrt(var + 1e-3) * params["scale"] + params["bias"]
    mean, var = x.mean(axes), ((x - x.mean(axes)) ** 2).mean(axes)  # of the batch itself: divided by N, not N - 1
    np.testing.assert_allclose(found, normal(mean, var), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(after["mean"], 0.8 * running["mean"] + 0.2 * mean, rtol=1e-5)
    np.testing.assert_allclose(after["var"], 0.8 * running["var"] + 0.2 * var, rtol=1e-5)
    drawn = quick(lambda v, h: norm.apply(v, h, train=False))(variables, h)
    np.testing.assert_allclose(drawn, normal(running["mean"], running["var"]), rtol=1e-4, atol=1e-5)


def test_normalization_that_is_off_is_nothing():
    h = jnp.arange(6.0).reshape(2, 3)
    found, variables = Norm(on=False).init_with_output(jax.random.key(0), h, train=True)
    assert found is h and not variables


@pytest.mark.parametrize("side, layers", [(16, 2), (28, 2), (32, 3), (64, 4)])
@pytest.mark.parametrize("colours", [1, 3])
def test_pictures_of_every_side(side, layers, colours):
    shape = (side, side, colours)
    eights = (8,) * layers
    generators = [DenseGenerator(shape, (8, 8)), ConvGenerator(shape, eights), TextCodec(shape, decoder=eights),
                  TextCodec(shape, decoder=eights, dense_output=True)]
    for generator in generators:
        assert side % generator.multiple == 0
        variables = jax.eval_shape(generator.init, jax.random.key(0), NOISE, SENTENCE)
        made = jax.eval_shape(generator.apply, variables, NOISE, SENTENCE)
        assert (made.shape, made.dtype) == ((6, *shape), jnp.float32)
        half = jax.eval_shape(generator.clone(dtype=jnp.bfloat16).apply, variables, NOISE, SENTENCE)
        assert half.dtype == jnp.bfloat16
        assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


PICTURE = (8, 12, 2)  # rows and columns are not mixed up
PICTURE_GENERATORS = {
    "dense": DenseGenerator(PICTURE, (16, 16)),
    "dense, normalized": DenseGenerator(PICTURE, (16, 16), batch_norm=True),
    "convolutional": ConvGenerator(PICTURE, (8, 6), batch_norm=False),
    "convolutional, normalized": ConvGenerator(PICTURE, (8, 6)),
    "text codec": TextCodec(PICTURE, side=2, encoder=(8,), decoder=(8, 6)),
    "text codec, dense": TextCodec(PICTURE, side=2, encoder=(8,), decoder=(8, 6), dense_output=True),
}


@pytest.mark.parametrize("name", [name for name in PICTURE_GENERATORS if "normalized" in name or "codec" in name])
def test_a_picture_is_in_range_and_depends_on_all_of_its_noise_and_sentence_alone(name):
    generator = PICTURE_GENERATORS[name]
    variables = variables_of(generator, NOISE, SENTENCE)

    @quick
    def draw(noise, sentence):
        third = lambda images: (images[2].sum(), images)
        return jax.grad(lambda *x: third(generator.apply(variables, *x)), argnums=(0, 1), has_aux=True)(noise, sentence)

    slopes, images = draw(NOISE, SENTENCE)
    assert images.shape == (6, *PICTURE) and jnp.abs(images).max() <= 1 and jnp.ptp(images, axis=0).min() > 1e-3
    for slope in slopes:
        assert jnp.abs(slope[2]).min() > 0 and not jnp.any(slope.at[2].set(0))
    assert jnp.abs(draw(NOISE * 3, SENTENCE * 3)[1]).max() <= 1


@pytest.mark.parametrize("name", [name for name in PICTURE_GENERATORS if "codec" not in name])
def test_what_is_beside_a_picture_matters_in_training_only_and_where_batches_are_normalized(name):
    generator = PICTURE_GENERATORS[name]
    variables = variables_of(generator, NOISE, None)
    assert ("batch_stats" in variables) == ("normalized" in name)

    @quick
    def draw(noise):
        apply = lambda noise, train: generator.apply(variables, noise, None, train, mutable=["batch_stats"])[0][:3]
        return [jnp.abs(apply(noise[:3], train) - apply(noise, train)).max() for train in (True, False)]

    training, drawing = draw(NOISE)
    assert (training > 1e-3) == ("normalized" in name) and drawing < 1e-6


def test_a_sentence_larger_than_its_map_fills_several_channels_and_none_is_lost():
    generator = TextCodec((4, 4, 1), side=2, encoder=(8,), decoder=(4,))
    wide = jax.random.normal(jax.random.key(3), (2, 10))  # a map of 2 x 2 x 3
    shapes = jax.eval_shape(generator.init, jax.random.key(0), NOISE[:2], wide)["params"]
    assert shapes["Conv_0"]["kernel"].shape == (3, 3, 3, 8)
    variables = variables_of(generator, NOISE[:2], wide)
    slope = quick(jax.grad(lambda sentence: generator.apply(variables, NOISE[:2], sentence)[0].sum()))(wide)
    assert jnp.abs(slope[0]).min() > 0
