"""Image messages of every encoding, with any padding and either byte order."""

import sys
from array import array
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvm_perception.vision.image_codec import (
    ENCODINGS,
    decode_compressed,
    decode_depth,
    decode_image,
    fill_image,
)


def message(pixels, encoding, height, width, padding=0, big=False):
    """Lay rows of pixels, (rows, ...), into a message with padded rows."""
    pixels = np.ascontiguousarray(pixels)
    if pixels.dtype.itemsize > 1:
        pixels = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<"))
    rows = pixels.view(np.uint8).reshape(pixels.shape[0], -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    return SimpleNamespace(
        height=height,
        width=width,
        encoding=encoding,
        step=rows.shape[1],
        is_bigendian=int(big),
        data=array("B", rows.tobytes()),
    )


def picture(height, width, seed):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


SIZES = {
    "height": st.integers(1, 24).map(lambda n: 2 * n),
    "width": st.integers(1, 32).map(lambda n: 2 * n),
    "padding": st.integers(0, 33),
    "big": st.booleans(),
    "seed": st.integers(0, 1000),
}

# encoding: (BGR -> the message's rows, largest difference that the way there and back may make)
TO_MESSAGE = {
    "bgr8": (lambda p: p, 0),
    "8UC3": (lambda p: p, 0),
    "rgb8": (lambda p: p[..., ::-1], 0),
    "bgra8": (lambda p: cv2.cvtColor(p, cv2.COLOR_BGR2BGRA), 0),
    "8UC4": (lambda p: cv2.cvtColor(p, cv2.COLOR_BGR2BGRA), 0),
    "rgba8": (lambda p: cv2.cvtColor(p, cv2.COLOR_BGR2RGBA), 0),
}


@settings(max_examples=30, deadline=None)
@given(encoding=st.sampled_from(sorted(TO_MESSAGE)), **SIZES)
def test_colour_comes_back_exactly(encoding, height, width, padding, big, seed):
    source = picture(height, width, seed)
    rows, tolerance = TO_MESSAGE[encoding]
    result = decode_image(message(rows(source), encoding, height, width, padding, big))
    assert result.shape == source.shape
    assert np.abs(result.astype(int) - source).max() <= tolerance


@settings(max_examples=30, deadline=None)
@given(encoding=st.sampled_from(["mono8", "8UC1", "mono16", "16UC1"]), **SIZES)
def test_grey_of_8_and_16_bits_in_both_byte_orders(encoding, height, width, padding, big, seed):
    grey = cv2.cvtColor(picture(height, width, seed), cv2.COLOR_BGR2GRAY)
    deep = "16" in encoding
    rows = grey.astype(np.uint16) * 257 if deep else grey
    result = decode_image(message(rows, encoding, height, width, padding, big))
    for channel in range(3):
        np.testing.assert_array_equal(result[..., channel], grey)


@settings(max_examples=30, deadline=None)
@given(encoding=st.sampled_from(["16UC1", "32FC1"]), **SIZES)
def test_depth_in_metres_as_rep_118_has_it(encoding, height, width, padding, big, seed):
    metres = np.random.default_rng(seed).integers(0, 60000, (height, width)) / 1000
    rows = (metres * 1000).round().astype(np.uint16) if encoding == "16UC1" else metres.astype(np.float32)
    result = decode_depth(message(rows, encoding, height, width, padding, big))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, metres, atol=1e-3)
    with pytest.raises(ValueError, match="no depth"):
        decode_depth(message(rows, "bgr8", height, width))


PATTERNS = {"bayer_rggb8": "rggb", "bayer_bggr8": "bggr", "bayer_gbrg8": "gbrg", "bayer_grbg8": "grbg"}


@settings(max_examples=30, deadline=None)
@given(
    encoding=st.sampled_from(sorted(PATTERNS)),
    padding=SIZES["padding"],
    colour=st.tuples(*[st.integers(0, 255)] * 3),
)
def test_bayer_of_one_colour_is_that_colour(encoding, padding, colour):
    raw = np.zeros((16, 20), np.uint8)
    values = dict(zip("bgr", colour, strict=True))
    for k, letter in enumerate(PATTERNS[encoding]):
        raw[k // 2 :: 2, k % 2 :: 2] = values[letter]
    result = decode_image(message(raw, encoding, 16, 20, padding))
    assert np.abs(result[4:-4, 4:-4].astype(int) - colour).max() <= 1


@settings(max_examples=30, deadline=None)
@given(
    encoding=st.sampled_from(["yuv422", "uyvy", "yuyv", "yuv422_yuy2", "nv12", "nv21"]),
    padding=SIZES["padding"],
    luma=st.integers(30, 220),
    cb=st.integers(90, 160),
    cr=st.integers(90, 160),
)
def test_yuv_of_one_colour_follows_bt601(encoding, padding, luma, cb, cr):
    height, width = 8, 12
    if encoding.startswith("nv"):
        raw = np.full((height * 3 // 2, width), luma, np.uint8)
        pair = (cb, cr) if encoding == "nv12" else (cr, cb)
        raw[height:, 0::2], raw[height:, 1::2] = pair
    else:
        raw = np.zeros((height, width, 2), np.uint8)
        brightness = 1 if encoding in ("yuv422", "uyvy") else 0
        raw[..., brightness] = luma
        raw[:, 0::2, 1 - brightness], raw[:, 1::2, 1 - brightness] = cb, cr
    result = decode_image(message(raw, encoding, height, width, padding))
    y, u, v = 1.164 * (luma - 16), cb - 128, cr - 128
    expected = np.clip([y + 2.018 * u, y - 0.391 * u - 0.813 * v, y + 1.596 * v], 0, 255)
    assert np.abs(result.astype(float) - expected).max() <= 3


@settings(max_examples=200, deadline=None)
@given(
    encoding=st.sampled_from([*sorted(ENCODINGS), "32FC1", "", "jpeg"]),
    height=st.integers(0, 40),
    width=st.integers(0, 40),
    step=st.integers(0, 300),
    size=st.integers(0, 3000),
    big=st.integers(0, 1),
)
def test_any_message_is_a_picture_or_one_line(encoding, height, width, step, size, big):
    claim = SimpleNamespace(
        height=height,
        width=width,
        encoding=encoding,
        step=step,
        is_bigendian=big,
        data=array("B", bytes(size)),
    )
    try:
        result = decode_image(claim)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert result.shape == (height, width, 3)
        assert result.dtype == np.uint8


def test_absurd_sizes_are_refused():
    claim = SimpleNamespace(
        height=2**32 - 1, width=2**32 - 1, encoding="bgr8", step=2**32 - 1, is_bigendian=0, data=array("B")
    )
    with pytest.raises(ValueError, match="pixels"):
        decode_image(claim)


def test_dense_bgr_is_a_view():
    claim = message(picture(8, 12, 0), "bgr8", 8, 12)
    assert np.shares_memory(decode_image(claim), np.frombuffer(claim.data, np.uint8))


@settings(max_examples=50, deadline=None)
@given(kind=st.sampled_from([".jpg", ".png"]), cut=st.floats(0, 0.98), seed=st.integers(0, 99))
def test_compressed_pictures_whole_and_cut(kind, cut, seed):
    source = picture(40, 60, seed)
    _, data = cv2.imencode(kind, source)
    whole = decode_compressed(SimpleNamespace(format=kind, data=array("B", data.tobytes())))
    assert whole.shape == source.shape
    part = data.tobytes()[: int(len(data) * cut)]
    if kind == ".jpg":  # OpenCV fills a cut JPEG with grey; a tracker must not see that
        with pytest.raises(ValueError):
            decode_compressed(SimpleNamespace(format=kind, data=array("B", part)))


@pytest.mark.parametrize(
    ("pixels", "encoding"),
    [
        (picture(10, 14, 1), "bgr8"),
        (picture(10, 14, 1)[..., 0], "mono8"),
        (np.random.default_rng(0).random((4, 6), np.float32), "32FC1"),
        (picture(10, 14, 1)[::2, ::2], "bgr8"),
    ],
)
def test_messages_that_we_fill_can_be_read(pixels, encoding):
    filled = fill_image(SimpleNamespace(), pixels, encoding, "header")
    assert filled.header == "header"
    assert filled.step * filled.height == len(filled.data)
    if encoding == "32FC1":
        back = np.frombuffer(filled.data, np.float32).reshape(pixels.shape)
        assert sys.byteorder == "little"
        np.testing.assert_array_equal(back, pixels)
    else:
        back = decode_image(filled)
        np.testing.assert_array_equal(back if pixels.ndim == 3 else back[..., 0], pixels)


def test_against_cv_bridge():
    """Where a real ROS 2 cv_bridge is present, it is the oracle."""
    try:
        from cv_bridge import CvBridge
        from sensor_msgs.msg import Image
    except Exception as error:
        pytest.skip(f"no ROS 2 cv_bridge here ({error})")
    for encoding in ("bgr8", "rgb8", "bgra8", "mono8"):
        channels = ENCODINGS[encoding].channels
        rows = np.random.default_rng(0).integers(0, 256, (10, 14, channels), dtype=np.uint8)
        claim = message(rows, encoding, 10, 14)
        real = Image(height=10, width=14, encoding=encoding, step=claim.step, data=claim.data)
        np.testing.assert_array_equal(decode_image(real), CvBridge().imgmsg_to_cv2(real, "bgr8"))
