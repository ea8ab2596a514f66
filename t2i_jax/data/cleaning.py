"""From whatever a source hands over to a square uint8 picture and honest captions; every repair is named."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter, ImageOps

PIXEL_LIMIT = 64_000_000  # a decompression bomb claims more
FILTER = "bicubic"  # Pillow's, which is antialiased: it widens with the reduction
ORIENTATION = 0x0112  # EXIF tag
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "DIB", "TIFF", "PPM", "AVIF")  # none that runs another program


class Unusable(Exception):
    """Why a picture or all its captions had to be dropped."""


class Cleaned(NamedTuple):
    """A uint8 picture [resolution, resolution, channels], its captions, and what had to be done to them."""

    image: np.ndarray
    captions: tuple[str, ...]
    notes: tuple[str, ...]


def clean(content: bytes, captions: tuple[str, ...], name: str, *, resolution: int, channels: int,
          denoise: bool = False) -> Cleaned:
    """Decodes, repairs and resizes one picture and checks its captions. Raises Unusable with the reason.

    `content`: the encoded file; `name`: its file name, whose extension is checked against the content."""
    kept, caption_notes = clean_captions(captions)
    image, notes = decode(content, name)
    if denoise:
        image = image.filter(ImageFilter.MedianFilter(3))
    if min(image.size) < resolution:
        notes.append(f"enlarged from {image.width}x{image.height}")
    image = image.convert("RGB" if channels == 3 else "L")
    image = ImageOps.fit(image, (resolution, resolution), Image.Resampling.BICUBIC)  # centre crop, then resize
    pixels = np.asarray(image, np.uint8).reshape(resolution, resolution, channels)
    return Cleaned(pixels, kept, (*notes, *caption_notes))


def clean_captions(captions: tuple[str, ...]) -> tuple[tuple[str, ...], list[str]]:
    """Captions with blanks collapsed, without repeats and unusable ones, and notes. Raises Unusable if none remains."""
    kept, notes = [], []
    for caption in captions:
        try:
            caption.encode("utf-8")
        except UnicodeEncodeError:
            notes.append("caption dropped: not UTF-8")
            continue
        text = tidy(caption)
        if text:
            kept.append(text)
        else:
            notes.append("caption dropped: empty")
    if not kept:
        raise Unusable("no usable caption" + "".join(f" ({note.removeprefix('caption dropped: ')})" for note in
                                                     dict.fromkeys(notes)))
    return tuple(dict.fromkeys(kept)), notes


def tidy(caption: str) -> str:
    """A caption with single blanks and nothing that cannot be printed."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in caption).split())


def decode(content: bytes, name: str) -> tuple[Image.Image, list[str]]:
    """An upright, opaque picture in mode RGB or L, and notes on what was done to it. Raises Unusable."""
    notes: list[str] = []
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        if image.width * image.height > PIXEL_LIMIT:
            raise Unusable(f"decompression bomb: {image.width}x{image.height} pixels")
        expected = Image.registered_extensions().get(Path(name).suffix.lower())
        if expected and expected != {"MPO": "JPEG", "DIB": "BMP"}.get(image.format, image.format):
            notes.append(f"wrong extension: content is {image.format}")
        if getattr(image, "is_animated", False) and image.format != "MPO":
            notes.append(f"animated: first of {image.n_frames} frames")
            image.seek(0)
        image.load()
        upright = ImageOps.exif_transpose(image)
        if image.getexif().get(ORIENTATION, 1) != 1:
            notes.append("turned upright by its EXIF orientation")
        return _opaque(upright, notes), notes
    except Unusable:
        raise
    except Image.DecompressionBombError as error:
        raise Unusable("decompression bomb") from error
    except Image.UnidentifiedImageError as error:
        raise Unusable("not a picture in a known format") from error
    except Exception as error:  # Pillow's decoders meet damaged files with any exception
        reason = str(error).strip().partition("\n")[0][:100] or type(error).__name__
        raise Unusable(f"does not decode: {reason}") from error


def _opaque(image: Image.Image, notes: list[str]) -> Image.Image:
    """Any Pillow mode to RGB or L: transparency over white, 16 bits scaled to 8."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema()[0] < 255:
            notes.append("transparency put over white")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image)
        if image.mode == "F" or values.min() < 0 or values.max() > 65535:
            raise Unusable("32-bit pixels of unknown range")
        notes.append("16-bit grey scaled to 8 bits")
        return Image.fromarray(np.round(values / 257.0).astype(np.uint8))
    if image.mode in ("RGB", "L"):
        return image
    if image.mode != "1":
        notes.append(f"{'palette' if image.mode == 'P' else image.mode} converted to RGB")
    return image.convert("L" if image.mode == "1" else "RGB")
