"""Models as evaluation knows them: callables that draw, encode and decode on the host."""

from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh

from t2i_jax.data.training import TrainingData
from t2i_jax.distributed import hosts, sharding
from t2i_jax.distributed.mesh import make_mesh
from t2i_jax.errors import UserError
from t2i_jax.evaluation import card, distances, retrieval
from t2i_jax.evaluation.evaluator import Evaluator
from t2i_jax.evaluation.groups import Group, caption_pool, groups, right_captions
from t2i_jax.evaluation.measures import LEAST, WRONG
from t2i_jax.evaluation.network import in_batches
from t2i_jax.inference.pipeline import TextToImage, to_uint8
from t2i_jax.inference.prompts import literal
from t2i_jax.systems import System
from t2i_jax.training.alternate import as_float
from t2i_jax.training.state import State, drawing_weights

BATCH = 64  # pictures encoded or decoded at once


def as_judged(model: TextToImage, about: dict, weights: str, mesh: Mesh) -> card.Model:
    """A loaded model for a card; `about`: its checkpoint's run.json, `weights`: which it was loaded with."""
    told = {"name": model.name, "images": about["images"], "finished": about["finished"], "data": about["data"]}
    codec = codec_of(model, mesh) if model.system.codec else None
    return card.Model(told, weights, lambda prompts, seed: draw(model, prompts, seed), codec)


def draw(model: TextToImage, prompts: list[str], seed: int) -> np.ndarray:
    """One picture for each prompt, uint8 [N, H, W, C]."""
    return to_uint8(np.asarray(model.generate([literal(prompt) for prompt in prompts], key=jax.random.key(seed))))


def codec_of(model: TextToImage, mesh: Mesh) -> card.Codec:
    """The model's autoencoder, compiled for batches of one size over all devices."""
    codec = model.system.codec
    everywhere = sharding.replicated(mesh)
    weights = hosts.place((model.params, model.aux), everywhere)
    encode = jax.jit(lambda weights, images: codec.encode(*weights, as_float(images)), out_shardings=everywhere)
    decode = jax.jit(lambda weights, latents: codec.decode(*weights, latents), out_shardings=everywhere)
    run = lambda function, rows: np.concatenate(
        list(in_batches(lambda part: function(weights, part), [rows], mesh, BATCH)))
    return card.Codec(lambda images: run(encode, images), lambda latents: to_uint8(run(decode, latents)), codec.size)


class InTraining:
    """Judges a state in training by few pictures; see `commands.evaluate.hook`."""

    def __init__(self, evaluator: Path, system: System, data: TrainingData, num: int, seed: int):
        if system.generate is None:
            raise UserError("config: run.evaluate_every is set for a system that draws nothing; set it to 0")
        self._evaluator = Evaluator.load(evaluator, make_mesh())
        card.check_evaluator(self._evaluator, data.fingerprint)
        self._model, self._seed = TextToImage(system, {}, {}, ""), seed
        found = groups({"train": data.train}, num, seed)[:1]
        held_out = groups(data.heldout, num, seed)
        self._judged = {"train_": self._reference(found[0], data)}
        if held_out:
            self._judged[""] = self._reference(held_out[0], data)

    def _reference(self, group: Group, data: TrainingData):
        """All that is the same at every call: prompts, features of real pictures, captions in the evaluator's space."""
        pool = caption_pool(data.train, *(data.heldout[name] for name in [group.split] if name in data.heldout))
        right = right_captions(group.captions, pool)
        texts = self._evaluator.texts(group.prompts), self._evaluator.texts(pool), right
        return group.prompts, distances.moments(self._evaluator.images(group.images)), texts

    def evaluate(self, state: State, images: int) -> dict[str, float]:
        """Figures of the averaged weights of a state."""
        weights = drawing_weights(state.params, state.aux, state.ema)
        self._model.params, self._model.aux = hosts.whole(weights, self._evaluator.mesh)
        figures = {}
        for prefix, (prompts, real, (own, pool, right)) in self._judged.items():
            seen = self._evaluator.images(draw(self._model, prompts, self._seed))
            if len(seen) >= LEAST:
                figures[prefix + "frechet"] = distances.frechet(real, distances.moments(seen))
            if (~right).sum(axis=1).min() >= WRONG:
                hits = retrieval.hits(seen, own, pool, right, wrong=WRONG, seed=self._seed)
                figures[prefix + "r_precision"] = float(hits.mean())
        self._model.params, self._model.aux = {}, {}  # the next step reuses their buffers
        return figures
