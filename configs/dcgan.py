"""A convolutional GAN that is told what to draw: `dcgan`.

    t2i train --config configs/dcgan.py:small --workdir runs/dcgan       # OpenMoji at 32x32, two CPU cores
    t2i train --config configs/dcgan.py --workdir runs/dcgan64           # 64x64, wider, one GPU
    t2i train --config configs/dcgan.py:mnist --workdir runs/digits      # the reference's layers, 28x28 handwritten digits
    t2i train --config configs/dcgan.py:tiny --workdir runs/tiny         # as small as it works: the tests

`:small`, 2.5 million parameters, measured on two cores that up to ten other programs shared: 102,400 images; after compilation about
180 images/s, 9 minutes. R-precision of training captions / unseen tone / unseen pair, Frechet distance of training captions:

    64,000 images                     .268 / .363 / .213   .146   (250 pictures)
    102,400 images, kept              .470 / .704 / .525   .107   (`t2i compare`, 300 pictures at most)

Seen: shapes and main colours follow the caption (two people holding hands, a yellow face, a heart); strong speckle of
single pixels everywhere.
"""

from ml_collections import ConfigDict


def adam(**changes) -> ConfigDict:
    return ConfigDict({
        "name": "adam", "learning_rate": 2e-4, "b1": 0.5, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "clip": 0.0,
        "warmup_images": 0, "decay": "constant", "decay_start": 0, "decay_end": 1, "final": 1.0,
    } | changes)


def get_config(arg: str = "") -> ConfigDict:
    config = ConfigDict()
    config.system = "dcgan"
    config.seed = 0
    config.batch_size = 256
    config.scan_length = 20  # steps in one compiled call
    config.fsdp = 1  # devices that share one copy of the parameters
    config.dtype = "float32"  # of activations; losses and parameters are float32 always
    config.noise = 100  # dimensions of z
    config.data = ConfigDict({
        "source": "openmoji", "path": "", "resolution": 64, "channels": 3, "languages": ("en",), "limit": 0,
        "template": "{}", "heldout_fraction": 0.05, "denoise": False, "drop_near_duplicates": False,
        "flip": False, "rotate": 0.0, "scale": 0.0, "vocabulary": 4096, "text_length": 20, "sample": 64,
    })
    config.text = ConfigDict({"width": 256, "depth": 2, "heads": 4, "hidden": 512})
    config.generator = ConfigDict({"kind": "conv", "channels": (512, 256, 128, 64), "batch_norm": True})
    config.discriminator = ConfigDict({"kind": "conv", "channels": (64, 128, 256, 512), "embedding": 256})
    config.losses = ConfigDict({
        "adversarial": "non_saturating", "matching": True, "contrastive": 1.0, "temperature": 0.1, "gamma": 1.0,
        "gamma_fake": 0.0, "l1": 0.0, "l2": 0.0, "generator": 1.0, "augment": 0.0,
    })
    config.turns = ConfigDict({"discriminator": 1, "generator": 1})  # each player's comes on every n-th step
    config.stages = ConfigDict({"gan": 10_240_000})
    config.optimizers = ConfigDict({"discriminator": adam(), "generator": adam()})
    config.ema = ConfigDict({"generator": 40_000.0})  # half-life in images
    config.run = ConfigDict({
        "checkpoint_every": 512_000, "keep": 2, "keep_every": 0, "log_every": 0, "samples_every": 1_024_000,
        "evaluate_every": 0, "evaluator": "", "best": "", "rollbacks": 0, "rollback_learning_rate": 0.5,
        "rollback_gamma": 1.0,
    })
    match arg:
        case "small":
            small(config)
        case "mnist":
            mnist(config)
        case "tiny":
            tiny(config)
    return config


def small(config: ConfigDict) -> None:
    """32x32 on two CPU cores."""
    config.batch_size = 64
    config.noise = 32
    config.data.update(resolution=32)
    config.text.update(width=128, depth=0)  # a bag of words
    config.generator.update(channels=(256, 128, 64))
    config.discriminator.update(channels=(32, 64, 128, 256), embedding=128)
    config.stages.update(gan=102_400)
    for player in config.optimizers.values():
        player.update(learning_rate=5e-4, decay="cosine", decay_start=51_200, decay_end=102_400, final=0.05)
    config.ema.update(generator=10_000.0)
    config.run.update(checkpoint_every=64_000, samples_every=64_000)


def mnist(config: ConfigDict) -> None:
    """The reference's layers and optimizer, on digits with captions in words."""
    config.batch_size = 64
    config.data.update(source="digits", resolution=28, channels=1)
    config.text.update(width=128, depth=1)
    config.generator = ConfigDict({"kind": "dense", "widths": (128, 256, 512, 1024), "batch_norm": True})
    config.discriminator.update(channels=(32, 64, 128, 256), embedding=128)
    config.losses.update(contrastive=0.0, gamma=0.0)
    config.stages.update(gan=640_000)  # 10,000 iterations
    config.run.update(checkpoint_every=128_000, samples_every=128_000)


def tiny(config: ConfigDict) -> None:
    """Every part as small as it works: seconds."""
    config.batch_size, config.scan_length, config.noise = 16, 4, 8
    config.data.update(resolution=16, limit=96, vocabulary=512)
    config.text.update(width=16, depth=1, heads=2, hidden=16)
    config.generator.update(channels=(16, 8))
    config.discriminator.update(channels=(8, 16), embedding=16)
    config.losses.update(l1=1e-5, l2=1e-5, augment=0.5, gamma_fake=0.5)
    config.stages.update(gan=512)
    config.ema.update(generator=128.0)
    config.run.update(checkpoint_every=128, samples_every=512)
