"""`features_worker.py RUN OUT`: features of fixed pictures and captions on JAX_NUM_CPU_DEVICES simulated devices."""

import sys

import jax
import numpy as np

from t2i_jax.evaluation.evaluator import Evaluator

PICTURES = np.random.default_rng(0).integers(0, 256, (131, 16, 16, 3), dtype=np.uint8)  # ragged for any batch
CAPTIONS = [f"{colour} {thing}" for colour in ("red", "green", "dark", "") for thing in ("heart", "flag", "face")]

if __name__ == "__main__":
    run, out = sys.argv[1:]
    evaluator = Evaluator.load(run)
    np.savez(out, devices=jax.device_count(), sha256=evaluator.sha256, images=evaluator.images(PICTURES),
             texts=evaluator.texts(CAPTIONS))
