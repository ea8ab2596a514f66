"""Older formats' configs in today's words; tests/inference/test_kept_checkpoint.py loads a whole one."""

import copy

from t2i_jax.training.checkpoint import FORMAT
from t2i_jax.training.formats import upgraded

FIRST = {
    "system": "latent_gan", "data": {"resolution": 16}, "latents": {"noise": 4, "whitening": 0.5}, "posterior": {"width": 8},
    "losses": {"reconstruction": 10.0, "noise_kl": 0.05, "gamma": 2.0}, "stages": {"autoencoder": 256, "gan": 512},
    "optimizers": {"generator": {"name": "adam"}}, "autoencoder": {}, "generator": {"width": 8}, "discriminator": {},
}
KINDS = {"autoencoder": {"kind": "linear"}, "generator": {"kind": "mlp", "width": 8}, "discriminator": {"kind": "mlp"}}


def test_format_1_moves_the_noise_and_drops_its_posterior():
    before = copy.deepcopy(FIRST)
    assert upgraded(FIRST, 1) == {
        "system": "latent_gan", "data": {"resolution": 16, "noise": 4}, "latents": {"whitening": 0.5},
        "losses": {"imitation": 10.0, "gamma": 2.0}, "stages": {"autoencoder": 256, "imitation": 0, "gan": 512},
        "optimizers": {"generator": {"name": "adam"}, "imitation": {"name": "adam"}},
    } | KINDS
    assert before == FIRST


def test_format_2_had_one_kind_of_each_network():
    assert upgraded(FIRST, 2) == FIRST | KINDS


def test_other_systems_and_todays_format_are_left_alone():
    other = FIRST | {"system": "contrastive"}
    assert upgraded(other, 1) == other
    assert upgraded(FIRST, FORMAT) == FIRST
