"""Checkpoints of older formats, read as today's. A run of an older format draws; it is not trained on."""

import copy


def upgraded(config: dict, version: int) -> dict:
    """The config in a checkpoint of format `version`, in today's words."""
    config = copy.deepcopy(config)
    if version == 1 and config["system"] == "latent_gan":
        # Format 1 read the noise off real examples by a network; its noise was a setting of the latents.
        config["data"]["noise"] = config["latents"].pop("noise")
        del config["posterior"], config["losses"]["noise_kl"]
        config["losses"]["imitation"] = config["losses"].pop("reconstruction")
        config["stages"]["imitation"] = 0
        config["optimizers"]["imitation"] = config["optimizers"]["generator"]
    if version <= 2 and config["system"] == "latent_gan":
        # Format 2 had one kind of each network.
        for section, kind in {"autoencoder": "linear", "generator": "mlp", "discriminator": "mlp"}.items():
            config[section]["kind"] = kind
    return config
