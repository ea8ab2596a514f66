"""OpenMoji as a TFDS data set, drawn from installed packages: no download, no TensorFlow.

Pictures by OpenMoji (https://openmoji.org), licence CC BY-SA 4.0. Names from the Unicode names in the package `emoji`.
Captions are described in openmoji_captions.py, splits in openmoji_splits.py.
"""

import io
from dataclasses import dataclass

import tensorflow_datasets as tfds
from tqdm import tqdm

from t2i_jax.data import openmoji_captions, openmoji_splits
from t2i_jax.errors import UserError

LICENCE = "Pictures: OpenMoji (https://openmoji.org), CC BY-SA 4.0"
SIZE = 128  # prepare shrinks from here


def rasterize(code: str, size: int = SIZE) -> bytes:
    """Draws one OpenMoji picture on white: PNG bytes, size x size.

    OpenMoji's canvas is 72 units with a margin of about 4 that is almost never used. The margin is cut: at 32 pixels a
    pixel is then exactly two units, the width of OpenMoji's outlines, which stay sharp."""
    try:
        import resvg_py
    except ImportError as error:
        raise UserError(f"openmoji needs the package {error.name}: run pip install 't2i_jax[openmoji]'") from error
    svg = openmoji_captions.svg_files()[code].read_text(encoding="utf-8")
    svg = svg.replace('viewBox="0 0 72 72"', 'viewBox="4 4 64 64"')
    return resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, background="#ffffff", skip_system_fonts=True)


@dataclass
class OpenmojiConfig(tfds.core.BuilderConfig):
    """`languages`: of the captions. `limit`: at most so many pictures a split, evenly spread; 0: all."""

    languages: tuple[str, ...] = ("en",)
    limit: int = 0


def config(languages: tuple[str, ...] = ("en",), limit: int = 0) -> OpenmojiConfig:
    """A builder configuration whose name says what it holds: "en", "en_zh", "en_first20"."""
    return OpenmojiConfig(name="_".join(languages) + (f"_first{limit}" if limit else ""),
                          languages=languages, limit=limit)


class Openmoji(tfds.core.GeneratorBasedBuilder):
    """Splits train, heldout_compositions and heldout_concepts of {image, captions, languages, cut, family}, named by
    file stem.

    `Openmoji(data_dir=..., config=config(("en", "zh")), file_format="array_record")`, then `download_and_prepare()` and
    `as_data_source()`: 3,904 pictures of 128 x 128."""

    VERSION = tfds.core.Version("1.1.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description="OpenMoji emojis with captions at several levels of detail.",
            homepage="https://openmoji.org",
            license=LICENCE,
            disable_shuffling=True,
            features=tfds.features.FeaturesDict({
                "image": tfds.features.Image(shape=(SIZE, SIZE, 3), encoding_format="png"),
                "captions": tfds.features.Sequence(tfds.features.Text()),
                "languages": tfds.features.Sequence(tfds.features.Text()),
                "name": tfds.features.Text(),
                "cut": tfds.features.Text(),
                "family": tfds.features.Text(),
            }))

    def _split_generators(self, dl_manager):
        pictures = openmoji_splits.pictures(self.builder_config.languages)
        return {split: self._generate_examples([picture for picture in pictures if picture.split == split])
                for split in openmoji_splits.SPLITS}

    def _generate_examples(self, pictures):
        if self.builder_config.limit:
            pictures = pictures[::max(1, len(pictures) // self.builder_config.limit)][:self.builder_config.limit]
        for index, picture in enumerate(tqdm(pictures, desc="drawing", unit="picture", leave=False)):
            yield index, {"image": io.BytesIO(rasterize(picture.code)), "captions": list(picture.captions),
                          "languages": list(picture.languages), "name": picture.code, "cut": picture.cut,
                          "family": picture.family}
