"""What drawing costs, on models whose costs are known."""

import jax
import jax.numpy as jnp

from t2i_jax.inference.pipeline import BUCKET, load
from t2i_jax.measuring import drawing, figure


def test_the_first_call_does_not_count_and_a_bucket_is_drawn_at_once(monkeypatch):
    clock, calls = [0.0], []

    class Model:
        def generate(self, prompts, *, key):
            calls.append(prompts)
            clock[0] += (60.0, 0.08, 0.5, 0.16)[len(calls) - 1]  # seconds
            return jnp.zeros((len(prompts), 2, 2, 3))

    monkeypatch.setattr(figure.time, "perf_counter", lambda: clock[0])
    found = drawing.milliseconds_per_picture(Model(), ["a", "b", "c"], repeats=3)
    assert abs(found - 160 / BUCKET) < 1e-6
    assert calls == [["a", "b", "c", "a", "b", "c", "a", "b"]] * 4


def test_parameters_read_are_those_that_the_drawing_uses(tiny_run):
    model = load(tiny_run)
    decoder = {name: leaf for name, leaf in model.params["autoencoder"].items() if "decoder" in name}
    used = [decoder, model.params["text"], model.params["generator"]]
    assert len(decoder) == 3 and drawing.parameters_read(model) == sum(x.size for x in jax.tree.leaves(used))
