"""Products of features with kernels are flax's in value and in derivatives, by either of their forms."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import derivatives

from t2i_jax.models import products
from t2i_jax.models.products import Dense


@pytest.mark.parametrize("shape", [(6, 5), (3, 4, 5), (2, 3, 2, 5)])
@pytest.mark.parametrize("form", ["cpu", "default"])
@pytest.mark.parametrize("dtype, tolerance", [(jnp.float32, 1e-5), (jnp.float64, 1e-9)])
def test_values_and_first_and_second_derivatives_are_flaxes(shape, form, dtype, tolerance, monkeypatch):
    monkeypatch.setattr(products.lax, "platform_dependent", lambda *operands, **forms: forms[form](*operands))
    with jax.enable_x64(dtype == jnp.float64):
        h = jax.random.normal(jax.random.key(1), shape, dtype)
        params = {"kernel": jax.random.normal(jax.random.key(2), (5, 7), dtype), "bias": jnp.ones(7, dtype)}
        derivatives.clear_cache()  # the form is chosen while tracing
        found, expected = (derivatives(module(7), params, h) for module in (Dense, nn.Dense))

    def check(a, b):
        assert a.shape == b.shape and a.dtype == dtype
        assert np.linalg.norm(a - b) <= tolerance * np.linalg.norm(b)

    jax.tree.map(check, found, expected)


def test_only_the_program_for_cpus_flattens_features():
    module, h = Dense(7, use_bias=False), jnp.ones((3, 4, 5))
    variables = {"params": {"kernel": jnp.ones((5, 7))}}
    for platform, flattens in (("cpu", True), ("tpu", False), ("cuda", False)):
        program = jax.export.export(jax.jit(module.apply), platforms=[platform])(variables, h).mlir_module()
        assert ("tensor<12x7xf32>" in program) == flattens and "dot_general" in program
