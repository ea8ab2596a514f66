"""The transformer players of latent maps are PyTorch's of the same layers, in values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import playing
import pytest
from ml_collections import ConfigDict

from t2i_jax.models.latent_transformers import TransformerDiscriminator, TransformerGenerator
from t2i_jax.paths import flat

torch = pytest.importorskip("torch", reason="the reference implementation comes with pip install 't2i_jax[parity]'")
twins, transformer_twins = (pytest.importorskip(name) for name in ("twins", "transformer_twins"))

SIZES = ConfigDict({"patch": 2, "width": 16, "depth": 2, "heads": 2, "hidden": 24, "embedding": 6})
LATENT, NOISE, WORDS, LENGTH, BATCH = (4, 6, 3), 5, 7, 4, 3


def sizes(*names):
    return {name: SIZES[name] for name in names}


def drawn(*shape):
    return np.random.default_rng(len(shape) + sum(shape)).standard_normal(shape).astype(np.float32)


def generators():
    ours = TransformerGenerator(LATENT, **sizes("patch", "width", "depth", "heads", "hidden"))
    mask = np.arange(LENGTH)[None] < np.array([[1], [4], [2]])
    inputs = drawn(BATCH, NOISE), drawn(BATCH, WORDS), drawn(BATCH, LENGTH, WORDS), mask
    return ours, transformer_twins.Generator(SIZES, LATENT, NOISE, WORDS), inputs


def discriminators():
    ours = TransformerDiscriminator(**sizes("patch", "width", "depth", "heads", "hidden", "embedding"))
    return ours, transformer_twins.Discriminator(SIZES, LATENT, WORDS), (drawn(BATCH, *LATENT), drawn(BATCH, WORDS))


@pytest.mark.parametrize("players", [generators, discriminators])
def test_values_and_gradients_are_the_twins(players):
    ours, twin, inputs = players()
    shapes = jax.eval_shape(ours.init, jax.random.key(0), *inputs)["params"]
    params = jax.tree_util.tree_map_with_path(playing.random, shapes)
    total = lambda made: sum(jnp.sum(part**3) for part in jax.tree.leaves(made))
    value = lambda params: (lambda made: (total(made), made))(ours.apply({"params": params}, *inputs))
    grads, made = playing.quick(jax.grad(value, has_aux=True))(params)
    paths = lambda tree: transformer_twins.unstacked({f"player/{path}": x for path, x in flat(tree).items()})
    module = torch.nn.ModuleDict({"player": twin})
    twins.load(module, paths(params), {})
    parts = twin(*map(torch.from_numpy, inputs))
    parts = parts if isinstance(parts, tuple) else (parts,)
    for mine, theirs in zip(jax.tree.leaves(made), parts, strict=True):
        np.testing.assert_allclose(mine, theirs.detach().numpy(), rtol=1e-4, atol=1e-4)
    sum((part**3).sum() for part in parts).backward()
    expected, found = paths(grads), twins.arrays(module, lambda parameter: parameter.grad)
    assert found.keys() == expected.keys()
    for path, gradient in found.items():
        scale = max(np.abs(gradient).max(), 1e-3)
        np.testing.assert_allclose(expected[path], gradient, rtol=0, atol=2e-4 * scale, err_msg=path)
