"""Rules that say how arrays are split, on meshes of devices that are not there."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, AxisType, PartitionSpec
from running import CONFIGS
from tiny_models import write_tiny

from t2i_jax import config as configs
from t2i_jax import systems
from t2i_jax.distributed import activations, sharding
from t2i_jax.distributed.mesh import compiler_options, make_mesh
from t2i_jax.errors import UserError
from t2i_jax.paths import flat
from t2i_jax.pretrained.captions import CachedText
from t2i_jax.pretrained.language import load_language_model
from t2i_jax.training.state import create

MESH = AbstractMesh((2, 4), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)
array = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.float32)


def specs(tree):
    return jax.tree.map(lambda x: x.spec, sharding.parameters(tree, MESH))


def test_large_arrays_are_split_along_their_longest_axis_that_divides():
    tree = {"layer": {"kernel": array(512, 1024), "bias": array(1024)}, "other": {"kernel": array(1000, 1026)},
            "words": {"embedding": array(70_000, 7)}}
    assert specs(tree) == {
        "layer": {"kernel": PartitionSpec(None, "fsdp"), "bias": PartitionSpec()},
        "other": {"kernel": PartitionSpec("fsdp")}, "words": {"embedding": PartitionSpec("fsdp")},
    }


def test_the_axis_that_counts_blocks_is_never_split():
    tree = {"player": {"blocks": {"dense": {"kernel": array(4096, 8, 12)}, "norm": {"scale": array(65536, 3)}}}}
    whole, split = PartitionSpec(), PartitionSpec(None, None, "fsdp")
    assert specs(tree) == {"player": {"blocks": {"dense": {"kernel": split}, "norm": {"scale": whole}}}}


def test_a_large_array_without_a_rule_is_refused_by_name_and_a_small_one_is_whole():
    assert specs({"player": {"table": array(8, 8)}}) == {"player": {"table": PartitionSpec()}}
    with pytest.raises(UserError, match=r"player/table \[512, 512\].*RULES"):
        specs({"player": {"table": array(512, 512)}})


@pytest.mark.parametrize("file", sorted(file.stem for file in CONFIGS.glob("*.py") if file.stem != "folder"))
def test_every_array_of_every_system_has_a_rule_and_moments_are_split_as_their_parameters(file, tiny_bert, monkeypatch):
    monkeypatch.setattr(sharding, "SMALLEST_SHARDED", 2**8)
    text = CachedText(load_language_model(tiny_bert), "float16") if file == "lm_gan" else None
    system = systems.build(configs.load(f"{CONFIGS / file}.py:tiny"), text)
    state = jax.eval_shape(lambda: create(system, jax.random.key(0)))
    placed = sharding.parameters(state, MESH)
    names = lambda tree: {sharding._joined(path): x.spec for path, x in jax.tree_util.tree_leaves_with_path(tree)}
    params, rest = names(placed.params), names(placed.opt_state) | names(placed.ema)
    assert any(spec != PartitionSpec() for spec in params.values())
    for path, spec in rest.items():
        owner = next((name for name in params if path.endswith("/" + name)), None)
        assert spec == (params[owner] if owner else PartitionSpec()) or "codebook" in path, path


@pytest.mark.parametrize("family", ["bert", "t5", "clip"])
def test_every_array_of_a_language_model_has_a_rule(family, tmp_path):
    params = load_language_model(write_tiny(tmp_path / family, family)).params
    for path, x in flat(params).items():
        assert sharding.splittable(f"text/model/{path}", x.shape) == 0, path


def test_activations_are_split_by_example_inside_training_alone_and_only_where_they_divide():
    mesh = make_mesh()
    split = lambda x: str(jax.make_jaxpr(lambda x: activations.by_example(x) + 1)(x)).count("sharding_constraint")
    assert split(jnp.zeros((8, 3))) == 0
    with activations.spread_over(mesh):
        assert split(jnp.zeros((8, 3))) == 1
    with activations.spread_over(MESH):
        assert split(jnp.zeros((12, 3))) == 0
    assert split(jnp.zeros((8, 3))) == 0


def test_meshes_of_other_devices_and_what_their_compiler_is_told():
    assert make_mesh(1, jax.devices()[:1]).shape == {"data": 1, "fsdp": 1}
    assert compiler_options(make_mesh()) == {}
    with pytest.raises(UserError, match="fsdp = 2 is impossible on 1 devices"):
        make_mesh(2, jax.devices()[:1])
