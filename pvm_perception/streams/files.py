"""Frames from a video file, a folder of images, a camera device, or a bag (bags.py)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import cv2

from pvm_perception.errors import PvmError, warn
from pvm_perception.streams.bags import BagStream, is_bag
from pvm_perception.streams.groundtruth import GroundTruth, labels_of, read_groundtruth
from pvm_perception.types import Frame

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff")


class FolderStream:
    """Images of a folder by name; an unreadable one is reported, counted and left out.

    Parameters
    ----------
    folder
        Holds the images, or `frames/` with them, and groundtruth.csv or labels.csv where there is truth.
    fps
        Frames a second, for the stamps.
    part
        From which to which share of the labelled images, (0.8, 1) = the last fifth; None takes
        every image, labelled or not.
    """

    def __init__(self, folder: Path, fps: float = 30.0,
                 part: tuple[float, float] | None = None) -> None:
        inner = folder / "frames"
        self.folder = inner if inner.is_dir() else folder
        self.paths = sorted(p for p in self.folder.iterdir() if p.suffix.lower() in IMAGES)
        if not self.paths:
            raise PvmError(f"no images in {self.folder}; expected {', '.join(IMAGES[:4])} files")
        labels = labels_of(folder)
        self.truth: GroundTruth | None = read_groundtruth(labels) if labels else None
        if part is not None:
            known = [p for p in self.paths if self.truth and p.name in self.truth.boxes]
            low, high = (round(share * len(known)) for share in part)
            self.paths = known[low:high]
        self.fps, self.length, self.name = fps, len(self.paths), folder.name
        self.unreadable: list[str] = []

    def __iter__(self) -> Iterator[Frame]:
        self.unreadable = []
        for k, path in enumerate(self.paths):
            # looked at first, because the JPEG decoder has its own way of complaining
            data = cv2.imread(str(path), cv2.IMREAD_COLOR) if _complete(path) else None
            if data is None:
                self.unreadable.append(path.name)
                warn(f"{path} is damaged or cut short; left out")
                continue
            boxes = self.truth.boxes.get(path.name) if self.truth else None
            yield Frame(data, path.name, k / self.fps, boxes)


def _complete(path: Path) -> bool:
    """Tell whether a JPEG holds its end; OpenCV fills a cut picture with grey and says nothing."""
    if path.suffix.lower() not in (".jpg", ".jpeg"):
        return True
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - 4096))
        return b"\xff\xd9" in file.read()


class VideoStream:
    """A video file, or a camera device such as /dev/video0."""

    def __init__(self, path: str) -> None:
        device = re.fullmatch(r"/dev/video(\d+)", path)
        self.capture = cv2.VideoCapture(int(device[1]) if device else path)
        if not self.capture.isOpened():
            raise PvmError(f"{path} cannot be opened as a video; give a video file, a folder of "
                           "images or a camera such as /dev/video0")
        self.path, self.live = path, bool(device)
        fps = self.capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 1 <= fps <= 1000 else 30.0
        count = int(self.capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.length = count if count > 0 and not device else None
        self.name, self.truth = Path(path).stem, None

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        while True:
            good, image = self.capture.read()
            if not good:
                break
            yield Frame(image, str(index), index / self.fps)
            index += 1
        self.capture.release()
        if index == 0:
            raise PvmError(f"{self.path} holds no frame that can be decoded")
        if self.length is not None and index < self.length - 1:
            warn(f"{self.path}: {index} of {self.length} frames could be decoded")


def open_stream(path: str | Path, topic: str | None = None, odom_topic: str | None = ""
                ) -> FolderStream | VideoStream | BagStream:
    """Open whatever `path` is: a folder of images, a video, a camera, a bag.

    Parameters
    ----------
    path
        Of a file, folder or device.
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
    if not path.exists():
        raise PvmError(f"{path} does not exist")
    if path.is_file() and path.stat().st_size == 0:
        raise PvmError(f"{path} is empty")
    if is_bag(path):
        return BagStream(path, topic, odom_topic)
    if topic is not None or odom_topic:
        raise PvmError(f"--topic and --odom-topic are for bags; {path} is none")
    return FolderStream(path) if path.is_dir() else VideoStream(text)
