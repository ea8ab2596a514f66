"""latent_gan for TPU pods: 256x256 pictures, a transformer GAN in the latents of a convolutional autoencoder.

    t2i plan  --config configs/latent_gan_256.py:xl --topology v5e:16x16        # what it needs and costs, on any machine
    t2i train --config configs/latent_gan_256.py:xl --workdir /mnt/shared/xl --config.data.path=/mnt/shared/pictures
    t2i train --config configs/latent_gan_256.py:tiny --workdir runs/tiny       # every part as small as it works: the tests

Sizes (parameters in millions: generator, discriminator): b (105, 109), l (317, 340), xl (711, 775); beside them a text encoder of
54 and an autoencoder of 28, whose latents are maps of 32x32x4, 256 tokens for the players. After GAT (see
models/latent_transformers.py): words by cross-attention, noise and sentence by adaptive scales and gates, finite-difference
R1 + R2, AdamW's (0, .99), 2e-4 x 768/width. No imitation: at this size captions rarely have two pictures.

None of b, l, xl was ever trained: no picture, no loss, no speed of theirs is known. They were compiled ahead of time; the
README has the table. Blocks run in a loop, which compiles once; the autoencoder's stage has its own cost (--stage autoencoder).

data.path: a folder that `t2i data prepare` wrote; pictures are read from disk as they are needed.
"""

from pathlib import Path

from ml_collections import ConfigDict

from t2i_jax.config import read

# Width, heads and perceptrons of both players, and how deep each is.
SIZES = {
    "b": {"width": 768, "heads": 6, "hidden": 2048, "generator": 8, "discriminator": 14},
    "l": {"width": 1280, "heads": 10, "hidden": 3456, "generator": 9, "discriminator": 16},
    "xl": {"width": 2048, "heads": 16, "hidden": 5632, "generator": 8, "discriminator": 14},
    "tiny": {"width": 32, "heads": 2, "hidden": 48, "generator": 2, "discriminator": 2},
}


def get_config(arg: str = "") -> ConfigDict:
    size = SIZES[arg or "xl"]
    config = read(Path(__file__).with_name("quickstart.py"), "32")
    config.batch_size, config.scan_length, config.fsdp, config.dtype = 2048, 10, 16, "bfloat16"
    config.data.update(source="folder", path="data/pictures", resolution=256, vocabulary=32_768, text_length=64, sample=256,
                       noise=64, coupled=False, whole=False, complete=False)
    config.text.update(width=768, depth=4, heads=6, hidden=3072, bound=False)
    config.autoencoder = ConfigDict({
        "kind": "convolutional", "latent": 4, "patch": 2, "channels": (128, 256, 512), "blocks": 2, "remat": True,
    })
    config.patches.update(width=128)
    config.latents.update(whitening=1.0)
    # Blocks are recomputed in the backward pass, all but the hidden layers of their perceptrons (keep).
    player = {"kind": "transformer", "patch": 2, "width": size["width"], "heads": size["heads"], "hidden": size["hidden"],
              "remat": True, "keep": True}
    config.generator = ConfigDict(player | {"depth": size["generator"]})
    config.discriminator = ConfigDict(player | {"depth": size["discriminator"], "embedding": 768})
    config.losses.update(penalty="finite_difference", sigma=0.01, gamma=0.1, gamma_final=0.1, matching=0.5, imitation=0.0,
                         corner=0.0, patch=0.1, patch_start=10_240_000, cut_mix=0.0)
    chunk = config.batch_size * config.scan_length
    whole = lambda images: round(images / chunk) * chunk
    lengths = {"autoencoder": whole(41_000_000), "imitation": 0, "gan": whole(410_000_000)}
    config.stages.update(lengths)
    for name in ("autoencoder", "patches"):
        config.optimizers[name].update(learning_rate=1e-4, warmup_images=1_000_000, decay_end=lengths["autoencoder"])
    for name in ("discriminator", "generator"):
        config.optimizers[name].update(
            learning_rate=2e-4 * 768 / size["width"], warmup_images=5_000_000, decay_start=lengths["gan"] // 2,
            decay_end=lengths["gan"])
    # 0.999 a step of 512 images (GAT).
    config.ema.update(autoencoder=354_700.0, generator=354_700.0)
    config.run.update(checkpoint_every=100 * chunk, samples_every=0)
    if arg == "tiny":
        tiny(config)
    return config


def tiny(config: ConfigDict) -> None:
    """Every part as small as it works: seconds."""
    config.batch_size, config.scan_length, config.fsdp = 16, 4, 1
    config.data.update(source="digits", path="", resolution=32, limit=96, vocabulary=512, text_length=12, sample=64, noise=8)
    config.text.update(width=16, depth=1, heads=2, hidden=16)
    config.autoencoder.update(channels=(8, 16), blocks=1)
    config.patches.update(width=8)
    config.discriminator.embedding = 16
    config.losses.update(patch_start=128)
    config.stages.update(autoencoder=256, imitation=0, gan=256)
    for name in config.optimizers:
        config.optimizers[name].update(warmup_images=0, decay_start=0, decay_end=512)
    config.run.update(checkpoint_every=128, samples_every=256)
