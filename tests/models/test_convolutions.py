"""Convolutions are flax's and PyTorch's, in values and in derivatives, by either of their forms."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import derivatives

from t2i_jax.models import convolutions
from t2i_jax.models.convolutions import Conv, ConvTranspose

REFERENCE = "the reference implementation comes with pip install 't2i_jax[parity]'"
CASES = [(3, 2, (7, 4)), (3, 1, (5, 4)), (4, 2, (6, 7))]  # size, stride, sides
FEATURES = 5


def pair(transposed, size, stride):
    """Ours and flax's, of the same parameters."""
    if transposed:
        flaxes = nn.ConvTranspose(FEATURES, (size, size), (stride, stride), transpose_kernel=True)
        return ConvTranspose(FEATURES, size, stride), flaxes
    return Conv(FEATURES, size, stride), nn.Conv(FEATURES, (size, size), (stride, stride))


def pictures(sides):
    return jax.random.normal(jax.random.key(1), (2, *sides, 3))


def parameters(module, images):
    """Random ones, biases too."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), images)["params"]
    return jax.tree.map(lambda x: 0.3 * jax.random.normal(jax.random.key(2), x.shape, images.dtype), shapes)


def assert_close(found, expected, tolerance=1e-5):
    """Within a share of each array's largest value, none of which is 0."""
    def check(a, b):
        assert a.shape == b.shape and np.abs(b).max() > 1e-3
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())

    jax.tree.map(check, found, expected)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("size, stride, sides", CASES)
@pytest.mark.parametrize("double, tolerance", [(False, 1e-5), (True, 1e-9)])
def test_values_and_first_and_second_derivatives_are_flaxes_in_both_forms(
    transposed, size, stride, sides, double, tolerance, monkeypatch
):
    ours, flaxes = pair(transposed, size, stride)
    with jax.enable_x64(double):
        images = pictures(sides)
        params = parameters(flaxes, images)
        expected = derivatives(flaxes, params, images)
        assert expected[0].dtype == (jnp.float64 if double else jnp.float32)
        for form in ("cpu", "default"):
            monkeypatch.setattr(convolutions.lax, "platform_dependent", lambda *operands, **forms: forms[form](*operands))
            derivatives.clear_cache()  # the form is chosen while tracing
            assert_close(derivatives(ours, params, images), expected, tolerance)


@pytest.mark.parametrize("transposed", [False, True])
def test_only_the_program_for_cpus_is_made_of_matrix_products(transposed):
    module, _ = pair(transposed, 3, 2)
    images = pictures((8, 8))
    variables = {"params": parameters(module, images)}
    for platform, convolves in (("cpu", False), ("tpu", True), ("cuda", True)):
        program = jax.export.export(jax.jit(module.apply), platforms=[platform])(variables, images).mlir_module()
        assert ("stablehlo.convolution" in program) == convolves
        assert ("stablehlo.dot_general" in program) != convolves


@pytest.mark.parametrize("transposed", [False, True])
def test_parameters_are_flaxes_and_keep_the_spread_of_what_comes_in(transposed):
    ours, flaxes = pair(transposed, 4, 2)
    images = jnp.zeros((1, 1, 1, 96))
    shapes = [jax.eval_shape(module.init, jax.random.key(0), images) for module in (ours, flaxes)]
    assert shapes[0] == shapes[1]
    params = jax.jit(lambda: ours.init(jax.random.key(0), images)["params"])()
    assert not params["bias"].any()
    fan_in = 4 * 4 * 96
    np.testing.assert_allclose(params["kernel"].std(), fan_in**-0.5, rtol=0.05)


def test_odd_sides_halve_upwards():
    halve = lambda images: jax.eval_shape(Conv(3, 3, 2).init_with_output, jax.random.key(0), images)[0]
    images, sides = pictures((28, 17)), []
    for _ in range(4):
        images = halve(images)
        sides.append(images.shape[1:3])
    assert sides == [(14, 9), (7, 5), (4, 3), (2, 2)]


@pytest.mark.parametrize("transposed", [False, True])
def test_bfloat16_keeps_parameters_in_float32(transposed):
    exact, _ = pair(transposed, 4, 2)
    images = pictures((8, 8))
    variables = {"params": parameters(exact, images)}
    half = exact.clone(dtype=jnp.bfloat16)
    made = jax.jit(half.apply)(variables, images)
    assert made.dtype == jnp.bfloat16 and 1e-4 < jnp.abs(made - jax.jit(exact.apply)(variables, images)).max() < 0.1
    fresh = jax.eval_shape(half.init, jax.random.key(0), images)
    assert {leaf.dtype for leaf in jax.tree.leaves(fresh)} == {jnp.dtype("float32")}


# What "same" adds around a picture of even sides before a convolution: (before, after). For the transpose PyTorch takes
# away as much, which for (0, 1) is a padding of 0 and a last row and column cut off.
@pytest.mark.parametrize("size, stride, padding", [(3, 2, (0, 1)), (3, 1, (1, 1)), (4, 2, (1, 1))])
@pytest.mark.parametrize("transposed", [False, True])
def test_values_and_derivatives_are_pytorchs(transposed, size, stride, padding):
    torch = pytest.importorskip("torch", reason=REFERENCE)
    functional = torch.nn.functional
    ours, _ = pair(transposed, size, stride)
    images = pictures((8, 6))
    params = parameters(ours, images)
    kernel_order = (3, 2, 0, 1)  # [K, K, in, out] to [out, in, K, K]; of the transpose "in" and "out" change places
    turn = lambda x, *axes: torch.from_numpy(np.transpose(np.asarray(x), axes).copy()).requires_grad_()
    x, kernel, bias = turn(images, 0, 3, 1, 2), turn(params["kernel"], *kernel_order), turn(params["bias"], 0)
    before, after = padding
    if transposed:
        made = functional.conv_transpose2d(x, kernel, bias, stride=stride)
        end = lambda side: side - after or None
        made = made[:, :, before : end(made.shape[2]), before : end(made.shape[3])]
    else:
        made = functional.conv2d(functional.pad(x, (before, after, before, after)), kernel, bias, stride=stride)
    made = torch.tanh(made)
    leaves = (x, kernel, bias)
    grads = torch.autograd.grad((made**3).sum(), leaves, create_graph=True)
    seconds = torch.autograd.grad((grads[0] ** 2).sum(), leaves)
    back = lambda x, *axes: np.transpose(x.detach().numpy(), axes)
    ordered = lambda x, kernel, bias: (
        {"kernel": back(kernel, *np.argsort(kernel_order)), "bias": back(bias, 0)}, back(x, 0, 2, 3, 1))
    assert_close(derivatives(ours, params, images),
                 (back(made, 0, 2, 3, 1), ordered(*grads), ordered(*seconds)), tolerance=1e-5)
