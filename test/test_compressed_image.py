"""Compressed pictures: whole ones are taken, half ones and bombs are not, whatever the bytes."""

import importlib.util
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvm_perception.errors import PvmError
from pvm_perception.vision import compressed_image
from pvm_perception.vision.compressed_image import FILES, CompressedSettings, read_image, unpack
from pvm_perception.vision.image_codec import decode_compressed

ROOT = Path(__file__).parent.parent
spec = importlib.util.spec_from_file_location("fuzz_images", ROOT / "benchmarks" / "fuzz_images.py")
fuzz_images = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fuzz_images)
chunk, PNG_MAGIC = fuzz_images.chunk, fuzz_images.PNG_MAGIC

WHOLE = fuzz_images.pictures(np.random.default_rng(5))
JPEG = WHOLE["jpeg"]
SCENE = cv2.resize(np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8), (640, 480))
CAMERA = cv2.imencode(".jpg", SCENE)[1].tobytes()  # as a camera of 640 x 480 sends it


def picture(data, limits=compressed_image.USUAL):
    return unpack(np.frombuffer(data, np.uint8), limits)


def png(width, height, rows, depth=8, colour=2, extra=b""):
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        PNG_MAGIC + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def claiming(data, width, height, frame=b"\xff\xc0"):
    at = data.index(frame) + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


@pytest.mark.parametrize("name", WHOLE)
def test_whole_pictures_are_what_opencv_makes_of_them(name):
    expected = cv2.imdecode(np.frombuffer(WHOLE[name], np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(picture(WHOLE[name], FILES), expected)


@pytest.mark.parametrize(
    "tail",
    [
        bytes(5000),
        bytes(640 * 480 * 3),
        b"MotionPhoto_Data" + np.random.default_rng(1).bytes(300_000),
        b"\xff" * 5000,
        b"\xff\xd8\xff\xe0" + bytes(100),
        b"\xff\xd9\xff\xd9",
    ],
    ids=["zeros", "usb_cam", "film", "ones", "another", "ends"],
)
@pytest.mark.parametrize("name", [n for n in WHOLE if "jpeg" in n or "png" in n])
def test_what_lies_behind_a_picture_does_not_matter(name, tail):
    np.testing.assert_array_equal(picture(WHOLE[name] + tail), picture(WHOLE[name]))


@pytest.mark.parametrize("name", [n for n in WHOLE if "jpeg" in n or "png" in n])
@pytest.mark.parametrize("padding", [b"", bytes(20_000)])
def test_a_picture_that_ends_early_is_left_out(name, padding):
    whole = WHOLE[name]
    for cut in (*range(3, len(whole), len(whole) // 40), len(whole) - 1):
        with pytest.raises(ValueError):
            picture(whole[:cut] + padding)


def test_a_cut_picture_with_a_whole_thumbnail_in_its_head_is_cut():
    whole = WHOLE["jpeg thumbnail"]
    head = whole.index(WHOLE["jpeg grey"]) + len(WHOLE["jpeg grey"])
    for cut in (head, head + 200, len(whole) - 40):
        with pytest.raises(ValueError, match="cut short"):
            picture(whole[:cut])


def bombs():
    yield "png 60000 x 60000", png(60000, 60000, bytes(300))
    yield "png 20000 x 20000", png(20000, 20000, bytes(100_000))
    yield "png 5001 x 5000", png(5001, 5000, bytes(5000 * 5001 * 3 + 5000))
    yield "png of 16 bits", png(4000, 4000, bytes(4000 * (1 + 8 * 4000)), depth=16, colour=6)
    yield "png larger than its data", png(4000, 3000, bytes(3000))
    yield "png of many chunks", png(8, 8, bytes(8 * 25), extra=chunk(b"abCd", b"") * 70_000)
    for width, height in ((65500, 65500), (49632, 17024), (33408, 33248), (65500, 1), (4000, 4000)):
        yield f"jpeg {width} x {height}", claiming(JPEG, width, height)
    yield "jpeg of bits in its size", claiming(CAMERA, 640 ^ 0x4000, 480 ^ 0x4000)
    yield "jpeg of many segments", JPEG[:2] + b"\xff\xe1\x00\x02" * 3000 + JPEG[2:]
    large = cv2.resize(SCENE, (3000, 2000))
    slow = cv2.imencode(".jpg", large, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    last = slow.rindex(b"\xff\xda")
    yield "jpeg of many passes", slow[:-2] + slow[last:-2] * 30 + b"\xff\xd9"


@pytest.mark.parametrize(("what", "data"), list(bombs()), ids=[name for name, _ in bombs()])
def test_bombs_never_reach_the_decoder(what, data, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail(f"{what} was decoded"))
    with pytest.raises(ValueError) as caught:
        picture(data)
    assert "\n" not in str(caught.value)


def test_the_limit_is_a_setting():
    with pytest.raises(ValueError, match="max_pixels"):
        picture(CAMERA, CompressedSettings(max_pixels=300_000))
    assert picture(CAMERA, CompressedSettings(max_pixels=640 * 480)).shape == (480, 640, 3)
    with pytest.raises(PvmError, match="max_pixels"):
        CompressedSettings(max_pixels=0)
    with pytest.raises(PvmError, match="must be one of jpeg, png"):
        CompressedSettings(image_formats=["gif"])


@pytest.mark.parametrize("name", ["bmp", "webp", "tiff", "netpbm"])
def test_other_formats_are_taken_where_they_are_named(name):
    with pytest.raises(ValueError, match=f"{name} format; taken are jpeg, png"):
        picture(WHOLE[name])
    assert picture(WHOLE[name], CompressedSettings([name])).shape == (72, 96, 3)
    with pytest.raises(ValueError, match="jpeg format"):
        picture(JPEG, CompressedSettings([name]))


@pytest.mark.parametrize(
    "data",
    [
        b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 2_000_000, 64, 1, 24, *[0] * 6)
        + bytes(3000),
        b"P6 90000 90000 255\n" + bytes(300),
        b"P5\n# a comment\n30000 # another\n 2\n255\n",
        b"RIFF\0\0\0\0WEBPVP8X" + struct.pack("<IB3x6B", 10, 0, *[255] * 6),
        b"RIFF\0\0\0\0WEBPVP8L" + struct.pack("<IBI", 10, 0x2F, 0xFFFFFFF),
        b"II*\0\x08\0\0\0\x02\0" + struct.pack("<HHIIHHII", 256, 4, 1, 70000, 257, 4, 1, 70000),
    ],
)
def test_other_formats_are_bounded_too(data, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(ValueError, match="pixels"):
        picture(data, FILES)


@pytest.mark.parametrize("error", [cv2.error("a lie"), MemoryError()])
def test_what_the_decoder_raises_is_a_value_error(error, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr(cv2, "imdecode", fail)
    with pytest.raises(ValueError, match="cannot be decoded"):
        picture(JPEG)


def test_only_what_a_picture_is_made_of_reaches_the_decoder(monkeypatch):
    film = chunk(b"acTL", struct.pack(">II", 4000, 0))
    profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(10_000_000)))
    seen, real = [], cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda data, how: seen.append(data.tobytes()) or real(data, how))
    rows = np.random.default_rng(0).bytes(8 * 24)
    rows = b"".join(b"\0" + rows[k : k + 24] for k in range(0, len(rows), 24))
    np.testing.assert_array_equal(picture(png(8, 8, rows, extra=film + profile)), picture(png(8, 8, rows)))
    assert seen[0] == seen[1] == png(8, 8, rows)


@pytest.mark.parametrize("data", [None, [1, 2], "text", object()])
def test_data_that_are_no_bytes(data):
    with pytest.raises(ValueError):
        decode_compressed(SimpleNamespace(data=data, format="jpeg"))


def test_files_are_read_by_the_same_rules(tmp_path):
    path = tmp_path / "a.jpg"  # the suffix says nothing
    path.write_bytes(WHOLE["png"])
    np.testing.assert_array_equal(read_image(path), picture(WHOLE["png"]))
    path.write_bytes(CAMERA[:-500])
    with pytest.raises(PvmError, match=r"a\.jpg cannot be read: a JPEG that is cut short"):
        read_image(path)
    with pytest.raises(PvmError, match="No such file"):
        read_image(tmp_path / "none.jpg")
    with pytest.raises(PvmError, match="directory"):
        read_image(tmp_path)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_any_damage_gives_a_picture_or_one_line(name, data):
    damaged = bytearray(WHOLE[name])
    for at, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(damaged) - 1), st.integers(0, 255)), max_size=6)
    ):
        damaged[at] = value
    try:
        image = picture(bytes(damaged), FILES)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert image.dtype == np.uint8
        assert image.shape[2] == 3 and image.size <= 3 * FILES.max_pixels


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(
        [b"", b"\xff\xd8\xff", PNG_MAGIC, b"BM", b"II*\0", b"MM\0*", b"P6", b"RIFF\0\0\0\0WEBPVP8 "]
    ),
    st.binary(max_size=400),
)
def test_any_bytes_give_a_picture_or_one_line(start, rest):
    try:
        assert picture(start + rest, FILES).ndim == 3
    except ValueError as error:
        assert "\n" not in str(error)


def test_a_short_run_of_the_fuzz():
    outcome = fuzz_images.fuzz(3000, seed=1)
    assert outcome.decoded > 300 and outcome.refused > 300
    assert fuzz_images.fuzz(500, seed=2, settings=FILES).decoded > 100
