"""What layers with two forms are compared by."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp


# Compiling takes most of the time, and XLA's optimizations most of that.
@functools.partial(jax.jit, static_argnums=0, compiler_options={"xla_backend_optimization_level": 0})
def derivatives(module, params, x):
    """Outputs, gradients by parameters and input, and the gradients of an R1-like penalty by both.

    A form that is chosen while tracing stays: `derivatives.clear_cache()` before another.
    """
    apply = lambda params, x: nn.tanh(module.apply({"params": params}, x))
    total = lambda params, x: jnp.sum(apply(params, x) ** 3)
    slope = lambda params, x: jnp.sum(jax.grad(total, 1)(params, x) ** 2)
    return apply(params, x), jax.grad(total, (0, 1))(params, x), jax.grad(slope, (0, 1))(params, x)
