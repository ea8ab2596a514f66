"""The stage in which images become tokens: a vector-quantised autoencoder of patches (VQ-VAE, van den Oord et al. 2017).

    tokenizer minimises  |x - x̂|² + w₁ |x - x̂| + β |E(x) - sg(c)|²,   x̂ = D(c) with the gradient of c passed on to E(x)
    codebook  c_k = average of the E(x) that chose it; starts by k-means; codes out of use start again
    then      tokens(x) = argmin_k ‖E(x) - c_k‖², and neither moves any more

Where the patches themselves are the latents nothing is learnt: the codebook is fitted as the next stage begins.
"""

import dataclasses

import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array
from ml_collections import ConfigDict

from t2i_jax import config as configs
from t2i_jax import keys
from t2i_jax.models import quantization
from t2i_jax.models.autoencoders import start_as_pca
from t2i_jax.models.patches import PatchAutoencoder
from t2i_jax.objectives import diagnostics, tokens
from t2i_jax.objectives.augment import cut_mix, mirror
from t2i_jax.objectives.precision import at_least_float32
from t2i_jax.objectives.reconstruction import smooth_absolute
from t2i_jax.paths import below
from t2i_jax.systems import Codec, Phase, Stage, Turn

FITTED = 65_536  # latents that k-means sees, at most


@dataclasses.dataclass(frozen=True)
class Codebook:
    """The config section `codebook`."""

    size: int = 512
    decay: float = 0.99  # what a step keeps of the codebook's averages
    least: float = 0.05  # of the even share: codes chosen more rarely start again
    commitment: float = 0.25
    l1: float = 0.1  # of reconstructions, beside the mean square
    cut_mix: float = 0.5  # share of training pictures with a rectangle from another
    mirror: bool = True  # half of the training pictures
    iterations: int = 20  # of k-means


@dataclasses.dataclass(frozen=True)
class ImageTokens:
    """Images [B, H, W, C] in [-1, 1] <-> tokens [B, N], for systems that draw by way of them.

    Owns the player "tokenizer" (where its network is learnt) and the aux entry "codebook".
    """

    network: PatchAutoencoder
    codebook: Codebook

    @property
    def count(self) -> int:
        """N, the tokens of an image, row by row."""
        rows, columns = self.network.grid
        return rows * columns

    def init(self, key: Array) -> tuple[dict, dict]:
        """(players, aux entries)."""
        vectors = keys.named(key, "codebook")
        aux = quantization.start_codebook(jax.random.normal(vectors, (self.codebook.size, self.network.latent)))
        if not self.network.learnt:
            return {}, {"codebook": aux}
        image = jnp.zeros((1, *self.network.image_shape))
        return {"tokenizer": self.network.init(keys.named(key, "tokenizer"), image)["params"]}, {"codebook": aux}

    def before(self, images: int, *stages: Stage) -> tuple[Stage, ...]:
        """`stages` after that of the tokenizer, which takes so many images; where nothing is learnt, 0. Raises UserError."""
        if self.network.learnt:
            phase = Phase("tokenizer", below("tokenizer"), self.loss, "tokenizer", ("codebook",), whole_batch=True)
            return Stage("tokenizer", images, (phase,), self.fit), *stages
        configs.require(images == 0, "stages.tokenizer", images, "0 where tokenizer.learnt is false")
        first, *others = stages
        enter = lambda state, sample: (first.enter or (lambda state, _: state))(self.fit(state, sample), sample)
        return first._replace(enter=enter), *others

    def encode(self, params: dict, images: Array) -> Array:
        """Latents [B, N, latent], not yet quantised."""
        variables = {"params": params["tokenizer"]} if self.network.learnt else {}
        return at_least_float32(self.network.apply(variables, images, method="encode"))

    def tokens(self, params: dict, aux: dict, images: Array) -> Array:
        """Tokens int32 [B, N]."""
        return quantization.nearest(self.encode(params, images), aux["codebook"]["vectors"])

    def decode(self, params: dict, aux: dict, choice: Array) -> Array:
        """Images [B, H, W, C], not clipped, from one-hot choices [B, N, K], through which gradients pass."""
        return self.paint(params, quantization.lookup(choice, aux["codebook"]["vectors"]))

    def draw(self, params: dict, aux: dict, chosen: Array) -> Array:
        """Images [B, H, W, C] in [-1, 1] from tokens [B, N]."""
        return jnp.clip(self.paint(params, aux["codebook"]["vectors"][chosen]), -1, 1)

    def paint(self, params: dict, latents: Array) -> Array:
        """Images [B, H, W, C], not clipped, from latents [B, N, latent]."""
        variables = {"params": params["tokenizer"]} if self.network.learnt else {}
        return at_least_float32(self.network.apply(variables, latents, method="decode"))

    def loss(self, turn: Turn):
        """What the tokenizer minimises; writes the codebook."""
        images, codebook = self._pictures(turn), turn.aux["codebook"]
        encoded = self.encode(turn.params, images)
        chosen = quantization.nearest(encoded, codebook["vectors"])
        quantised = codebook["vectors"][chosen]
        made = self.paint(turn.params, quantization.straight_through(encoded, quantised))
        # Clipped in value but not in gradient: nothing is to be learnt outside the range of a picture.
        error = made + jax.lax.stop_gradient(jnp.clip(made, -1, 1) - made) - images
        terms = {"mean_square": jnp.mean(error**2), "absolute": smooth_absolute(error),
                 "commitment": tokens.commitment_loss(encoded, quantised)}
        loss = terms["mean_square"] + self.codebook.l1 * terms["absolute"] + self.codebook.commitment * terms["commitment"]
        flat = lambda x: jax.lax.stop_gradient(rearrange(x, "b n ... -> (b n) ..."))
        restart = keys.named(turn.keys[0], "restart codes")
        moved = quantization.update_codebook(
            codebook, flat(encoded), flat(chosen), self.codebook.decay, restart, self.codebook.least)
        return loss, ({"codebook": moved}, terms | diagnostics.codebook_usage(chosen, self.codebook.size))

    def fit(self, state, sample: dict):
        """The state with the codebook fitted to a sample, and before it the linear paths of a network that is to be learnt."""
        key, params = keys.named(state.key, "codebook"), state.params
        if self.network.learnt:
            patches = rearrange(sample["image"], "b (h p) (w q) c -> (b h w) p q c", p=self.network.patch, q=self.network.patch)
            fitted = start_as_pca(params["tokenizer"], _some(patches, keys.named(key, "patches")), keys.named(key, "pca"))
            params = params | {"tokenizer": fitted}
        latents = _some(rearrange(self.encode(params, sample["image"]), "b n d -> (b n) d"), keys.named(key, "latents"))
        vectors = quantization.fit_codebook(latents, self.codebook.size, key, self.codebook.iterations)
        return dataclasses.replace(state, params=params, aux=state.aux | {"codebook": quantization.start_codebook(vectors)})

    def codec(self) -> Codec:
        """Pictures as quantised latents, by which reconstructions are judged."""
        size = self.count * self.network.latent

        def encode(params: dict, aux: dict, images: Array) -> Array:
            return rearrange(aux["codebook"]["vectors"][self.tokens(params, aux, images)], "b n d -> b (n d)")

        def decode(params: dict, aux: dict, latents: Array) -> Array:
            return jnp.clip(self.paint(params, rearrange(latents, "b (n d) -> b n d", n=self.count)), -1, 1)

        return Codec(encode, decode, size)

    def _pictures(self, turn: Turn) -> Array:
        images = turn.batch["image"]
        if self.codebook.mirror:
            images = mirror(images, keys.named(turn.keys, "mirror"))
        share = self.codebook.cut_mix
        return cut_mix(images, keys.named(turn.keys, "cut mix"), share) if share else images


def build(config: ConfigDict, **given) -> ImageTokens:
    """The stage of a config with sections data, tokenizer, codebook; given: further fields of the network (dtype).

    Raises UserError where a section does not fit.
    """
    shape = (config.data.resolution, config.data.resolution, config.data.channels)
    network = configs.section(config, "tokenizer", PatchAutoencoder, image_shape=shape, **given)
    configs.require(network.patch > 0 and shape[0] % network.patch == 0, "tokenizer.patch", network.patch,
                    f"a divisor of data.resolution = {shape[0]}")
    configs.require(network.learnt or network.latent == network.values, "tokenizer.latent", network.latent,
                    f"patch x patch x channels = {network.values} where tokenizer.learnt is false")
    codebook = configs.section(config, "codebook", Codebook)
    configs.require(codebook.size > 1, "codebook.size", codebook.size, "2 or more")
    configs.require(0 <= codebook.decay < 1, "codebook.decay", codebook.decay, "0 up to less than 1")
    configs.require(codebook.iterations > 0, "codebook.iterations", codebook.iterations, "1 or more")
    return ImageTokens(network, codebook)


def _some(rows: Array, key: Array) -> Array:
    """At most FITTED of the rows [N, ...]."""
    return rows if len(rows) <= FITTED else jax.random.choice(key, rows, (FITTED,), replace=False)
