"""What training reads, known before there are data."""

import threading

import jax
import pytest
from running import CONFIGS

from t2i_jax import config as configs
from t2i_jax import systems
from t2i_jax.commands.train import check
from t2i_jax.distributed.mesh import make_mesh
from t2i_jax.errors import UserError
from t2i_jax.training.ahead import Programs, compiling
from t2i_jax.training.examples import feed, first_update, open_examples
from t2i_jax.training.start import abstract

TINY = f"{CONFIGS / 'quickstart.py'}:tiny"


def test_the_first_stage_is_compiled_before_there_are_data(compiled_programs, tiny_run):
    config = configs.load(TINY, ())
    unread, key, mesh = check(config), jax.random.key(0), make_mesh()
    updates = lambda: {path.name for path in compiled_programs.glob("jit_chunk-*-cache")}
    begun = threading.Event()
    with compiling(lambda: begun.set() or first_update(config, unread, abstract(unread, key), mesh)):
        assert begun.wait(60)
    kept = updates()
    assert len(kept) == 1
    data = open_examples(config, tiny_run)
    system = systems.build(config, data.text)
    Programs(system, mesh).update(0, abstract(system, key), next(feed(config, data, mesh).batches(0)))
    assert updates() == kept


def test_a_first_stage_that_looks_at_all_captions_waits_for_them():
    config = configs.load(TINY, ("--config.stages.autoencoder=0", "--config.stages.imitation=0"))
    unread, mesh = check(config), make_mesh()
    with pytest.raises(ValueError, match="all captions of a picture"):
        first_update(config, unread, abstract(unread, jax.random.key(0)), mesh)


def test_pictures_without_stored_captions_are_refused_beside_stored_features(tmp_path):
    config = configs.load(f"{CONFIGS / 'lm_gan.py'}:tiny", ("--config.data.complete=True",))
    with pytest.raises(UserError, match="data.complete = True is impossible; accepted: False where text.kind"):
        open_examples(config, tmp_path)
    assert not any(tmp_path.iterdir())
