"""Fuzz the decoder of compressed images: whatever the bytes, a picture or a ValueError comes, in time.

python benchmarks/fuzz_images.py --count 1000000
"""

from __future__ import annotations

import argparse
import struct
import time
import zlib
from typing import NamedTuple

import cv2
import numpy as np

from pvm_perception.vision.compressed_image import CompressedSettings, unpack
from pvm_perception.vision.image_header import PNG_MAGIC

SIZE_AT = {"jpeg": (5, ">HH", 0xFFFF), "png": (16, ">II", 0x7FFFFFFF)}  # offset of (height, width)


class Outcome(NamedTuple):
    """What became of the pictures.

    Attributes
    ----------
    decoded, refused : how many
    slowest : seconds of processor time that the slowest took
    slow : the bytes of that one
    """

    decoded: int
    refused: int
    slowest: float
    slow: bytes


def pictures(rng: np.random.Generator) -> dict[str, bytes]:
    """Return whole pictures of every kind that a camera sends, and some that it does not."""
    rough = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    colour = cv2.resize(rough, (96, 72), interpolation=cv2.INTER_CUBIC)  # (72, 96, 3)
    alpha = cv2.cvtColor(colour, cv2.COLOR_BGR2BGRA)
    kinds = {
        "jpeg": (".jpg", colour, [cv2.IMWRITE_JPEG_QUALITY, 85]),
        "jpeg grey": (".jpg", colour[..., 0], [cv2.IMWRITE_JPEG_QUALITY, 60]),
        "jpeg 4:4:4": (".jpg", colour, [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111]),
        "jpeg progressive": (".jpg", colour, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
        "jpeg restarts": (".jpg", colour, [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]),
        "png": (".png", colour, []),
        "png grey": (".png", colour[..., 0], []),
        "png alpha": (".png", alpha, []),
        "png 16 bit": (".png", colour.astype(np.uint16) * 257, []),
        "png 1 bit": (".png", colour[..., 0], [cv2.IMWRITE_PNG_BILEVEL, 1]),
        "bmp": (".bmp", colour, []),
        "webp": (".webp", colour, []),
        "tiff": (".tiff", colour, []),
        "netpbm": (".ppm", colour, []),
    }
    found = {
        name: cv2.imencode(suffix, image, options)[1].tobytes()
        for name, (suffix, image, options) in kinds.items()
    }
    thumbnail = b"Exif\0\0" + found["jpeg grey"]
    found["jpeg thumbnail"] = (
        b"\xff\xd8\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + found["jpeg"][2:]
    )
    return found


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a PNG's chunk, with its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def mended(png: bytes) -> bytes:
    """Return a PNG with every checksum right, so that damage gets further than to the first of them."""
    parts, place = [PNG_MAGIC], len(PNG_MAGIC)
    while place + 12 <= len(png):
        length = int.from_bytes(png[place : place + 4], "big")
        kind, data = png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        parts.append(chunk(kind, data))
        place += 12 + length
    return b"".join(parts)


def mutant(rng: np.random.Generator, whole: dict[str, bytes]) -> bytes:
    """Return a damaged picture, now and then a whole one."""
    names = list(whole)
    name = names[int(rng.integers(len(names)))]
    data = bytearray(whole[name])
    for _ in range(int(rng.integers(0, 4))):
        _damage(rng, data, name, whole)
    return mended(bytes(data)) if name.startswith("png") and rng.random() < 0.7 else bytes(data)


def _damage(rng: np.random.Generator, data: bytearray, name: str, whole: dict[str, bytes]) -> None:
    """Change some bytes in place."""
    at, way = int(rng.integers(max(len(data), 1))), int(rng.integers(9))
    if way == 0:
        del data[at:]  # cut short
    elif way == 1:
        data += bytes(int(rng.integers(1, 3000)))  # padded
    elif way == 2:
        data[at:at] = rng.bytes(int(rng.integers(1, 40)))
    elif way == 3:
        other = list(whole.values())[int(rng.integers(len(whole)))]
        data[at:] = other[int(rng.integers(len(other))) :]  # two pictures in one
    elif way == 4:
        part = data[at : at + int(rng.integers(1, 400))]
        data[at:at] = part * int(rng.integers(1, 30))  # segments, scans and chunks that come again
    elif way == 5 and name.split(maxsplit=1)[0] in SIZE_AT:
        offset, form, most = SIZE_AT[name.split(maxsplit=1)[0]]
        start = data.find(b"\xff\xc0" if name != "jpeg progressive" else b"\xff\xc2")
        offset += max(start, 0) if name.startswith("jpeg") else 0
        if offset + struct.calcsize(form) <= len(data):
            struct.pack_into(form, data, offset, *(int(most ** rng.random()) for _ in "hw"))
    elif len(data):
        for _ in range(int(rng.integers(1, 8))):  # flipped bits
            data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))


def fuzz(count: int, seed: int = 0, settings: CompressedSettings | None = None) -> Outcome:
    """Decode damaged pictures; anything but a picture or a ValueError in one line is raised.

    Parameters
    ----------
    count
        How many.
    seed
        Fixes every byte.
    settings
        Which pictures are taken; None takes the node's usual ones.
    """
    rng = np.random.default_rng(seed)
    whole, settings = pictures(rng), settings or CompressedSettings()
    decoded = refused = 0
    slowest, slow = 0.0, b""
    for _ in range(count):
        data = mutant(rng, whole)
        begun = time.process_time()
        try:
            image = unpack(np.frombuffer(data, np.uint8), settings)
        except ValueError as error:
            refused += 1
            if "\n" in str(error):
                raise AssertionError(f"more than a line: {error}") from error
        else:
            decoded += 1
            if (
                image.dtype != np.uint8
                or image.ndim != 3
                or image.shape[2] != 3
                or image.shape[0] * image.shape[1] > settings.max_pixels
            ):
                raise AssertionError(f"no picture: {image.dtype} {image.shape}")
        taken = time.process_time() - begun
        if taken > slowest:
            slowest, slow = taken, data
    return Outcome(decoded, refused, slowest, slow)


def main() -> None:
    """Fuzz and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--count", type=int, default=1_000_000, help="number of pictures (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="number that fixes every byte (default: %(default)s)"
    )
    args = parser.parse_args()
    outcome = fuzz(args.count, args.seed)
    print(f"{outcome.decoded} decoded, {outcome.refused} refused, slowest {outcome.slowest:.3f} s")


if __name__ == "__main__":
    main()
