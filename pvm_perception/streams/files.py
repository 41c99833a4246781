"""Frames from a video file or network stream, a folder of images, a camera device, or a bag (bags.py)."""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from pvm_perception.errors import PvmError, warn
from pvm_perception.streams.bags import BagStream, is_bag
from pvm_perception.streams.groundtruth import (
    OTHER,
    GroundTruth,
    labels_of,
    labels_of_video,
    read_groundtruth,
)
from pvm_perception.streams.hold_out import Part, places
from pvm_perception.streams.library_words import heard
from pvm_perception.types import Frame
from pvm_perception.vision.compressed_image import read_image

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff")


DEVICE = re.compile(r"(?:/dev/video)?(\d+)")
ADDRESS = re.compile(r"(rtsps?|https?)://.+")


def _check_camera(number: int) -> None:
    """Raise PvmError where there is no such camera, and say which there are: OpenCV needs more lines."""
    if sys.platform != "linux" or Path(f"/dev/video{number}").exists():
        return
    others = ", ".join(map(str, sorted(Path("/dev").glob("video*"), key=natural)))
    known = f"there are: {others}" if others else "none is here"
    raise PvmError(f"there is no camera /dev/video{number}; {known}")


def _answering(address: str) -> cv2.VideoCapture:
    """Return what is sent from an address; raise PvmError with the library's last reason."""
    with heard() as said:
        capture = cv2.VideoCapture(address)
    if not capture.isOpened():
        reason = said[-1].strip().rpartition(": ")[2] if said else "no answer"
        raise PvmError(f"{address} cannot be opened: {reason}")
    return capture


def natural(path: Path) -> tuple:
    """Return a key that sorts names as people count: frame_2 before frame_10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)], path.name


class FolderStream:
    """Images of a folder in the natural order of their names; an unreadable one is said and left out.

    Parameters
    ----------
    folder
        Holds the images, or `frames/` with them, and groundtruth.csv or labels.csv where there is truth.
    fps
        Frames a second, for the stamps.
    part
        Of the labelled images, as `hold_out` has it; None takes every image, labelled or not.
    """

    def __init__(self, folder: Path, fps: float = 30.0, part: Part | None = None) -> None:
        inner = folder / "frames"
        self.folder = inner if inner.is_dir() else folder
        self.paths = sorted((p for p in self.folder.iterdir() if p.suffix.lower() in IMAGES), key=natural)
        if not self.paths:
            raise PvmError(f"no images in {self.folder}; expected {', '.join(IMAGES[:4])} files")
        labels = labels_of(folder)
        self.truth: GroundTruth | None = read_groundtruth(labels) if labels else None
        self._unmatched = self._check_labels(labels) if labels else ""
        if part is not None:
            known = [p for p in self.paths if self.truth and p.name in self.truth.boxes]
            self.paths = [known[k] for k in places(part, [self.shows(p.name) for p in known])]
        self.fps, self.length, self.name = fps, len(self.paths), folder.name
        self.unreadable: list[str] = []

    def shows(self, name: str) -> bool:
        """Tell whether a labelled image shows a target."""
        boxes = self.truth.boxes[name] if self.truth else ()
        return any(not b.target.startswith(OTHER) for b in boxes)

    def _check_labels(self, labels: Path) -> str:
        """Return what to say of labels that name no image, or ""; raise PvmError where none names any."""
        named = set(self.truth.boxes) if self.truth else set()
        lost = sorted(named - {p.name for p in self.paths})
        if not lost:
            return ""
        if len(lost) == len(named):
            raise PvmError(
                f"{labels} names no image of {self.folder}, but {lost[0]!r}; its column frame "
                f"must give the file names, such as {self.paths[0].name!r}"
            )
        return f"{len(lost)} of {len(named)} frames in {labels} are no images here, such as {lost[0]!r}"

    def __iter__(self) -> Iterator[Frame]:
        self.unreadable = []
        if self._unmatched:
            warn(self._unmatched)
        for k, path in enumerate(self.paths):
            try:
                image = read_image(path)
            except PvmError as error:
                self.unreadable.append(path.name)
                warn(f"{error}; left out")
                continue
            boxes = self.truth.boxes.get(path.name) if self.truth else None
            yield Frame(image, path.name, k / self.fps, boxes)


class VideoStream:
    """A video file, a camera device such as /dev/video0 or 0, or a stream such as rtsp://camera/1.

    A film's frames have its own time stamps, in seconds, where it has any that go on; those of a camera
    or network stream tell when they came, since the first. A file may have truth beside it (groundtruth.py).
    """

    def __init__(self, path: str) -> None:
        there = Path(path).is_file()
        device = None if there else DEVICE.fullmatch(path)
        address = None if there else ADDRESS.fullmatch(path)
        if device:
            _check_camera(int(device[1]))
        # from its root, no colon in a file's name is taken for a protocol
        source = int(device[1]) if device else str(Path(path).absolute())
        self.capture = _answering(path) if address else cv2.VideoCapture(source)
        if not self.capture.isOpened():
            raise PvmError(
                f"{path} cannot be opened as a video; give a video file, a folder of "
                "images, a camera such as /dev/video0, or an address such as rtsp://..."
            )
        self.path, self.live = path, bool(device or address)
        fps = self.capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 1 <= fps <= 1000 else 30.0
        count = int(self.capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.length = count if count > 0 and not self.live else None
        # 1000 is what a film without a fixed rate claims; its count may be of milliseconds
        self._counted = self.length is not None and fps < 1000
        self.name = Path(path).stem
        labels = labels_of_video(Path(path)) if there else None
        self.truth: GroundTruth | None = read_groundtruth(labels) if labels else None

    def __iter__(self) -> Iterator[Frame]:
        index, stamp, begun = 0, -math.inf, time.monotonic()
        while True:
            good, image = self.capture.read()
            if not good:
                break
            stamp = self._stamp(index, stamp, begun)
            boxes = self.truth.boxes.get(str(index)) if self.truth else None
            yield Frame(np.asarray(image, np.uint8), str(index), stamp, boxes)
            index += 1
        self.capture.release()
        if index == 0:
            raise PvmError(f"{self.path} holds no frame that can be decoded")
        if self._counted and self.length is not None and index < self.length - 1:
            warn(f"{self.path}: {index} of {self.length} frames could be decoded")

    def _stamp(self, index: int, last: float, begun: float) -> float:
        """Return the time of the frame that was read, seconds; without time stamps the rate is fixed."""
        if self.live:
            return time.monotonic() - begun
        stamp = self.capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if math.isfinite(stamp) and stamp > last:
            return stamp
        return last + 1 / self.fps if index else 0.0


def open_stream(
    path: str | Path, topic: str | None = None, odom_topic: str | None = ""
) -> FolderStream | VideoStream | BagStream:
    """Open whatever `path` is: a folder of images, a video, a camera, a network stream, a bag.

    Parameters
    ----------
    path
        Of a file, folder or device (also by its number), or an address (rtsp://, http://).
    topic
        Of the images, for a bag that has several.
    odom_topic
        Of the robot's odometry, for a bag, as `BagStream` takes it.

    Raises
    ------
    PvmError
        Nothing there, an empty folder, or nothing that can be decoded.
    """
    text, path = str(path), Path(path)
    live = not path.exists() and (DEVICE.fullmatch(text) or ADDRESS.fullmatch(text))
    if not (path.exists() or live):
        raise PvmError(f"{path} does not exist")
    if path.is_file() and path.stat().st_size == 0:
        raise PvmError(f"{path} is empty")
    if not live and is_bag(path):
        return BagStream(path, topic, odom_topic)
    if topic is not None or odom_topic:
        raise PvmError(f"--topic and --odom-topic are for bags; {path} is none")
    return FolderStream(path) if path.is_dir() else VideoStream(text)
