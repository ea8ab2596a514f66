"""Tokens drawn block by block through noise, judged by a sum of discriminators: `noisy_ar`.

    t2i train --config configs/noisy_ar.py:small --workdir runs/noisy_ar     # OpenMoji at 32x32, two CPU cores
    t2i train --config configs/noisy_ar.py --workdir runs/noisy_ar64         # 64x64, larger, one GPU
    t2i train --config configs/noisy_ar.py:pixel --workdir runs/pixels       # 8x8 digits, a token a pixel
    t2i train --config configs/noisy_ar.py:tiny --workdir runs/tiny          # as small as it works: the tests
    t2i sample --workdir runs/noisy_ar --prompt "a red heart" --num-inference-steps 16 --animate heart.gif

`:small`: 49,920 images in about 22 minutes with three quarters of one core, compilation included (about 4); 57 images/s
in the game. R-precision (top 1 of 100) and Frechet distance by configs/evaluator.py, one seed, of 300 training captions
and of those held out: an unseen skin tone (A), an unseen pair (B), unseen concepts (where real pictures score .060), all
of captions that left yellow skin unsaid;
tests/benchmarks/inference_steps.py.

    steps, temperature 1    training      A             B             concepts
      before training, 8    .010 1.202    .000 1.361    .000 1.461    .000 1.292
      1                     .187  .147    .140  .238    .074  .418    .034  .458
      2                     .157  .131    .128  .232    .123  .396    .013  .441
      4                     .160  .122    .151  .216    .107  .373    .013  .391
      8, the default        .147  .109    .123  .212    .107  .378    .034  .379
      16                    .170  .106    .106  .213    .115  .376    .027  .370
    temperature 0.7, 8      .163  .172    .190  .253    .139  .466    .034  .415    cleaner, and less varied

Attacks of one step on 80 pictures of each held-out group; the discriminator is right about 94.5 % of clean pictures and
95.5 % of drawn ones (tests/benchmarks/perturbation.py). It and the detector were trained with attacks of 0.06:

    largest change of a pixel in [-1, 1]    0.015       0.03        0.06        0.12
    real pictures still called real         92.5 %      85.0 %      65.5 %      17.0 %
    detector: accuracy, area under ROC      .585 .704   .748 .858   .930 .974   .958 .997

With and without training on attacked pictures (losses.perturbed .5 and 0), both after 7,680 images of the game, one seed: real
pictures called real .790 and .360, attacked by 0.06 .230 and .035, by 0.015 .680 and .230. Early in the game: the second
discriminator calls nearly everything drawn, so the shares kept (.29 and .10, .86 and .64) say more than their sizes.

What `:small` looks like: flags, faces and people have the right outline and mostly the right colours, patches within do
not fit together at temperature 1. The tokenizer's reconstructions score .963 and .015: what is missing is training.
"""

from ml_collections import ConfigDict


def adamw(**changes) -> ConfigDict:
    """AdamW as every player uses it; schedules count images from the start of the player's stage."""
    return ConfigDict({
        "name": "adamw", "learning_rate": 1e-3, "b1": 0.9, "b2": 0.99, "eps": 1e-8, "weight_decay": 0.01, "clip": 1.0,
        "warmup_images": 6_400, "decay": "cosine", "decay_start": 0, "decay_end": 1, "final": 0.03,
    } | changes)


def get_config(arg: str = "") -> ConfigDict:
    config = ConfigDict()
    config.system = "noisy_ar"
    config.seed = 0
    config.batch_size = 256
    config.scan_length = 20  # steps in one compiled call
    config.fsdp = 1  # devices that share one copy of the parameters
    config.dtype = "bfloat16"  # of activations; losses and parameters are float32 always
    config.data = ConfigDict({
        "source": "openmoji", "path": "", "resolution": 64, "channels": 3, "languages": ("en",), "limit": 0,
        "template": "{}", "heldout_fraction": 0.05, "denoise": False, "drop_near_duplicates": False,
        "flip": False, "rotate": 0.0, "scale": 0.0, "vocabulary": 4096, "text_length": 20, "sample": 1024, "noise": 16,
    })
    config.text = ConfigDict({"width": 256, "depth": 2, "heads": 4, "hidden": 512})
    config.tokenizer = ConfigDict({"patch": 4, "latent": 16, "width": 256, "hidden": 512, "blocks": 4, "learnt": True})
    config.codebook = ConfigDict({
        "size": 1024, "decay": 0.99, "least": 0.05, "commitment": 0.25, "l1": 0.1, "cut_mix": 0.5, "mirror": True,
        "iterations": 20,
    })
    config.generator = ConfigDict({"width": 512, "depth": 8, "heads": 8, "hidden": 2048, "words": True, "remat": False})
    config.steps = ConfigDict({
        "order": "scattered",  # or raster: in which tokens are drawn
        "noise": 8,  # dimensions of each token's own noise
    })
    config.discriminator = ConfigDict({"scales": 2, "channels": (64, 128, 256, 512), "hidden": 0, "embedding": 128})
    config.detector = ConfigDict({"channels": (32, 64)})
    config.losses = ConfigDict({
        "adversarial": "non_saturating", "matching": True, "contrastive": 1.0, "temperature": 0.1, "gamma": 1.0,
        "gamma_fake": 0.0, "l1": 0.0, "l2": 0.0, "augment": 0.0,
        "likelihood": 4.0, "corruption": 0.3, "drawn": 0.25, "blocks": 4, "relaxation": 1.0, "alone": 0.5,
        "perturbed": 0.5, "epsilon": 0.06, "few": 0.1,
    })
    lengths(config, tokenizer=1_024_000, pretraining=1_024_000, gan=4_096_000, finetuning=102_400)
    config.ema = ConfigDict({"generator": 40_000.0})  # half-life in images
    config.run = ConfigDict({
        "checkpoint_every": 512_000, "keep": 2, "keep_every": 0, "log_every": 0, "samples_every": 1_024_000,
        "evaluate_every": 0, "evaluator": "", "best": "", "rollbacks": 0, "rollback_learning_rate": 0.5,
        "rollback_gamma": 1.0,
    })
    match arg:
        case "small":
            small(config)
        case "pixel":
            pixel(config)
        case "tiny":
            tiny(config)
    return config


def lengths(config: ConfigDict, **images: int) -> None:
    """Stages of so many images, and learning rates that fall over each; players of the game keep the last of theirs."""
    config.stages = ConfigDict(images)
    gan = {"decay_end": images["gan"], "final": 0.05}
    config.optimizers = ConfigDict({
        "tokenizer": adamw(decay_end=max(1, images["tokenizer"])),
        "pretraining": adamw(decay_end=images["pretraining"], final=0.3),
        "discriminator": adamw(**gan, b1=0.0, learning_rate=3e-4),
        "generator": adamw(**gan),
        "detector": adamw(**gan),
    })


def small(config: ConfigDict) -> None:
    """32x32 on two CPU cores."""
    config.batch_size, config.scan_length, config.dtype = 32, 40, "float32"
    config.data.update(resolution=32)
    config.text.update(width=128, depth=0)  # a bag of words
    config.tokenizer.update(width=96, hidden=192, blocks=2)
    config.codebook.update(size=512, decay=0.95)
    config.generator.update(width=128, depth=3, heads=4, hidden=256, words=False)
    config.discriminator.update(channels=(32, 64, 128, 256))
    config.detector.update(channels=(16, 32))
    config.losses.update(blocks=2, drawn=0.5)
    lengths(config, tokenizer=12_800, pretraining=5_120, gan=30_720, finetuning=1_280)
    for player in config.optimizers.values():
        player.warmup_images = 1_280
    config.optimizers.generator.learning_rate = config.optimizers.pretraining.learning_rate = 1.5e-3
    config.ema.update(generator=2_000.0)
    config.run.update(checkpoint_every=12_800, samples_every=51_200)


def pixel(config: ConfigDict) -> None:
    """Handwritten digits of 8x8 pixels, each pixel a token: nothing stands between transformer and image."""
    config.batch_size, config.dtype = 64, "float32"
    config.data.update(source="digits", resolution=8, channels=1, noise=8)
    config.text.update(width=64, depth=1)
    config.tokenizer.update(patch=1, latent=1, learnt=False)
    config.codebook.update(size=17)
    config.generator.update(width=96, depth=3, heads=4, hidden=192)
    config.discriminator.update(channels=(32, 64, 128), embedding=64)
    config.detector.update(channels=(16, 32))
    lengths(config, tokenizer=0, pretraining=25_600, gan=76_800, finetuning=6_400)
    config.ema.update(generator=5_000.0)
    config.run.update(checkpoint_every=51_200, samples_every=51_200)


def tiny(config: ConfigDict) -> None:
    """Every part as small as it works: seconds."""
    config.batch_size, config.scan_length, config.dtype = 16, 4, "float32"
    config.data.update(resolution=16, limit=96, vocabulary=512, sample=64, noise=4)
    config.text.update(width=16, depth=1, heads=2, hidden=16)
    config.tokenizer.update(latent=8, width=16, hidden=16, blocks=1)
    config.codebook.update(size=32, iterations=5)
    config.generator.update(width=16, depth=1, heads=2, hidden=16)
    config.steps.update(noise=4)
    config.discriminator.update(channels=(8,), embedding=16)
    config.detector.update(channels=(8,))
    config.losses.update(drawn=0.5, blocks=3, few=0.4)
    lengths(config, tokenizer=256, pretraining=128, gan=128, finetuning=64)
    for player in config.optimizers.values():
        player.update(warmup_images=64)
    config.ema.update(generator=128.0)
    config.run.update(checkpoint_every=128, samples_every=512)
