"""What a compressed picture claims to be, read from its bytes before any decoder sees them.

JPEG: ISO/IEC 10918-1 annex B. PNG: W3C PNG 3rd edition. BMP, WebP, TIFF 6.0 and Netpbm: their own
specifications. Whatever contradicts itself raises ValueError with one line that says how.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import Any, NamedTuple

import numpy as np

SEGMENTS = 1024  # of a JPEG; a colour profile takes up to 255, a progressive picture some dozen more
SEARCHED = 1 << 16  # bytes of a JPEG's scan that are looked through at a time
CHUNKS = 1 << 16  # of a PNG; libpng writes one for each 8 KiB
EXIF = 1 << 16  # bytes of a PNG's Exif data that are looked at; only the orientation counts
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
PNG_NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND")  # what a picture is made of
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
DEFLATE_RATIO = 1032  # at best, zlib unpacks a byte to so many
# of a JPEG's FF xx: 00 is data, 01 and D0 to D7 stand alone within it, FF fills
_MARKS = np.array([not (code in (0, 1, 0xFF) or 0xD0 <= code <= 0xD7) for code in range(256)])


class Header(NamedTuple):
    """A picture's size, and what it costs to unpack.

    Attributes
    ----------
    width, height : pixels
    data : (N,) uint8, what the decoder has to see: the picture without what lies behind it
    packed : bytes of its pixels as they lie in the file
    unpacked : bytes that the decoder holds to get at the pixels
    scans : how often it goes over the picture
    """

    width: int
    height: int
    data: np.ndarray
    packed: int
    unpacked: int
    scans: int = 1


def read_jpeg(data: np.ndarray) -> Header:
    """Walk a JPEG's markers to its end, (N,) uint8; whatever lies behind it is left out."""
    raw = data.data
    place, size, scans, packed, multiple = 2, None, 0, 0, False
    for _ in range(SEGMENTS):
        at = _next_marker(data, place)
        if at < 0 or (raw[at] != 0xD9 and at + 3 > len(raw)):
            raise ValueError(f"a JPEG that is cut short: no end in {len(raw)} bytes")
        code = raw[at]
        if code == 0xD9:
            if size is None or not scans:
                raise ValueError("a JPEG without a picture in it")
            width, height, components = size
            blocks = -(-width // 8) * -(-height // 8)
            if packed * (8 if multiple else 4) < blocks:  # a bit or two is the least that a block takes
                raise ValueError(f"a JPEG that claims {width}x{height} pixels in {packed} bytes")
            kept = 2 * width * height * components if multiple else 0  # all coefficients
            return Header(width, height, data[: at + 1], packed, kept, scans)
        length = int.from_bytes(raw[at + 1 : at + 3], "big")
        place = at + 1 + length
        if length < 2 or place > len(raw):
            raise ValueError(f"a JPEG that is cut short: no end in {len(raw)} bytes")
        segment = raw[at + 3 : place]
        if code in (0xC0, 0xC1, 0xC2):
            if size is not None:
                raise ValueError("a JPEG that states its size twice")
            size, multiple = _jpeg_size(segment), code == 0xC2
        elif code == 0xDA:
            if size is None:
                raise ValueError("a JPEG whose pixels come before its size")
            scans += 1
            multiple |= bool(segment) and segment[0] != size[2]
            end = _next_marker(data, place)
            packed += (end if end > 0 else len(raw)) - place
        elif not (code in (0xC4, 0xDB, 0xDD, 0xFE) or 0xE0 <= code <= 0xEF):
            raise ValueError(f"a JPEG with a marker {code:02X} that no camera writes, or damaged")
    raise ValueError(f"a JPEG of more than {SEGMENTS} segments")


def _next_marker(data: np.ndarray, start: int) -> int:
    """Return the index of the next marker's code, -1 where there is none."""
    for low in range(start, len(data), SEARCHED):
        part = data[low : low + SEARCHED + 1]  # (n,) uint8; one more, for an FF at the end
        at = np.flatnonzero(part[:-1] == 0xFF)
        hits = np.flatnonzero(_MARKS[part[at + 1]])
        if hits.size:
            return low + int(at[hits[0]]) + 1
    return -1


def _jpeg_size(segment: memoryview) -> tuple[int, int, int]:
    """Return width, height and number of components."""
    if len(segment) < 6:
        raise ValueError("a JPEG that is damaged where it states its size")
    _, height, width, components = struct.unpack_from(">BHHB", segment)
    if components not in (1, 3, 4) or len(segment) != 6 + 3 * components:
        raise ValueError(f"a JPEG of {components} colours, or damaged")
    return width, height, components


def read_png(data: np.ndarray) -> Header:
    """Walk a PNG's chunks, (N,) uint8; those that no picture needs are left out."""
    raw, place, packed = data.data, len(PNG_MAGIC), 0
    kept: list[tuple[int, int]] = []  # where the pieces begin and end that are kept
    size = None
    for _ in range(CHUNKS):
        if place + 12 > len(raw):
            raise ValueError(f"a PNG that is cut short: no end in {len(raw)} bytes")
        length, kind = int.from_bytes(raw[place : place + 4], "big"), bytes(raw[place + 4 : place + 8])
        end = place + 12 + length
        if end > len(raw):
            raise ValueError(f"a PNG that is cut short: no end in {len(raw)} bytes")
        if kind in PNG_NEEDED and not (kind == b"eXIf" and length > EXIF):
            if zlib.crc32(raw[place + 4 : end - 4]) != int.from_bytes(raw[end - 4 : end], "big"):
                raise ValueError("a PNG that is damaged: a checksum is wrong")
            if (kind == b"IHDR") != (size is None):
                raise ValueError("a PNG that does not state its size once, first of all")
            if size is None:
                size = _png_size(raw[place + 8 : end - 4])
            packed += length * (kind == b"IDAT")
            # pieces that lie side by side are one: a PNG that holds no more than it needs is not copied
            if kept and kept[-1][1] == place:
                kept[-1] = (kept[-1][0], end)
            else:
                kept.append((place, end))
        place = end
        if kind == b"IEND":
            break
    else:
        raise ValueError(f"a PNG of more than {CHUNKS} chunks")
    if size is None:
        raise ValueError("a PNG that does not state its size")
    width, height, unpacked = size
    if packed * DEFLATE_RATIO + DEFLATE_RATIO < unpacked:
        raise ValueError(f"a PNG that claims {width}x{height} pixels in {packed} bytes")
    picture = (
        data[: kept[0][1]]
        if len(kept) == 1
        else np.concatenate([data[: len(PNG_MAGIC)], *(data[a:b] for a, b in kept)])
    )
    return Header(width, height, picture, packed, unpacked)


def _png_size(segment: memoryview) -> tuple[int, int, int]:
    """Return width, height and the bytes of all rows."""
    if len(segment) != 13:
        raise ValueError("a PNG that is damaged where it states its size")
    width, height, depth, colour = struct.unpack_from(">IIBB", segment)
    if colour not in PNG_CHANNELS or depth not in (1, 2, 4, 8, 16):
        raise ValueError(f"a PNG of colour type {colour} with {depth} bits, or damaged")
    return width, height, height * (1 + -(-width * PNG_CHANNELS[colour] * depth // 8))


def read_bmp(data: np.ndarray) -> Header:
    """Read a BMP's size."""
    small = _unpack("<I", data, 14)[0] == 12  # OS/2's header
    width, height = _unpack("<HH" if small else "<ii", data, 18)
    return _plain(data, abs(width), abs(height))


def read_webp(data: np.ndarray) -> Header:
    """Read a WebP's size; one that moves is none."""
    kind = data[12:16].tobytes()
    if kind == b"VP8X":
        flags, a, b, c, d, e, f = _unpack("<B3x6B", data, 20)
        if flags & 2:
            raise ValueError("a WebP that is a film")
        return _plain(data, 1 + a + (b << 8) + (c << 16), 1 + d + (e << 8) + (f << 16))
    if kind == b"VP8L":
        bits = _unpack("<I", data, 21)[0]
        return _plain(data, 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    width, height = _unpack("<HH", data, 26)
    return _plain(data, width & 0x3FFF, height & 0x3FFF)


def read_tiff(data: np.ndarray) -> Header:
    """Read the size of a TIFF's first picture."""
    order = "<" if data[0] == ord("I") else ">"
    start = _unpack(order + "I", data, 4)[0]
    size = {}
    for k in range(_unpack(order + "H", data, start)[0]):
        tag, kind = _unpack(order + "HH", data, start + 2 + 12 * k)
        if tag in (256, 257):
            size[tag] = _unpack(order + ("H" if kind == 3 else "I"), data, start + 10 + 12 * k)[0]
    if len(size) != 2:
        raise ValueError("a TIFF without a size")
    return _plain(data, size[256], size[257])


def read_netpbm(data: np.ndarray) -> Header:
    """Read a PGM's or PPM's size."""
    found = re.match(rb"P[2356]((?:\s|#[^\n]*\n)+\d{1,9}){2}\s", data[:4096].tobytes())
    if not found:
        raise ValueError("a Netpbm picture without a size")
    words = re.sub(rb"#[^\n]*\n", b" ", found[0][2:]).split()
    return _plain(data, int(words[0]), int(words[1]))


def _plain(data: np.ndarray, width: int, height: int) -> Header:
    return Header(width, height, data, len(data), 0)


def _unpack(form: str, data: np.ndarray, place: int) -> tuple[Any, ...]:
    try:
        return struct.unpack_from(form, data.data, place)
    except struct.error:
        raise ValueError(f"a picture that is cut short: {len(data)} bytes") from None
