"""An adversarial generator joined with a variational autoencoder: `gan_vae`.

    t2i train --config configs/gan_vae.py:small --workdir runs/gan_vae   # OpenMoji at 32x32, two CPU cores
    t2i train --config configs/gan_vae.py --workdir runs/gan_vae64       # convolutional, 64x64, one GPU
    t2i train --config configs/gan_vae.py:mlp --workdir runs/mlp --config.data.source=folder --config.data.path=DIR
    t2i train --config configs/gan_vae.py:tiny --workdir runs/tiny       # as small as it works: the tests

`:mlp` has the reference's layers, batch and learning rate at 64x64 on a folder of captioned pictures (or OpenMoji, without
the last two options).

`:small`, 7.8 million parameters, measured on two cores that up to ten other programs shared: 192,000 images in 13.3 minutes (9.4
minutes of CPU time). By `t2i compare` (300 pictures at most, one seed; real pictures .990 / .978 / .869):

    losses.kl, vae, learning rate of the generator   images    R-precision training / unseen tone / unseen pair   FD training
    1, .01, 4e-4                                     128,000   .156 / .240 / .221   z tells what the caption should   .133
    10, .03, 8e-4                                    128,000   .288 / .458 / .377                                     .094
    the same, kept                                   192,000   .477 / .659 / .656                                     .061

(The first two rows: 250 pictures.) Seen: people clearly, with hair, clothes and skin; rarer things such as a tram or a medal are
blurs of the right colours, with speckle.
"""

from ml_collections import ConfigDict


def adam(**changes) -> ConfigDict:
    return ConfigDict({
        "name": "adam", "learning_rate": 2e-4, "b1": 0.5, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "clip": 0.0,
        "warmup_images": 0, "decay": "constant", "decay_start": 0, "decay_end": 1, "final": 1.0,
    } | changes)


def get_config(arg: str = "") -> ConfigDict:
    config = ConfigDict()
    config.system = "gan_vae"
    config.seed = 0
    config.batch_size = 256
    config.scan_length = 20  # steps in one compiled call
    config.fsdp = 1  # devices that share one copy of the parameters
    config.dtype = "float32"  # of activations; losses and parameters are float32 always
    config.noise = 100  # dimensions of z
    config.shared = True  # generator and decoder are one network
    config.data = ConfigDict({
        "source": "openmoji", "path": "", "resolution": 64, "channels": 3, "languages": ("en",), "limit": 0,
        "template": "{}", "heldout_fraction": 0.05, "denoise": False, "drop_near_duplicates": False,
        "flip": False, "rotate": 0.0, "scale": 0.0, "vocabulary": 4096, "text_length": 20, "sample": 64,
    })
    config.text = ConfigDict({"width": 256, "depth": 2, "heads": 4, "hidden": 512})
    config.encoder = ConfigDict({"kind": "conv", "channels": (64, 128, 256, 512)})
    config.generator = ConfigDict({"kind": "conv", "channels": (512, 256, 128, 64)})
    config.discriminator = ConfigDict({"kind": "conv", "channels": (64, 128, 256, 512), "embedding": 256})
    config.losses = ConfigDict({
        "adversarial": "non_saturating", "matching": True, "contrastive": 1.0, "temperature": 0.1, "gamma": 1.0,
        "gamma_fake": 0.0, "l1": 0.0, "l2": 0.0, "augment": 0.0,
        "discriminator": 1.0, "vae": 0.01, "decoder": 1.0, "kl": 1.0, "generated": 0.1, "likelihood": "gaussian",
        "log_scale": -1.0,
    })
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
        case "mlp":
            mlp(config)
        case "tiny":
            tiny(config)
    return config


def small(config: ConfigDict) -> None:
    """32x32 on two CPU cores: dense layers, which they like."""
    config.batch_size = 64
    config.noise = 32
    config.data.update(resolution=32)
    config.text.update(width=128, depth=0)  # a bag of words
    config.encoder = ConfigDict({"kind": "dense", "widths": (512, 256)})
    config.generator = ConfigDict({"kind": "dense", "widths": (512, 1024)})
    config.discriminator = ConfigDict({"kind": "dense", "widths": (512, 256), "embedding": 128})
    config.losses.update(vae=0.03, kl=10.0)  # z may tell only what captions cannot
    config.stages.update(gan=192_000)
    for player, rate in (("discriminator", 4e-4), ("generator", 8e-4)):
        config.optimizers[player].update(learning_rate=rate, decay="cosine", decay_start=96_000, decay_end=192_000,
                                         final=0.05)
    config.ema.update(generator=10_000.0)
    config.run.update(checkpoint_every=64_000, samples_every=64_000)


def mlp(config: ConfigDict) -> None:
    """The reference's layers and optimizer."""
    config.batch_size = 64
    config.shared = False
    config.text.update(width=100, depth=0)
    config.encoder = ConfigDict({"kind": "dense", "widths": (512, 256, 128)})
    config.generator = ConfigDict({"kind": "dense", "widths": (128, 256, 512)})
    config.discriminator = ConfigDict({"kind": "dense", "widths": (512, 256, 128), "embedding": 100})
    config.losses.update(matching=False, contrastive=0.0, gamma=0.0)
    for player in config.optimizers.values():
        player.update(b1=0.9)
    config.stages.update(gan=384_000)  # a hundred epochs of OpenMoji
    config.run.update(checkpoint_every=128_000, samples_every=128_000)


def tiny(config: ConfigDict) -> None:
    """Every part as small as it works: seconds."""
    config.batch_size, config.scan_length, config.noise, config.shared = 16, 4, 8, False
    config.data.update(resolution=16, limit=96, vocabulary=512)
    config.text.update(width=16, depth=1, heads=2, hidden=16)
    config.encoder.update(channels=(8, 16))
    config.generator.update(channels=(16, 8))
    config.discriminator.update(channels=(8, 16), embedding=16)
    config.losses.update(l1=1e-5, l2=1e-5)
    config.stages.update(gan=512)
    config.ema.update(generator=128.0)
    config.run.update(checkpoint_every=128, samples_every=512)
