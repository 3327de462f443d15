import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.fuzzing.mutations import png
from var_studio.errors import VarStudioError
from var_studio.recording import images
from var_studio.recording.images import ImageError, StoredImage, decode, load_image


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def quarters(mode="RGB"):
    """Red, green, blue and white quarters, 40 x 20: no two orientations look alike."""
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:10, :20, 0] = pixels[:10, 20:, 1] = pixels[10:, :20, 2] = 255
    pixels[10:, 20:] = 255
    return Image.fromarray(pixels).convert(mode)


def corners(image):
    w, h = image.size
    return [image.getpixel(at) for at in ((1, 1), (w - 2, 1), (1, h - 2), (w - 2, h - 2))]


RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def test_a_file_is_kept_byte_for_byte(tmp_path):
    content = encoded(quarters())
    (tmp_path / "scene.png").write_bytes(content)
    image = load_image(tmp_path / "scene.png")
    assert image.bytes == content and image.name == "scene.png" and image.note == ""
    assert image.media_type == "image/png" and len(image.sha256) == 64
    assert load_image(str(tmp_path / "scene.png")) == image
    assert load_image(content).sha256 == image.sha256
    assert corners(decode(image)) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_usual_formats(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    image = load_image(encoded(quarters(), kind, **options))
    assert image.media_type == Image.MIME[kind]
    found = np.array(corners(decode(image)), int)
    assert np.abs(found - [RED, GREEN, BLUE, WHITE]).max() < 12


def test_pil_images_and_pixels_become_png():
    pixels = np.asarray(quarters())
    for source in (quarters(), pixels, pixels / np.float32(255)):
        image = load_image(source)
        assert image.media_type == "image/png"
        assert np.array_equal(np.asarray(decode(image)), pixels)
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for source in (grey, grey[..., None], Image.fromarray(grey)):
        assert np.array_equal(np.asarray(decode(load_image(source)))[..., 1], grey)


# As a viewer shows the quarters when told that the file lies so (EXIF 2.3, table of values).
ROTATIONS = {
    1: [RED, GREEN, BLUE, WHITE],
    2: [GREEN, RED, WHITE, BLUE],
    3: [WHITE, BLUE, GREEN, RED],
    4: [BLUE, WHITE, RED, GREEN],
    5: [RED, BLUE, GREEN, WHITE],
    6: [BLUE, RED, WHITE, GREEN],
    7: [WHITE, GREEN, BLUE, RED],
    8: [GREEN, WHITE, RED, BLUE],
}


@pytest.mark.parametrize("orientation", ROTATIONS)
def test_exif_rotation_is_applied_once(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(quarters(), exif=exif)
    shown = decode(load_image(content))
    assert corners(shown) == ROTATIONS[orientation]
    assert shown.size == ((40, 20) if orientation < 5 else (20, 40))
    # Handing on what was decoded, or what Pillow opened, does not turn it again.
    assert corners(decode(load_image(shown))) == ROTATIONS[orientation]
    assert corners(decode(load_image(Image.open(io.BytesIO(content))))) == ROTATIONS[orientation]


def test_transparent_pixels_are_white():
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[..., 0] = 255
    pixels[0, 0, 3], pixels[1, 1, 3], pixels[2, 2, 3] = 0, 255, 128
    for source in (pixels, Image.fromarray(pixels), encoded(Image.fromarray(pixels))):
        found = np.asarray(decode(load_image(source))).astype(int)
        assert found[0, 0].tolist() == [255, 255, 255]
        assert found[1, 1].tolist() == [255, 0, 0]
        assert np.abs(found[2, 2] - [255, 127, 127]).max() <= 1


def test_odd_modes():
    grey = Image.fromarray(np.arange(0, 256, 16, dtype=np.uint8).reshape(4, 4))
    expected = np.asarray(grey.convert("RGB"))
    alpha = Image.new("L", (4, 4), 255)
    with_alpha = Image.merge("LA", (grey, alpha))
    assert np.array_equal(np.asarray(decode(load_image(encoded(with_alpha)))), expected)
    palette = grey.convert("P")
    assert np.array_equal(np.asarray(decode(load_image(encoded(palette)))), expected)
    see_through = encoded(palette, transparency=0)
    assert decode(load_image(see_through)).getpixel((0, 0)) == WHITE
    assert decode(load_image(see_through)).getpixel((3, 3)) == (240, 240, 240)
    bits = decode(load_image(encoded(grey.point(lambda v: v > 100).convert("1"))))
    assert bits.getpixel((0, 0)) == (0, 0, 0) and bits.mode == "RGB"
    cmyk = decode(load_image(encoded(quarters("CMYK"), "TIFF")))
    assert corners(cmyk) == corners(quarters("CMYK").convert("RGB"))
    assert np.abs(np.array(corners(cmyk)[0], int) - RED).max() < 10


def test_sixteen_bits_are_scaled():
    values = np.array([[0, 256, 32768, 65535]], np.uint16)
    expected = [0, 1, 128, 255]
    for source in (
        values,
        encoded(Image.fromarray(values)),
        encoded(Image.fromarray(values), "TIFF"),
    ):
        assert np.asarray(decode(load_image(source)))[0, :, 0].tolist() == expected
    ints = Image.fromarray(values.astype(np.int32))
    assert np.asarray(decode(load_image(encoded(ints, "TIFF"))))[0, :, 0].tolist() == expected
    floats = Image.fromarray(np.array([[0.0, 0.5, 1.0, np.nan]], np.float32))
    found = np.asarray(decode(load_image(encoded(floats, "TIFF"))))[0, :, 0]
    assert found.tolist() == [0, 128, 255, 0]


def test_the_first_frame_of_an_animation():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    image = load_image(content)
    assert decode(image).getpixel((3, 3)) == RED
    assert "3 frames" in image.note


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"just some text, no picture", "not an image"),
        (b"\x89PNG\r\n\x1a\n", "not an image|damaged"),
        (encoded(quarters())[:-60], "damaged|cut short"),
        (encoded(quarters(), "JPEG")[:-300], "damaged|cut short"),
        (encoded(quarters(), "TIFF")[:90], "not an image|damaged"),
    ],
    ids=["empty", "text", "signature", "png", "jpeg", "tiff"],
)
def test_what_is_no_image(tmp_path, content, message):
    with pytest.raises(ImageError, match=message):
        load_image(content)
    path = tmp_path / "scene.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=message) as caught:
        load_image(path)
    assert str(path) in str(caught.value) and isinstance(caught.value, VarStudioError)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(ImageError, match="no file"):
        load_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="folder"):
        load_image(tmp_path)
    with pytest.raises(ImageError):
        load_image("a\0b.png")


def test_open_files_and_buffers_are_read(tmp_path):
    buffer = io.BytesIO()
    quarters().save(buffer, "PNG")  # leaves it at its end, as a reader of this test would
    assert load_image(buffer).bytes == buffer.getvalue()
    path = tmp_path / "scene.png"
    path.write_bytes(buffer.getvalue())
    with open(path, "rb") as file:
        stored = load_image(file)
    assert stored.bytes == buffer.getvalue() and stored.name == "scene.png"
    with open(path, encoding="latin-1") as text, pytest.raises(ImageError, match="as text"):
        load_image(text)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (5, "type int"),
        (2.5, "type float"),
        ({"path": "a.png"}, "type dict"),
        (object(), "type object.*Pass a path"),
        ("https://example.org/a.png", "web address.*Download"),
        ("HTTP://example.org/a.png", "web address.*Download"),
        ("data:image/png;base64,AAAA", "web address.*Download"),
        ("~nobody-of-this-name/a.png", "no file"),
    ],
)
def test_sources_that_are_not_understood(source, message):
    with pytest.raises(ImageError, match=message):
        load_image(source)


def test_a_tensor_is_told_what_to_be(monkeypatch):
    class Tensor:
        def numpy(self): ...

    with pytest.raises(ImageError, match=r"type Tensor.*permute\(1, 2, 0\)"):
        load_image(Tensor())


def png_of_size(width, height):
    """A PNG of a few bytes that declares any size."""

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    ends = chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + ends


@pytest.mark.parametrize("size", [(20_000, 10_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
def test_huge_pictures_are_refused_before_decoding(size, recwarn):
    with pytest.raises(ImageError, match=r"too large.*Scale it down|damaged"):
        load_image(png_of_size(*size))
    assert not recwarn.list


def test_the_limit_itself(monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 800)
    assert decode(load_image(quarters())).size == (40, 20)
    monkeypatch.setattr(images, "MAX_PIXELS", 799)
    for source in (quarters(), encoded(quarters()), np.asarray(quarters())):
        with pytest.raises(ImageError, match="too large"):
            load_image(source)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((5,), np.uint8),
        np.zeros((5, 5, 2), np.uint8),
        np.zeros((2, 5, 5, 3), np.uint8),
        np.full((5, 5, 3), 2.0),
        np.full((5, 5, 3), np.nan),
        np.zeros((5, 5, 3), np.complex64),
    ],
)
def test_arrays_that_are_no_image(pixels):
    with pytest.raises(ImageError):
        load_image(pixels)


def test_flipped_bytes_never_crash():
    rng = np.random.default_rng(0)
    refused = 0
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"):
        content = encoded(quarters(), kind)
        for _ in range(60):
            damaged = bytearray(content)
            for at in rng.integers(0, len(content), 3):
                damaged[at] = int(rng.integers(0, 256))
            try:
                assert decode(load_image(bytes(damaged))).mode == "RGB"
            except ImageError:
                refused += 1
    assert refused > 50


def test_postscript_is_not_run(monkeypatch):
    """Pillow hands EPS to Ghostscript, a program that runs what the file says."""
    import subprocess

    def refuse(*arguments, **options):
        raise AssertionError(f"started {arguments}")

    for name in ("Popen", "check_call", "run"):
        monkeypatch.setattr(subprocess, name, refuse)
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) print\n"
    with pytest.raises(ImageError, match="not an image that can be read"):
        load_image(eps)
    with pytest.raises(ImageError, match="not an image that can be read"):
        decode(StoredImage(eps, "image/png", "0" * 64, "x.png"))


def test_a_bomb_is_not_decoded():
    """A hundred bytes that ask for more than a gigabyte."""
    bomb = png(13_000, 13_000, rows=1)
    assert len(bomb) < 200
    with pytest.raises(ImageError, match=r"13000 × 13000 pixels, in \d+ bytes"):
        load_image(bomb)
    # The emptiest large picture that is one: a white page of one bit a pixel.
    page = io.BytesIO()
    Image.new("1", (5000, 5000), 1).save(page, "PNG")
    assert decode(load_image(page.getvalue())).size == (5000, 5000)
