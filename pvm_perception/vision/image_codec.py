"""sensor_msgs/Image and CompressedImage to BGR arrays and back; a table, no cv_bridge needed.

Plain encodings are viewed without a copy of their data (REP 118 names them). A message that does
not add up raises ValueError with one line that says why.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from pvm_perception.vision.compressed_image import USUAL, CompressedSettings, unpack

MAX_SIDE = 16384  # px; a larger claim is a broken message, not a camera


@dataclass(frozen=True)
class Encoding:
    """How pixels lie in memory: element type, elements per pixel, and the way to BGR."""

    dtype: type
    channels: int
    to_bgr: Callable[[np.ndarray], np.ndarray]  # of a depth: to metres
    planes: float = 1.0  # rows of data per row of the image (NV12: 1.5)
    even: tuple[int, int] = (1, 1)  # height and width must be multiples of these


def _colour(code: int) -> Callable[[np.ndarray], np.ndarray]:
    # OpenCV wants rows without padding between pixels; a strided view is copied, a dense one not
    return lambda pixels: cv2.cvtColor(np.ascontiguousarray(pixels), code)


def _deep(pixels: np.ndarray) -> np.ndarray:
    """16-bit grey to BGR, full range to full range."""
    grey = ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    return cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)


_GREY = Encoding(np.uint8, 1, _colour(cv2.COLOR_GRAY2BGR))
_BGR = Encoding(np.uint8, 3, np.ascontiguousarray)
_MONO16 = Encoding(np.uint16, 1, _deep)
_YUYV = Encoding(np.uint8, 2, _colour(cv2.COLOR_YUV2BGR_YUY2), even=(1, 2))
_UYVY = Encoding(np.uint8, 2, _colour(cv2.COLOR_YUV2BGR_UYVY), even=(1, 2))

# a new encoding is an entry here
ENCODINGS: dict[str, Encoding] = {
    "bgr8": _BGR,
    "8UC3": _BGR,
    "rgb8": Encoding(np.uint8, 3, _colour(cv2.COLOR_RGB2BGR)),
    "bgra8": Encoding(np.uint8, 4, _colour(cv2.COLOR_BGRA2BGR)),
    "8UC4": Encoding(np.uint8, 4, _colour(cv2.COLOR_BGRA2BGR)),
    "rgba8": Encoding(np.uint8, 4, _colour(cv2.COLOR_RGBA2BGR)),
    "mono8": _GREY,
    "8UC1": _GREY,
    "mono16": _MONO16,
    "16UC1": _MONO16,
    # OpenCV's two-letter names start at the second row's second pixel: its BG is ROS's rggb
    "bayer_rggb8": Encoding(np.uint8, 1, _colour(cv2.COLOR_BayerBG2BGR), even=(2, 2)),
    "bayer_bggr8": Encoding(np.uint8, 1, _colour(cv2.COLOR_BayerRG2BGR), even=(2, 2)),
    "bayer_gbrg8": Encoding(np.uint8, 1, _colour(cv2.COLOR_BayerGR2BGR), even=(2, 2)),
    "bayer_grbg8": Encoding(np.uint8, 1, _colour(cv2.COLOR_BayerGB2BGR), even=(2, 2)),
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuyv": _YUYV,
    "yuv422_yuy2": _YUYV,
    "nv12": Encoding(np.uint8, 1, _colour(cv2.COLOR_YUV2BGR_NV12), 1.5, (2, 2)),
    "nv21": Encoding(np.uint8, 1, _colour(cv2.COLOR_YUV2BGR_NV21), 1.5, (2, 2)),
}

DEPTHS = {
    "16UC1": Encoding(np.uint16, 1, lambda pixels: pixels.astype(np.float32) * np.float32(1e-3)),
    "32FC1": Encoding(np.float32, 1, lambda pixels: pixels.astype(np.float32)),
}


def decode_image(message: Any) -> np.ndarray:
    """Return the BGR picture in an Image message.

    Parameters
    ----------
    message
        sensor_msgs/Image, or anything with its fields: any row padding (`step`), either byte
        order.

    Returns
    -------
    (height, width, 3) uint8
        For `bgr8` without padding a view of the message's own data.

    Raises
    ------
    ValueError
        In one line: an encoding that is not known, or sizes that contradict each other.
    """
    encoding = ENCODINGS.get(message.encoding)
    if encoding is None:
        return _with_cv_bridge(message)
    return encoding.to_bgr(_pixels(message, encoding))


def decode_depth(message: Any) -> np.ndarray:
    """Return the depths in an Image message, in metres; 0 and NaN where there is none.

    Parameters
    ----------
    message
        sensor_msgs/Image of the encodings that REP 118 names: 16UC1, millimetres, or 32FC1, metres.

    Returns
    -------
    (height, width) float32

    Raises
    ------
    ValueError
        As `decode_image`.
    """
    encoding = DEPTHS.get(message.encoding)
    if encoding is None:
        raise ValueError(f"encoding {message.encoding!r} is no depth; known are {', '.join(DEPTHS)}")
    return encoding.to_bgr(_pixels(message, encoding))


def _pixels(message: Any, encoding: Encoding) -> np.ndarray:
    """Return a view of a message's pixels, (rows, width) or (rows, width, channels)."""
    height, width = int(message.height), int(message.width)
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise ValueError(f"an image of {width}x{height} pixels")
    if height % encoding.even[0] or width % encoding.even[1]:
        raise ValueError(
            f"{message.encoding} cannot have {width}x{height} pixels: "
            f"width and height must be multiples of {encoding.even[::-1]}"
        )
    item = np.dtype(encoding.dtype)
    row, rows = width * encoding.channels * item.itemsize, int(height * encoding.planes)
    step = int(message.step)
    if step < row:
        raise ValueError(f"step is {step}, but a row of {width} {message.encoding} pixels takes {row} bytes")
    data = np.frombuffer(message.data, np.uint8)
    if len(data) < step * (rows - 1) + row:
        raise ValueError(
            f"{len(data)} bytes of data, but {width}x{height} {message.encoding} with "
            f"step {step} takes {step * rows}"
        )
    if item.itemsize > 1:
        item = item.newbyteorder(">" if message.is_bigendian else "<")
    shape: tuple[int, ...] = (rows, width)
    strides: tuple[int, ...] = (step, item.itemsize * encoding.channels)
    if encoding.channels > 1:
        shape, strides = (*shape, encoding.channels), (*strides, item.itemsize)
    return np.ndarray(shape, item, data, strides=strides)


def _with_cv_bridge(message: Any) -> np.ndarray:
    """Let a real ROS 2 cv_bridge serve what the table lacks, where there is one."""
    unknown = ValueError(
        f"encoding {message.encoding!r} is not known; known are {', '.join(sorted(ENCODINGS))}"
    )
    try:
        from cv_bridge import CvBridge, CvBridgeError
    except Exception:  # the ROS 1 package of that name on PyPI fails with whatever it likes
        raise unknown from None
    try:
        return np.ascontiguousarray(CvBridge().imgmsg_to_cv2(message, "bgr8"))
    except (CvBridgeError, KeyError, TypeError, AttributeError, cv2.error) as error:
        raise unknown from error


def decode_compressed(message: Any, settings: CompressedSettings = USUAL) -> np.ndarray:
    """Return the BGR picture in a CompressedImage message; see `compressed_image.unpack`.

    The bytes say what they are; the message's `format` is not asked.

    Parameters
    ----------
    message
        A sensor_msgs/CompressedImage.
    settings
        How large a picture may be.
    """
    try:
        data = np.frombuffer(message.data, np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        raise ValueError(f"no bytes of a picture: {error}") from None
    return unpack(data, settings)


def fill_image(message: Any, pixels: np.ndarray, encoding: str, header: Any) -> Any:
    """Put pixels into an Image message and return it; data as array('B'), which rclpy copies fast.

    Parameters
    ----------
    message
        A new sensor_msgs/Image.
    pixels
        (H, W, 3) uint8 for "bgr8", (H, W) uint8 for "mono8", (H, W) float32 for "32FC1".
    encoding
        Its name in ROS.
    header
        std_msgs/Header of the message.
    """
    pixels = np.ascontiguousarray(pixels)
    message.header = header
    message.height, message.width = pixels.shape[:2]
    message.encoding, message.is_bigendian = encoding, 0
    message.step = pixels.strides[0]
    data = array("B")
    data.frombytes(pixels.data.cast("B"))
    message.data = data
    return message
