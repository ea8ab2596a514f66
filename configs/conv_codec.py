"""A convolutional encoder-decoder from a text embedding learnt before the game: `conv_codec`.

    t2i train --config configs/conv_codec.py:small --workdir runs/conv_codec   # OpenMoji at 32x32, two CPU cores
    t2i train --config configs/conv_codec.py --workdir runs/conv_codec64       # 64x64, wider, one GPU
    t2i train --config configs/conv_codec.py:dense --workdir runs/dense        # with a dense output layer, 32x32
    t2i train --config configs/conv_codec.py:tiny --workdir runs/tiny          # as small as it works: the tests

`:small`, 3.5 million parameters: 204,800 images in 23.4 minutes (17 minutes of CPU time) on two cores that up to ten other
programs shared. R-precision by `t2i compare` (300 pictures at most, one seed) .470 / .592 / .475 on training captions / unseen tone /
unseen pair, Frechet distance .098 on training captions. Seen: as dcgan, with a little less speckle and faces that have eyes and a mouth.
"""

from ml_collections import ConfigDict


def adam(**changes) -> ConfigDict:
    """Schedules count images from the start of the stage that first uses the optimizer."""
    return ConfigDict({
        "name": "adam", "learning_rate": 2e-4, "b1": 0.5, "b2": 0.99, "eps": 1e-8, "weight_decay": 0.0, "clip": 0.0,
        "warmup_images": 0, "decay": "constant", "decay_start": 0, "decay_end": 1, "final": 1.0,
    } | changes)


def get_config(arg: str = "") -> ConfigDict:
    config = ConfigDict()
    config.system = "conv_codec"
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
    config.text = ConfigDict({"width": 512, "depth": 2, "heads": 8, "hidden": 1024})
    config.embedder = ConfigDict({"embedding": 256, "channels": (64, 128, 256, 512)})
    config.generator = ConfigDict({
        "side": 8, "encoder": (64, 128), "decoder": (512, 256, 128, 64), "dense_output": False,
    })
    config.discriminator = ConfigDict({"channels": (64, 128, 256, 512), "hidden": 512, "embedding": 256})
    config.losses = ConfigDict({
        "adversarial": "non_saturating", "matching": True, "contrastive": 1.0, "temperature": 0.1, "gamma": 1.0,
        "gamma_fake": 0.0, "l1": 0.0, "l2": 0.0, "augment": 0.0,
        "content": 1.0, "content_kind": "info_nce", "content_temperature": 0.1,
    })
    config.stages = ConfigDict({"features": 2_048_000, "correspondence": 2_048_000, "gan": 10_240_000})
    config.optimizers = ConfigDict({
        "features": adam(b1=0.9, learning_rate=5e-4), "correspondence": adam(b1=0.9, learning_rate=5e-4),
        "discriminator": adam(), "generator": adam(),
    })
    config.ema = ConfigDict({"generator": 40_000.0})  # half-life in images
    config.run = ConfigDict({
        "checkpoint_every": 512_000, "keep": 2, "keep_every": 0, "log_every": 0, "samples_every": 1_024_000,
        "evaluate_every": 0, "evaluator": "", "best": "", "rollbacks": 0, "rollback_learning_rate": 0.5,
        "rollback_gamma": 1.0,
    })
    match arg:
        case "small":
            small(config)
        case "dense":
            dense(config)
        case "tiny":
            tiny(config)
    return config


def small(config: ConfigDict) -> None:
    """32x32 on two CPU cores."""
    config.batch_size = 64
    config.noise = 32
    config.data.update(resolution=32)
    config.text.update(width=128, depth=0)  # a bag of words
    config.embedder.update(embedding=128, channels=(32, 64, 128))
    config.generator.update(encoder=(32, 64), decoder=(256, 128, 32))
    config.discriminator.update(channels=(32, 64, 128, 256), hidden=256, embedding=128)
    config.stages.update(features=25_600, correspondence=64_000, gan=115_200)
    for name in ("features", "correspondence"):
        config.optimizers[name].update(learning_rate=1e-3)
    for name in ("discriminator", "generator"):
        config.optimizers[name].update(learning_rate=5e-4, decay="cosine", decay_start=51_200, decay_end=115_200, final=0.05)
    config.ema.update(generator=10_000.0)
    config.run.update(checkpoint_every=64_000, samples_every=64_000)


def dense(config: ConfigDict) -> None:
    """A dense last layer, behind few maps at 32x32: it has a weight for each of their values and each of the picture's."""
    config.data.update(resolution=32)
    config.generator.update(decoder=(512, 256, 8), dense_output=True)


def tiny(config: ConfigDict) -> None:
    """Every part as small as it works: seconds."""
    config.batch_size, config.scan_length, config.noise = 16, 4, 8
    config.data.update(resolution=16, limit=96, vocabulary=512)
    config.text.update(width=16, depth=1, heads=2, hidden=16)
    config.embedder.update(embedding=16, channels=(8, 16))
    config.generator.update(side=4, encoder=(8,), decoder=(16, 8), dense_output=True)
    config.discriminator.update(channels=(8, 16), hidden=16, embedding=16)
    config.losses.update(l1=1e-5, l2=1e-5)
    config.stages.update(features=128, correspondence=128, gan=256)
    config.ema.update(generator=128.0)
    config.run.update(checkpoint_every=128, samples_every=512)
