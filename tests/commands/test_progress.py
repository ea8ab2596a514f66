"""Grids during training: compiled before they are wanted."""

import threading

import jax
from running import CONFIGS

from t2i_jax import config as configs
from t2i_jax import systems
from t2i_jax.commands.progress import Progress, drawing
from t2i_jax.commands.train import check
from t2i_jax.distributed.mesh import make_mesh
from t2i_jax.training.ahead import compiling
from t2i_jax.training.examples import open_examples
from t2i_jax.training.metrics import Silence
from t2i_jax.training.start import abstract, fresh


def test_the_program_that_draws_is_known_before_the_captions_are(compiled_programs, tiny_run, tmp_path):
    config = configs.load(f"{CONFIGS / 'quickstart.py'}:tiny", ())
    unread, key, mesh = check(config), jax.random.key(0), make_mesh()
    drawers = lambda: {path.name for path in compiled_programs.glob("jit_generate-*-cache")}
    begun = threading.Event()
    with compiling(lambda: begun.set() or drawing(unread, abstract(unread, key), mesh)):
        assert begun.wait(60)
    kept = drawers()
    assert len(kept) == 1
    data = open_examples(config, tiny_run)
    system = systems.build(config, data.text)
    Progress(system, data, tmp_path, mesh).draw(fresh(system, key, mesh), 0, Silence())
    assert drawers() == kept and len(list((tmp_path / "samples").iterdir())) == 3
