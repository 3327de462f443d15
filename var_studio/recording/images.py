"""Images as a recording keeps them: the bytes that came in, and how they become RGB pixels."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from var_studio.errors import VarStudioError

if TYPE_CHECKING:
    from PIL import Image

ImageSource: TypeAlias = (
    "str | os.PathLike[str] | bytes | BinaryIO | Image.Image | npt.NDArray[Any]"
)

T = TypeVar("T")

MAX_PIXELS: Final = 178_956_970
"""About 13,400 x 13,400: what Pillow takes for a decompression bomb, too."""
MAX_BYTES: Final = 1 << 30
_SMALL_PIXELS: Final = 1 << 24
_PIXELS_PER_BYTE: Final = 10_000
"""A white page of one bit a pixel has 8,256 as PNG, and that is the most that PNG can say."""
_FORMATS: Final = (
    *("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "DIB", "PPM"),
    *("JPEG2000", "AVIF", "QOI", "ICO", "TGA"),
)
"""What is decoded, as Pillow names it. Of its other formats one runs a program: PostScript."""
_ADDRESS: Final = re.compile(r"[a-z][a-z0-9+.-]+://|data:", re.IGNORECASE)


class ImageError(VarStudioError):
    """An image is missing, damaged, empty or too large."""


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An encoded image, exactly as it was given (or as PNG where pixels were given).

    `name` is what to call it; `note` what a user should know, e.g. that one frame of many is used.
    """

    bytes: bytes = field(repr=False)
    media_type: str
    sha256: str
    name: str
    note: str = ""


def load_image(source: ImageSource, name: str = "") -> StoredImage:
    """Take an image from a path, encoded bytes, a file, a PIL image or pixels; check it decodes.

    An open file is read from its start. Pixels are (rows, cols), or (rows, cols, 1, 3 or 4):
    uint8, uint16, bool, or float in 0..1.
    Raises ImageError for what is no image, empty, truncated, or larger than MAX_PIXELS.
    """
    from PIL import Image

    if isinstance(source, Image.Image):
        _check_size(source, name or "The image")
        return _as_png(_guarded(lambda: _to_rgb(source), name or "The image"), name or "image.png")
    if isinstance(source, np.ndarray):
        return _as_png(_from_pixels(source), name or "image.png")
    if isinstance(source, bytes | bytearray | memoryview):
        return _from_bytes(bytes(source), name or "image")
    if hasattr(source, "read"):
        encoded = _read_open(source)
        return _from_bytes(encoded, name or Path(str(getattr(source, "name", "image"))).name)
    if not isinstance(source, str | os.PathLike):
        raise _not_understood(source)
    if isinstance(source, str) and _ADDRESS.match(source):
        raise ImageError(
            f"{source[:60]} is a web address, not a file.",
            "Download the picture, and give the path of the file.",
        )
    path = Path(os.path.expanduser(source))
    return _from_bytes(_read(path), name or path.name, str(path))


def open_encoded(encoded: bytes) -> Image.Image:
    """Have Pillow read the header of an image in one of the formats that are plain data.

    Raises whatever Pillow raises.
    """
    from PIL import Image

    Image.init()
    formats: list[str] = [name for name in _FORMATS if name in Image.OPEN]
    return Image.open(io.BytesIO(encoded), formats=formats)


def decode(image: StoredImage) -> Image.Image:
    """Decode to RGB: EXIF rotation applied, alpha over white, 16 bits scaled. Raises ImageError."""
    return _decoded(image.bytes, image.name)[0]


def _not_understood(source: object) -> ImageError:
    kind = type(source).__name__
    advice = "Pass a path, encoded bytes, a PIL image, or a NumPy array (rows, columns, 3)"
    if hasattr(source, "numpy"):
        advice += "; of a tensor (3, rows, columns), tensor.permute(1, 2, 0).cpu().numpy()"
    return ImageError(f"An image of type {kind} is not understood.", f"{advice}.")


def _read_open(file: Any) -> bytes:
    try:
        # A buffer that a picture was just saved to stands at its end.
        if file.seekable():
            file.seek(0)
        encoded = file.read()
    except (OSError, ValueError, AttributeError) as error:
        raise ImageError(
            f"The open file cannot be read: {error}.", "Open it again, or give its path."
        ) from error
    if not isinstance(encoded, bytes):
        raise ImageError("The file is open as text.", 'Open it with "rb", or give its path.')
    return encoded


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ImageError(f"{path} is larger than 1 GB.", "Scale the picture down first.")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ImageError(
            f"There is no file {path}.", "Check the name, or choose another image."
        ) from error
    except IsADirectoryError as error:
        raise ImageError(f"{path} is a folder.", "Choose an image in it.") from error
    except (OSError, ValueError) as error:
        raise ImageError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.",
            "Check that you may read it, or choose another image.",
        ) from error


def _from_bytes(encoded: bytes, name: str, called: str = "") -> StoredImage:
    called = called or name
    if not encoded:
        raise ImageError(f"{called} is empty.", "Choose another image.")
    _, media_type, frames = _decoded(encoded, called)
    # A camera's MPO holds the same picture again, for its preview.
    several = frames > 1 and media_type != "image/mpo"
    note = f"Only the first of its {frames} frames is used." if several else ""
    return StoredImage(encoded, media_type, hashlib.sha256(encoded).hexdigest(), name, note)


def _decoded(encoded: bytes, called: str) -> tuple[Image.Image, str, int]:
    from PIL import Image

    def decode_all() -> tuple[Image.Image, str, int]:
        with open_encoded(encoded) as opened:
            _check_size(opened, called)
            _check_packed(opened, len(encoded), called)
            media_type = Image.MIME.get(opened.format or "", "application/octet-stream")
            frames = int(getattr(opened, "n_frames", 1))
            if frames > 1:
                opened.seek(0)
            return _to_rgb(opened), media_type, frames

    return _guarded(decode_all, called)


def _guarded(decode_it: Callable[[], T], called: str) -> T:
    """Run a decoder; whatever it raises on a damaged file becomes an ImageError."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # Broken metadata does not matter, and what is too large we refuse in our own words.
            warnings.simplefilter("ignore")
            return decode_it()
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{called} is not an image that can be read.", "Choose a PNG, JPEG, WebP or TIFF file."
        ) from error
    except (Image.DecompressionBombError, MemoryError) as error:
        raise _too_large(called) from error
    # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, IndexError, ...
    except Exception as error:
        raise ImageError(
            f"{called} is damaged or cut short.", "Open another copy of it, or choose another."
        ) from error


def _check_size(image: Image.Image, called: str) -> None:
    if image.width < 1 or image.height < 1:
        raise ImageError(f"{called} has no pixels.", "Choose another image.")
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(called, f" ({image.width} × {image.height} pixels)")


def _check_packed(image: Image.Image, size: int, called: str) -> None:
    """Refuse a picture that says it is huge in a file far too small for it: a bomb."""
    pixels = image.width * image.height
    if pixels > _SMALL_PIXELS and pixels > _PIXELS_PER_BYTE * size:
        raise ImageError(
            f"{called} says that it has {image.width} × {image.height} pixels, in {size} bytes.",
            "Open another copy of it, or choose another.",
        )


def _too_large(called: str, size: str = "") -> ImageError:
    return ImageError(
        f"{called} is too large{size}.",
        f"Scale it down to at most {MAX_PIXELS // 1_000_000} megapixels.",
    )


def _to_rgb(image: Image.Image) -> Image.Image:
    """RGB pixels in a new image that carries no EXIF, so that nothing is rotated twice."""
    from PIL import Image, ImageOps

    image.load()
    # Broken EXIF in a sound picture: shown as it lies in the file.
    with contextlib.suppress(Exception):
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        image = _from_pixels(np.asarray(image).astype(np.uint16))
    elif image.mode in ("I", "F"):
        image = _from_numbers(np.asarray(image, dtype=np.float64))
    elif image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, rgba)
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    plain = Image.new("RGB", rgb.size)
    plain.paste(rgb)
    return plain


def _from_numbers(values: npt.NDArray[np.float64]) -> Image.Image:
    """Grey levels of modes I and F: scaled by the smallest usual range that holds them."""
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if low < 0:
        values, high = values - low, high - low
    top = next((top for top in (1.0, 255.0, 65535.0) if high <= top), high)
    return _from_pixels((values / top).astype(np.float32))


def _from_pixels(pixels: npt.NDArray[Any]) -> Image.Image:
    from PIL import Image

    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise ImageError(
            f"An array of shape {pixels.shape} is no image.",
            "Pass (rows, columns) or (rows, columns, 3).",
        )
    if pixels.size == 0:
        raise ImageError("The image has no pixels.", "Choose another image.")
    if pixels.shape[0] * pixels.shape[1] > MAX_PIXELS:
        raise _too_large("The image", f" ({pixels.shape[1]} × {pixels.shape[0]} pixels)")
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    elif pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    elif pixels.dtype.kind == "f":
        if not (np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1):
            raise ImageError(
                "Pixels given as floats go from 0 to 1.", "Scale them, or pass uint8 values."
            )
        pixels = np.rint(pixels * 255).astype(np.uint8)
    elif pixels.dtype != np.uint8:
        raise ImageError(
            f"Pixels of type {pixels.dtype} are not understood.",
            "Pass uint8 values, or floats from 0 to 1.",
        )
    return _to_rgb(Image.fromarray(np.ascontiguousarray(pixels)))


def _as_png(image: Image.Image, name: str) -> StoredImage:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    encoded = buffer.getvalue()
    return StoredImage(encoded, "image/png", hashlib.sha256(encoded).hexdigest(), name)
