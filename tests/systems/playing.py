"""Single turns of any system on a batch from a seed: what a phase reports, and what it changes."""

import dataclasses
import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import synthetic
from running import CONFIGS

from t2i_jax import config as configs
from t2i_jax import keys, systems
from t2i_jax.paths import flat
from t2i_jax.planning.compiling import stage_of
from t2i_jax.systems import Turn
from t2i_jax.training import alternate
from t2i_jax.training.state import create

BATCH = 16
# Compiling takes most of the time, and XLA's optimizations most of that.
quick = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def config(name, *overrides):
    """`configs/NAME.py:tiny` with `key=value` overrides; name may also be "NAME.py:preset"."""
    spec = name if ".py" in name else f"{name}.py:tiny"
    return configs.load(str(CONFIGS / spec), [f"--config.{override}" for override in overrides])


def system(name, *overrides):
    return systems.build(config(name, *overrides), tokenizer=None)


def random(path, shape):
    """Parameters as after some training: nothing is zero or a copy of another, and variances are positive."""
    drawn = np.random.default_rng(zlib.crc32(str(path).encode())).standard_normal(shape.shape)
    match path[-1].key:
        case "kernel":
            drawn *= np.prod(shape.shape[:-1]) ** -0.5
        case "scale":
            drawn = 1 + 0.2 * drawn
        case "var":
            drawn = np.exp(0.3 * drawn)
        case _:
            drawn *= 0.2
    return jnp.asarray(drawn, shape.dtype)


def state_of(system):
    """A state in the middle of training, whose averages differ from its parameters."""
    shapes = jax.eval_shape(lambda: create(system, jax.random.key(0)))
    arrays = {name: jax.tree_util.tree_map_with_path(lambda path, x: random((name, *path), x), getattr(shapes, name))
              for name in ("params", "aux", "ema")}
    zeros = lambda tree: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), tree)
    return dataclasses.replace(shapes, step=jnp.int32(7), images=jnp.zeros(2, jnp.uint32), key=jax.random.key(0),
                               opt_state=zeros(shapes.opt_state), **arrays)


def batch_of(config, count=BATCH, seed=0):
    """Pictures as floats, tokens and caption numbers, as phases see them."""
    examples = synthetic.examples(seed, count, resolution=config.data.resolution, length=config.data.text_length)
    return jax.tree.map(jnp.asarray, alternate.as_float(examples))


def phase_of(system, stage, name):
    (phase,) = [each for each in stage_of(system, stage).phases if each.name == name]
    return phase


def turn_of(state, batch, images=0, stage=None):
    """stage: whose turns share a forward pass, None for others."""
    turn = Turn(state.params, state.aux, state.ema, batch, keys.per_example(state.key, len(batch["image"])),
                jnp.float32(images))
    return turn if stage is None else alternate.share(stage, turn)


class Table:
    """A system, its state and a batch; every phase is compiled once."""

    def __init__(self, name, *overrides, tokenizer=None):
        self.config = config(name, *overrides)
        self.system = systems.build(self.config, tokenizer)
        self.state, self.batch = state_of(self.system), batch_of(self.config)
        self.play = functools.cache(self.play)

    def play(self, stage, name):
        """(state after that phase, its terms)"""
        phase, whole = phase_of(self.system, stage, name), stage_of(self.system, stage)
        run = quick(lambda state, batch: alternate.run_phase(self.system, phase, state, turn_of(state, batch, stage=whole)))
        after, terms = run(self.state, self.batch)
        return after, jax.tree.map(lambda x: np.asarray(x, np.float64), terms)

    def assert_moves(self, stage, name, players, aux=()):
        """The phase changes some of each array of `players` and the aux entries named, its optimizer's state, and no
        other bit of the state."""
        before, (after, _) = self.state, self.play(stage, name)
        changed = lambda a, b: {path for path in flat(a) if not np.array_equal(flat(a)[path], flat(b)[path])}
        assert changed(before.params, after.params) == {p for p in flat(before.params) if p.split("/")[0] in players}
        assert changed(before.aux, after.aux) == {path for path in flat(before.aux) if path.split("/")[0] in aux}
        assert not changed(before.ema, after.ema)
        phase = phase_of(self.system, stage, name)
        assert phase.writes == tuple(aux)
        equal = lambda *trees: all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, trees), strict=True))
        touched = {name for name, old in before.opt_state.items() if not equal(old, after.opt_state[name])}
        assert touched == {phase.optimizer}
        same = lambda state: (int(state.step), state.images.tolist(), jax.random.key_data(state.key).tolist())
        assert same(before) == same(after)


def as_float64(tree):
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


def judged(judge, images, made, sentence):
    """What `reference.discriminator_terms` and `generator_terms` want to know of a discriminator.

    judge: (images [B, H, W, C], sentences [B, D]) -> (logits [B], embedding, sentence embedding).
    """
    count = len(images)
    out = {}
    out["real"], out["seen"], out["said"] = judge(images, sentence)
    out["fake"], out["fake_seen"], _ = judge(made, sentence)
    out["crossed"] = judge(jnp.repeat(images, count, 0), jnp.tile(sentence, (count, 1)))[0].reshape(count, count)
    slope = jax.vmap(jax.grad(lambda x, t: judge(x[None], t[None])[0][0]))
    out["real_slope"], out["fake_slope"] = slope(images, sentence), slope(made, sentence)
    return out
