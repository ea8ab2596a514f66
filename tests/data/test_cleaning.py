import io

import numpy as np
import pytest
from PIL import Image

from data.conftest import encoded, picture
from t2i_jax.data import cleaning
from t2i_jax.data.cleaning import Unusable, clean, clean_captions

RED, WHITE = (255, 0, 0), (255, 255, 255)


def cleaned(content, name="a.png", resolution=8, channels=3, **options):
    return clean(content, ("x",), name, resolution=resolution, channels=channels, **options)


def plain(mode, colour, kind="PNG", **options):
    return encoded(Image.new(mode, (16, 16), colour), kind, **options)


@pytest.mark.parametrize("content, colour, note", [
    (plain("RGB", RED), RED, None),
    (plain("L", 77), (77, 77, 77), None),
    (plain("1", 1), WHITE, None),
    (plain("RGBA", (255, 0, 0, 0)), WHITE, "transparency"),
    (plain("RGBA", (255, 0, 0, 255)), RED, None),
    (plain("LA", (0, 128)), (127, 127, 127), "transparency"),
    (encoded(Image.new("RGB", (16, 16), RED).quantize(4)), RED, "palette"),
    (encoded(Image.new("RGB", (16, 16), RED).quantize(4), transparency=0), WHITE, "transparency"),
    (plain("CMYK", (0, 255, 255, 0), "JPEG"), (254, 0, 0), "CMYK"),
    (encoded(Image.fromarray(np.full((16, 16), 257 * 100, np.uint16))), (100, 100, 100), "16-bit"),
    (plain("RGB", RED, "TIFF"), RED, "wrong extension"),
])
def test_any_kind_of_pixels_becomes_opaque_8_bit_colour(content, colour, note):
    result = cleaned(content)
    assert result.image.dtype == np.uint8 and result.image.shape == (8, 8, 3)
    np.testing.assert_allclose(result.image, np.broadcast_to(np.array(colour, np.uint8), (8, 8, 3)), atol=2)
    assert [entry for entry in result.notes if "enlarged" not in entry] == [] if note is None else any(
        note in entry for entry in result.notes)


def test_exif_orientation_is_applied():
    image = Image.new("RGB", (16, 16), RED)
    image.paste(WHITE, (0, 0, 16, 8))
    exif = Image.Exif()
    exif[cleaning.ORIENTATION] = 3  # upside down
    result = cleaned(encoded(image, "JPEG", exif=exif, quality=95), "a.jpg")
    assert result.image[0, :, 1].max() < 30 and result.image[-1, :, 1].min() > 225
    assert result.notes == ("turned upright by its EXIF orientation",)


def test_animations_give_their_first_frame():
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, WHITE, RED)]
    result = cleaned(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), "a.gif")
    assert "animated: first of 3 frames" in result.notes
    assert tuple(result.image[4, 4]) == RED


def test_the_content_decides_not_the_extension():
    assert cleaned(encoded(picture(0), "JPEG"), "a.png").notes == ("wrong extension: content is JPEG",)
    assert cleaned(encoded(picture(0), "JPEG"), "a.JPG").notes == ()
    assert cleaned(encoded(picture(0), "JPEG"), "no extension").notes == ()


WHOLE = encoded(picture(0, (64, 64)))


@pytest.mark.parametrize("content, reason", [
    (b"", "not a picture"),
    (b"hello", "not a picture"),
    (WHOLE[: len(WHOLE) // 2], "does not decode"),
    (encoded(picture(0, (64, 64)), "JPEG")[:500], "does not decode"),
    (WHOLE[:60] + bytes([WHOLE[60] ^ 255]) + WHOLE[61:], "does not decode"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),  # never handed to Ghostscript
    (plain("F", 0.5, "TIFF"), "unknown range"),
    (plain("I", 70000, "TIFF"), "unknown range"),
])
def test_what_does_not_decode_is_refused_with_the_reason(content, reason):
    with pytest.raises(Unusable, match=reason):
        cleaned(content)


def test_decompression_bombs_are_refused_before_they_unpack(recwarn):
    with pytest.raises(Unusable, match="decompression bomb: 9000x9000"):
        cleaned(encoded(Image.new("1", (9000, 9000))))
    header = bytearray(encoded(Image.new("1", (9, 9)), "BMP"))
    header[18:26] = (60000).to_bytes(4, "little") * 2
    with pytest.raises(Unusable, match="decompression bomb"):
        cleaned(bytes(header), "a.bmp")


def test_centre_crop_antialiased_resize_and_grey():
    wide = Image.new("RGB", (96, 32), RED)
    wide.paste(WHITE, (32, 0, 64, 32))
    assert cleaned(encoded(wide)).image[:, 1:-1].min() > 240  # only the middle third is left
    board = Image.fromarray((np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8))
    grey = cleaned(encoded(board), channels=1).image
    assert grey.shape == (8, 8, 1)
    np.testing.assert_allclose(grey, 127.5, atol=8)  # without antialiasing it would be black or white


def test_denoise_removes_specks():
    specks = np.full((16, 16, 3), 255, np.uint8)
    specks[5, 5] = 0
    content = encoded(Image.fromarray(specks))
    assert cleaned(content).image.min() < 255 == cleaned(content, denoise=True).image.min()


def test_enlarging_is_noted():
    assert cleaned(encoded(picture(0, (6, 7)))).notes == ("enlarged from 6x7",)


def test_captions_are_collapsed_and_bad_ones_dropped():
    kept, notes = clean_captions(("  a\tred\n heart ", "", " \u3000", "caf\udce9", "a red heart", "红心\x00"))
    assert kept == ("a red heart", "红心")
    assert notes == ["caption dropped: empty"] * 2 + ["caption dropped: not UTF-8"]
    with pytest.raises(Unusable, match=r"no usable caption \(not UTF-8\)"):
        clean_captions(("caf\udce9",))
    with pytest.raises(Unusable, match="no usable caption"):
        clean_captions(())
