"""latent_gan for TPU pods: 256x256 pictures, a transformer GAN in the latents of a convolutional autoencoder.

TODO
"""

from pathlib import Path

from ml_collections import ConfigDict

from t2i_jax.config import read

SIZES = {  # width and heads of both players; depth and images a step
    "b": {"width": 768, "heads": 6, "hidden": 2048, "generator": 8, "discriminator": 14, "batch": 1024},
    "l": {"width": 1280, "heads": 10, "hidden": 3456, "generator": 9, "discriminator": 16, "batch": 2048},
    "xl": {"width": 2048, "heads": 16, "hidden": 5632, "generator": 8, "discriminator": 14, "batch": 4096},
    "tiny": {"width": 32, "heads": 2, "hidden": 48, "generator": 2, "discriminator": 2, "batch": 16},
}


def get_config(arg: str = "xl") -> ConfigDict:
    arg = arg or "xl"
    size = SIZES[arg]
    config = read(Path(__file__).with_name("quickstart.py"))
    config.batch_size, config.scan_length, config.fsdp, config.dtype = size["batch"], 10, 16, "bfloat16"
    config.data.update(source="folder", path="data/pictures", resolution=256, vocabulary=32768, text_length=64, sample=512,
                       noise=64, coupled=False)
    config.text.update(width=768, depth=4, heads=6, hidden=3072)
    config.autoencoder = ConfigDict({
        "kind": "convolutional", "latent": 4, "patch": 2, "channels": (128, 256, 512), "blocks": 2, "remat": True,
    })
    config.patches.update(width=128)
    config.latents.update(whitening=1.0)
    config.generator = ConfigDict({
        "kind": "transformer", "patch": 2, "width": size["width"], "depth": size["generator"], "heads": size["heads"],
        "hidden": size["hidden"], "remat": True, "keep": True,
    })
    config.discriminator = ConfigDict({
        "kind": "transformer", "patch": 2, "width": size["width"], "depth": size["discriminator"], "heads": size["heads"],
        "hidden": size["hidden"], "embedding": 768, "remat": True, "keep": True,
    })
    config.losses.update(penalty="finite_difference", sigma=0.01, gamma=0.1, gamma_final=0.1, matching=0.5, imitation=0.0,
                         patch=0.1, patch_start=5_000_000)
    chunk = config.batch_size * config.scan_length
    whole = lambda images: round(images / chunk) * chunk
    config.stages.update(autoencoder=whole(40_000_000), imitation=0, gan=whole(400_000_000))
    if arg == "tiny":
        tiny(config)
    return config


def tiny(config: ConfigDict) -> None:
    config.scan_length, config.fsdp = 4, 1
    config.data.update(source="digits", path="", resolution=32, limit=96, vocabulary=512, text_length=12, sample=64, noise=8)
    config.text.update(width=16, depth=1, heads=2, hidden=16)
    config.autoencoder.update(channels=(8, 16), blocks=1)
    config.patches.update(width=8)
    config.discriminator.embedding = 16
    config.losses.update(patch_start=128)
    config.stages.update(autoencoder=256, imitation=0, gan=256)
