"""Compressed pictures to BGR arrays, within bounds of time and memory whatever the bytes claim.

Size and cost are read from the header (image_header.py) before OpenCV sees the data. What is refused
or cannot be decoded raises ValueError with one line that says why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from pvm_perception.core.settings import check, setting
from pvm_perception.errors import PvmError, writing
from pvm_perception.vision import image_header as header
from pvm_perception.vision.image_header import Header


class Format(NamedTuple):
    """A format of compressed pictures.

    Attributes
    ----------
    starts : whether a file with these first 12 bytes is one
    read : its header
    longest : bytes of a file, per pixel that is allowed, beyond which (and SPARE) nothing is looked at
    """

    starts: Callable[[bytes], bool]
    read: Callable[[np.ndarray], Header]
    longest: int


# a new format is an entry here
FORMATS: dict[str, Format] = {
    "jpeg": Format(lambda head: head[:3] == b"\xff\xd8\xff", header.read_jpeg, 1),
    "png": Format(lambda head: head[:8] == header.PNG_MAGIC, header.read_png, 1),
    "bmp": Format(lambda head: head[:2] == b"BM", header.read_bmp, 4),
    "webp": Format(lambda head: head[:4] == b"RIFF" and head[8:] == b"WEBP", header.read_webp, 1),
    "tiff": Format(lambda head: head[:4] in (b"II*\0", b"MM\0*"), header.read_tiff, 4),
    "netpbm": Format(lambda head: head[:1] == b"P" and head[1:2] in b"2356", header.read_netpbm, 4),
}
HEAD = 12  # bytes that tell the format
SPARE = 1 << 20  # bytes for what is in a file beside its pixels: Exif, thumbnail, colour profile
MAX_SIDE = 16384  # px; a larger claim is a broken picture, not a camera's
# what decoding may take per allowed pixel; benchmarks/fuzz_images.py measures what that costs
ROWS = 2  # bytes of a PNG's rows
PASSES = 4  # pixels of all passes over a JPEG that comes in several
PASSED = 1 / 4  # bytes of its scans


@dataclass(frozen=True)
class CompressedSettings:
    """Which compressed pictures are taken."""

    image_formats: list[str] = setting(
        ["jpeg", "png"],
        "formats of compressed images that are decoded, known by their first bytes; images of others are "
        "left out",
        choices=tuple(FORMATS),
    )
    max_pixels: int = setting(
        25_000_000,
        "largest compressed image, in pixels, that is decoded; one that claims more, or would take more "
        "time or memory than one of so many pixels should, is left out",
        low=10_000,
        high=MAX_SIDE * MAX_SIDE,
    )

    def __post_init__(self) -> None:
        check(self)


USUAL = CompressedSettings()
FILES = CompressedSettings(list(FORMATS))  # what a person has on disk


def unpack(data: np.ndarray, settings: CompressedSettings = USUAL) -> np.ndarray:
    """Return the BGR picture in the bytes of a file or message.

    Parameters
    ----------
    data
        (N,) uint8. Bytes behind the picture's own end do not matter.
    settings
        Which pictures are taken.

    Returns
    -------
    (height, width, 3) uint8

    Raises
    ------
    ValueError
        In one line: a format that is not taken, more pixels than allowed, data that are damaged or
        end early.
    """
    name = _format_of(data[:HEAD].tobytes(), settings)
    found = FORMATS[name].read(data[: _longest(name, settings)])
    _check_cost(found, settings.max_pixels)
    image = _decode(found.data, name)
    if image.shape not in ((found.height, found.width, 3), (found.width, found.height, 3)):  # Exif turns
        raise ValueError(
            f"a {name} that claims {found.width}x{found.height} pixels and holds "
            f"{image.shape[1]}x{image.shape[0]}"
        )
    return image


def _format_of(head: bytes, settings: CompressedSettings) -> str:
    """Return the name of the format that a picture's first bytes are of."""
    name = next((n for n, form in FORMATS.items() if form.starts(head)), None)
    if name is None or name not in settings.image_formats:
        raise ValueError(
            f"a picture of {name or 'unknown'} format; taken are {', '.join(settings.image_formats)}"
        )
    return name


def _longest(name: str, settings: CompressedSettings) -> int:
    """Return how many bytes of a file or message are looked at."""
    return FORMATS[name].longest * settings.max_pixels + SPARE


def _check_cost(found: Header, most: int) -> None:
    """Raise ValueError unless a picture can be decoded for what `most` pixels may cost."""
    pixels, size = found.width * found.height, f"{found.width}x{found.height}"
    if not (0 < found.width <= MAX_SIDE and 0 < found.height <= MAX_SIDE):
        raise ValueError(f"an image of {size} pixels")
    if pixels > most:
        raise ValueError(f"{size} pixels, more than `max_pixels` = {most}")
    if found.scans > 1 and (found.scans * pixels > PASSES * most or found.packed > PASSED * most):
        raise ValueError(
            f"{size} pixels in {found.scans} passes and {found.packed} bytes, too many for "
            f"`max_pixels` = {most}"
        )
    if found.scans == 1 and found.unpacked > ROWS * most:
        raise ValueError(f"{size} pixels in {found.unpacked} bytes, too many for `max_pixels` = {most}")


def _decode(data: np.ndarray, name: str) -> np.ndarray:
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except (cv2.error, MemoryError) as error:
        raise ValueError(f"a {name} that cannot be decoded: {' '.join(str(error).split())}") from None
    if image is None:
        raise ValueError(f"a {name} of {len(data)} bytes that cannot be decoded")
    return image


def read_image(path: str | Path, settings: CompressedSettings = FILES) -> np.ndarray:
    """Return the BGR picture in a file, as `unpack`; PvmError, naming the file, where there is none.

    Parameters
    ----------
    path
        A file of any kind that `unpack` knows.
    settings
        How large a picture may be.
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(HEAD)
            rest = file.read(_longest(_format_of(head, settings), settings))
            return unpack(np.frombuffer(head + rest, np.uint8), settings)
    except OSError as error:
        raise PvmError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise PvmError(f"{path} cannot be read: {error}") from None


def write_image(path: str | Path, image: np.ndarray, quality: int = 95) -> None:
    """Write a BGR picture, (height, width, 3) uint8, in the suffix's format; PvmError where that fails.

    Parameters
    ----------
    path
        Where to; the suffix says which format.
    image
        (H, W, 3) uint8, BGR.
    quality
        0 to 100, of JPEG; other formats do not read it.
    """
    data = cv2.imencode(Path(path).suffix, image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    with writing(path):
        Path(path).write_bytes(data.data)
