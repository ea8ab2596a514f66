"""`t2i train --dry-run`: what a config would build and cost, before anything runs or is written."""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from t2i_jax import config as configs
from t2i_jax import systems
from t2i_jax.commands.train import check
from t2i_jax.data.training import DataOptions, example_shapes
from t2i_jax.pretrained import captions
from t2i_jax.pretrained.captions import LanguageText
from t2i_jax.training import alternate
from t2i_jax.training.state import create

CAPTIONS = 8  # of one picture, assumed; the data tell


def describe(config: ConfigDict) -> str:
    """The resolved config, parameters per network, and each stage's memory and FLOPs, as text.

    FLOPs are the compiler's count for one step (`cost_analysis`), memory its plan for that step, on this machine's
    backend. Raises UserError where the config cannot work.
    """
    check(config)
    text = captions.opened(config)
    system = systems.build(config, text)
    state = jax.eval_shape(lambda key: create(system, key), jax.random.key(0))
    batch = batch_shapes(config, text)
    size = lambda tree: sum(x.size for x in jax.tree.leaves(tree))
    lines = ["config"]
    lines += [f"  {key} = {value!r}" for key, value in configs.flatten(config).items()]
    lines += ["parameters"]
    lines += [f"  {player:<24}{size(tree):>14,}" for player, tree in state.params.items()]
    lines += [f"  {'all':<24}{size(state.params):>14,}", "state, with averages and optimizers"]
    everything = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.number))
    lines += [f"  {everything / 2**20:.1f} MiB", "stages"]
    for stage in system.stages:
        step = lambda state, batch: alternate.step(system, stage, 0, state, batch)
        compiled = jax.jit(step, donate_argnums=0).lower(state, batch).compile()
        flops = compiled.cost_analysis()["flops"] / config.batch_size
        memory = compiled.memory_analysis()
        total = memory.argument_size_in_bytes + memory.temp_size_in_bytes
        lines += [
            f"  {stage.name}: {stage.images:,} images in {stage.images // config.batch_size:,} steps; "
            f"{flops / 1e6:,.1f} MFLOPs per image; {total / 2**20:,.0f} MiB for one step "
            f"({memory.temp_size_in_bytes / config.batch_size / 2**20:.2f} MiB of activations per image)"
        ]
    return "\n".join(lines)


def batch_shapes(config: ConfigDict, text: LanguageText | None = None) -> dict:
    """ShapeDtypeStructs of one global batch [B, ...] as the pipeline stacks them; text: the language model, if one reads."""
    options = configs.section(config, "data", DataOptions)
    if text is None:
        entries = {"tokens": ((options.text_length,), jnp.int32), "mask": ((options.text_length,), jnp.bool_)}
    else:
        found = text.arrays(["a caption"], options.text_length)
        entries = {name: (entry.shape[1:], entry.dtype) for name, entry in found.items()}
    return {name: jax.ShapeDtypeStruct((config.batch_size, *shape), dtype)
            for name, (shape, dtype) in example_shapes(options, entries, CAPTIONS).items()}
