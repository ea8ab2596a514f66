"""The Inception network against pytorch-fid's, whose outputs make_inception_golden.py wrote down."""

import jax
import numpy as np
import pytest
from make_inception_golden import GOLDEN, images, published_shapes, tensor
from safetensors.numpy import save_file

from t2i_jax.models.inception import Inception
from t2i_jax.pretrained import naming, weights

SPEC = jax.ShapeDtypeStruct((1, 299, 299, 3), np.float32)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def variables(golden, tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "weights.safetensors"
    save_file({name: tensor(name, shape) for name, shape in published_shapes(golden).items()}, path)
    return weights.load(weights.find(path), Inception(), [SPEC], naming.INCEPTION_NAMES)


def test_features_are_the_references(variables, golden):
    features = jax.jit(Inception().apply)(variables, images())
    assert golden["features"].std() > 0.5 and np.abs(np.diff(golden["features"], axis=0)).mean() > 0.1
    np.testing.assert_allclose(features, golden["features"], rtol=1e-4, atol=1e-4)


def test_it_has_the_size_it_is_known_for(variables):
    count = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
    assert count(variables["params"]) == 21_785_568  # torchvision's figure, without the classifier
    assert jax.eval_shape(Inception().apply, variables, SPEC).shape == (1, 2048)
