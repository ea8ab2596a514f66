"""The built-in evaluator: a trained `contrastive` run, which says whether pictures and captions belong together.

What it makes of real pictures, its ceiling, belongs beside every figure made with it.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh

from t2i_jax import config as configs
from t2i_jax.distributed import hosts, sharding
from t2i_jax.distributed.mesh import make_mesh
from t2i_jax.errors import UserError
from t2i_jax.evaluation.network import FeatureNetwork, features, in_batches
from t2i_jax.paths import flat
from t2i_jax.systems import contrastive
from t2i_jax.training.resume import load_weights
from t2i_jax.training.state import drawing_weights

CAPTIONS = 256  # read at once


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluator:
    """Pictures and captions as unit vectors of one space; make one with `load`."""

    network: FeatureNetwork  # the image side
    sha256: str  # of all its weights and its tokenizer
    data_fingerprint: str  # of the prepared data it was trained on
    mesh: Mesh
    encode: Callable[[list[str]], dict]  # captions -> tokens and mask
    read: Callable[[dict], Array]  # tokens and mask [B, L] -> unit [B, D]

    @classmethod
    def load(cls, run_dir: str | Path, mesh: Mesh | None = None) -> "Evaluator":
        """The evaluator that `t2i train --config configs/evaluator.py` left in a work directory.

        mesh: the devices it computes on, all by default. Reads arrays and JSON, executes nothing.
        Raises UserError where there is no whole checkpoint, it is none of an evaluator, or its training did not end.
        """
        found = load_weights(Path(run_dir))
        config = configs.from_json(found.run.config)
        if config.system != contrastive.NAME:
            raise UserError(f"{run_dir} holds a {config.system!r}, no evaluator; train one with t2i train "
                            "--config configs/evaluator.py --workdir DIR")
        if not found.run.about["finished"]:
            raise UserError(f"evaluator {run_dir}: its training is not finished; run its t2i train command again")
        mesh = make_mesh() if mesh is None else mesh
        params, _ = drawing_weights(found.params, found.aux, found.ema)
        sha256 = fingerprint(params, found.run.tokenizer)
        nets = contrastive.networks(config)
        image_params, text_params = ({"params": params[side]} for side in ("image", "text"))
        size, _, channels = found.system.image_shape
        network = FeatureNetwork(
            "evaluator", sha256, size, "none", "[-1, 1]", config.embedding, nets.image.apply, image_params,
            channels=channels,
        )
        return cls(network, sha256, found.run.about["data"], mesh, found.system.encode,
                   _reader(nets.text.apply, text_params, mesh))

    def images(self, images: np.ndarray) -> np.ndarray:
        """Unit float32 [N, D] of pictures uint8 [N, H, W, C]. UserError where their size is not the one it learnt."""
        return features(self.network, images, self.mesh)

    def texts(self, captions: Sequence[str]) -> np.ndarray:
        """Unit float32 [N, D] of captions; the same caption always gives the same vector."""
        empty = np.zeros((0, self.network.dimension), np.float32)
        parts = [self.encode(list(captions))] if captions else []
        return np.concatenate([empty, *in_batches(self.read, parts, self.mesh, CAPTIONS)])


def _reader(apply: Callable, params: dict, mesh: Mesh) -> Callable[[dict], Array]:
    """Compiled (tokens and mask) -> unit vectors, with the parameters already on the mesh."""

    def read(params: dict, text: dict) -> Array:
        with jax.default_matmul_precision("highest"):
            return apply(params, text["tokens"], text["mask"]).astype(np.float32)

    placed = sharding.parameters(params, mesh)
    inputs = (placed, sharding.batch(mesh))
    compiled = jax.jit(read, in_shardings=inputs, out_shardings=sharding.replicated(mesh))
    return functools.partial(compiled, hosts.place(params, placed))


def fingerprint(params: dict, *texts: str) -> str:
    """SHA-256 over arrays by path and over texts: names what was trained, wherever and in whatever files it lies."""
    digest = hashlib.sha256()
    for path, array in sorted(flat(params).items()):
        array = np.ascontiguousarray(array)
        digest.update(f"{path} {array.dtype} {list(array.shape)}\n".encode())
        digest.update(array.tobytes())
    for text in texts:
        digest.update(f"\n{text}".encode())
    return digest.hexdigest()
