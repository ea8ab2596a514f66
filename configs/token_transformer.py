"""A transformer that draws images token by token, against a CNN discriminator: `token_transformer`.

    t2i train --config configs/token_transformer.py:small --workdir runs/token_transformer    # OpenMoji at 32x32, two CPU cores
    t2i train --config configs/token_transformer.py --workdir runs/token_transformer64        # 64x64, larger, one GPU
    t2i train --config configs/token_transformer.py:pixel --workdir runs/pixels               # 8x8 digits, a token a pixel
    t2i train --config configs/token_transformer.py:tiny --workdir runs/tiny                  # as small as it works: the tests

`:small`: 2.6 million parameters, 83,200 images, 64 tokens of 512 codes a picture. About 10 minutes of one core of an AMD EPYC
with compilation (milliseconds of it an image: tokenizer 4.2, correspondence 1.0, likelihood 8.9, gan 14), 1.8 GiB.
L_nll a token falls from 6.2 (no knowledge) over 1.58 (24,320 images) to 1.40 at the end of likelihood and 1.36 after the game.

By `t2i compare` (300 pictures a group at most, one seed), training captions / unseen tone / unseen pair; chance is .010:

                                     R-precision          Frechet distance     PSNR, dB
    drawn at temperature 1        .173 / .184 / .172    .083 / .179 / .392
    reconstructed from tokens     .970 / .894 / .787    .016 / .030 / .087    20.9 / 21.0 / 20.3
    real pictures                 .990 / .978 / .869

Seen: crisp patches of the right kind and colours, people with hair, clothes and skin as asked, whose parts do not yet fit
together; rarer things are not recognised. The tokens hold what captions say; the transformer has seen each picture 12 times in
its likelihood stage and is far from done. R-precision of 128 draws each, training captions / all of unseen compositions:

    after likelihood alone                                              .109 / .164
    6,400 images of the game, content .1: kept                          .148 / .164
    6,400 images of the game, content 1                                 .180 / .211
      the same drawn at temperature .85 / .7                            .234 / .258, .273 / .266

What was tried for the tokenizer, one seed each; PSNR in dB of 256 training pictures / of unseen pairs and tones:

    images                                                              PSNR    codes in use   perplexity of 512
    16,640  random start, codebook.decay .99, least .05                    -        7 %            13
     6,400  the same, decay .9, least .1                             16.8 / 17.1   91 %           296
         0  linear paths started as PCA, k-means on its latents      20.1 / -        -             -
     4,800  then learnt, decay .9, least .1: kept (decay .95)        20.5 / 20.1   91 %            76

In the first the encoder shrank away from its codes in 40 steps, and at decay .99 a code takes 300 steps to be missed.
A high perplexity is no merit by itself: most of these pictures is white, and one code is enough for that.
"""

from ml_collections import ConfigDict


def adamw(**changes) -> ConfigDict:
    """AdamW as every player uses it; schedules count images from the start of the player's stage."""
    return ConfigDict({
        "name": "adamw", "learning_rate": 1e-3, "b1": 0.9, "b2": 0.99, "eps": 1e-8, "weight_decay": 0.01, "clip": 1.0,
        "warmup_images": 12_800, "decay": "cosine", "decay_start": 0, "decay_end": 1, "final": 0.03,
    } | changes)


def get_config(arg: str = "") -> ConfigDict:
    config = ConfigDict()
    config.system = "token_transformer"
    config.seed = 0
    config.batch_size = 256
    config.scan_length = 20  # steps in one compiled call
    config.fsdp = 1  # devices that share one copy of the parameters
    config.dtype = "bfloat16"  # of activations; losses and parameters are float32 always
    config.data = ConfigDict({
        "source": "openmoji", "path": "", "resolution": 64, "channels": 3, "languages": ("en",), "limit": 0,
        "template": "{}", "heldout_fraction": 0.05, "denoise": False, "drop_near_duplicates": False,
        "flip": False, "rotate": 0.0, "scale": 0.0, "vocabulary": 4096, "text_length": 20, "sample": 1024,
    })
    config.text = ConfigDict({"width": 256, "depth": 2, "heads": 4, "hidden": 512})
    config.tokenizer = ConfigDict({"patch": 4, "latent": 16, "width": 256, "hidden": 512, "blocks": 4, "learnt": True})
    config.codebook = ConfigDict({
        "size": 1024, "decay": 0.99, "least": 0.1, "commitment": 0.25, "l1": 0.1, "cut_mix": 0.5, "mirror": True,
        "iterations": 20,
    })
    config.embedder = ConfigDict({"channels": (64, 128, 256), "embedding": 128})
    config.generator = ConfigDict({"width": 512, "depth": 8, "heads": 8, "hidden": 2048, "remat": False})
    config.discriminator = ConfigDict({"channels": (64, 128, 256, 512), "hidden": 0, "embedding": 128})
    config.losses = ConfigDict({
        "adversarial": "non_saturating", "matching": False, "contrastive": 0.0, "temperature": 0.1, "gamma": 1.0,
        "gamma_fake": 0.0, "l1": 0.0, "l2": 0.0, "augment": 0.0,
        "content": 0.1, "content_kind": "info_nce", "content_temperature": 0.1,
        "likelihood": 1.0, "relaxation": 1.0,
    })
    lengths(config, tokenizer=1_024_000, correspondence=512_000, likelihood=4_096_000, gan=1_024_000)
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
    """Stages of so many images, and learning rates that fall over each."""
    config.stages = ConfigDict(images)
    learnt = [stage for stage in ("tokenizer", "correspondence", "likelihood") if images[stage]]
    gan = {"b1": 0.0, "learning_rate": 2e-4, "weight_decay": 0.0, "decay_end": images["gan"]}
    config.optimizers = ConfigDict({stage: adamw(decay_end=images[stage]) for stage in learnt} | {
        "discriminator": adamw(**gan), "generator": adamw(**gan),
    })


def small(config: ConfigDict) -> None:
    """32x32 on two CPU cores."""
    config.batch_size, config.scan_length, config.dtype = 32, 40, "float32"
    config.data.update(resolution=32)
    config.text.update(width=128, depth=0)  # a bag of words
    config.tokenizer.update(width=96, hidden=192, blocks=2)
    config.codebook.update(size=512, decay=0.95)
    config.embedder.update(channels=(32, 64, 128))
    config.generator.update(width=128, depth=3, heads=4, hidden=256)
    config.discriminator.update(channels=(32, 64, 128, 256))
    lengths(config, tokenizer=12_800, correspondence=25_600, likelihood=38_400, gan=6_400)
    for player in config.optimizers.values():
        player.update(warmup_images=1_280)
    config.ema.update(generator=1_500.0)
    config.run.update(checkpoint_every=12_800, samples_every=102_400)


def pixel(config: ConfigDict) -> None:
    """Handwritten digits of 8x8 pixels, each pixel a token: nothing stands between transformer and image."""
    config.batch_size, config.dtype = 64, "float32"
    config.data.update(source="digits", resolution=8, channels=1)
    config.text.update(width=64, depth=1)
    config.tokenizer.update(patch=1, latent=1, learnt=False)
    config.codebook.update(size=17)
    config.embedder.update(channels=(32, 64), embedding=64)
    config.generator.update(width=96, depth=3, heads=4, hidden=192)
    config.discriminator.update(channels=(32, 64, 128), embedding=64)
    lengths(config, tokenizer=0, correspondence=25_600, likelihood=102_400, gan=12_800)
    for player in config.optimizers.values():
        player.update(warmup_images=2_560)
    config.ema.update(generator=5_000.0)
    config.run.update(checkpoint_every=25_600, samples_every=51_200)


def tiny(config: ConfigDict) -> None:
    """Every part as small as it works: seconds."""
    config.batch_size, config.scan_length, config.dtype = 16, 4, "float32"
    config.data.update(resolution=16, limit=96, vocabulary=512, sample=64)
    config.text.update(width=16, depth=1, heads=2, hidden=16)
    config.tokenizer.update(latent=8, width=16, hidden=16, blocks=1)
    config.codebook.update(size=32, iterations=5)
    config.embedder.update(channels=(8, 16), embedding=16)
    config.generator.update(width=16, depth=2, heads=2, hidden=16)
    config.discriminator.update(channels=(8, 16), embedding=16)
    lengths(config, tokenizer=256, correspondence=128, likelihood=128, gan=128)
    for player in config.optimizers.values():
        player.update(warmup_images=64)
    config.ema.update(generator=128.0)
    config.run.update(checkpoint_every=128, samples_every=512)
