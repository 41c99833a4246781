"""Video files that are written for people: whole, in their own time, or not at all."""

from __future__ import annotations

import contextlib
from pathlib import Path

import cv2
import numpy as np

from pvm_perception.atomic_file import atomic_file
from pvm_perception.errors import PvmError
from pvm_perception.streams.library_words import without

CODECS = {".webm": "VP80", ".avi": "MJPG"}  # by suffix
USUAL = "mp4v"
# WebM knows no tags, so OpenCV says this of any; it writes the file nevertheless
UNTAGGED = "'VP80' is not supported with codec id"
UNEVEN = 0.5  # periods that a frame may be off a fixed rate before frames get stamps of their own
TICKS = 1000  # a second, of such stamps
LONGEST = 3600.0  # s between two frames; more is a clock that was set


class Film:
    """A video file that grows by a frame with each `write`; it has its name once it is closed.

    Parameters
    ----------
    path
        The file; its suffix tells the format: .mp4, .webm, .avi, .mkv.
    fps
        Frames a second, where stamps don't tell otherwise.

    Raises
    ------
    PvmError
        At the first frame, where the file cannot be written; at the end, where frames are missing in it,
        as on a full disk. No file stays then.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path, self.fps = path, fps
        self._stamps: list[float] = []
        self._last: float | None = None
        self._writer: cv2.VideoWriter | None = None
        self._place = contextlib.ExitStack()

    def __enter__(self) -> Film:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, image: np.ndarray, stamp: float | None = None) -> None:
        """Add a picture.

        Parameters
        ----------
        image
            (H, W, 3) uint8 BGR; one of another size than the first is stretched to it.
        stamp
            Its time, s; None, or one that is not after the last, is a frame later.
        """
        if self._writer is None:
            self._writer = self._opened(image.shape[1::-1])
        step = 1 / self.fps
        if stamp is not None and self._last is not None and 0 < stamp - self._last <= LONGEST:
            step = stamp - self._last
        self._stamps.append(self._stamps[-1] + step if self._stamps else 0.0)
        self._last = stamp
        same = image.shape[1::-1] == self._size
        self._writer.write(image if same else cv2.resize(image, self._size))

    def _opened(self, size: tuple[int, int]) -> cv2.VideoWriter:
        self._size = size
        self._part = self._place.enter_context(atomic_file(self.path, "video"))
        self._code = cv2.VideoWriter.fourcc(*CODECS.get(self.path.suffix.lower(), USUAL))
        with without(UNTAGGED):
            writer = cv2.VideoWriter(str(self._part), self._code, self.fps, size)
        if not writer.isOpened():
            with self._place.pop_all():
                raise PvmError(f"{self.path} cannot be written as a video; use a name ending in .mp4")
        return writer

    def close(self) -> None:
        """Finish the file and put it in its place; without a frame there is none."""
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        with self._place.pop_all():
            writer.release()
            self._check(self._part)
            even = np.arange(len(self._stamps)) / self.fps  # (N,) seconds
            if np.abs(np.array(self._stamps) - even).max() > UNEVEN / self.fps:
                self._give_stamps()

    def _check(self, part: Path) -> None:
        """Raise PvmError unless all frames are in it: OpenCV does not tell what it could not write."""
        capture, count = cv2.VideoCapture(str(part)), 0
        if part.suffix.lower() == ".mp4":  # its index, written last, has each frame
            count = round(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        else:
            while capture.grab():
                count += 1
        capture.release()
        if count < len(self._stamps):
            raise PvmError(
                f"{self.path} cannot be written: {max(count, 0)} of {len(self._stamps)} frames "
                "are in it; is the disk full?"
            )

    def _give_stamps(self) -> None:
        """Give each frame its own stamp: OpenCV encodes at a fixed rate, but can copy frames at any."""
        if not hasattr(cv2, "VIDEOWRITER_PROP_PTS") or self.path.suffix.lower() == ".avi":
            return  # OpenCV before 4.11; a format that knows only a fixed rate
        source = cv2.VideoCapture(str(self._part), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
        _, start = source.retrieve(None, int(source.get(cv2.CAP_PROP_CODEC_EXTRADATA_INDEX)))
        with atomic_file(self._part, "video") as part:
            raw = [cv2.VIDEOWRITER_PROP_RAW_VIDEO, 1]
            with without(UNTAGGED):
                target = cv2.VideoWriter(str(part), cv2.CAP_FFMPEG, self._code, TICKS, self._size, raw)
            for stamp in self._stamps:
                good, data = source.read()  # (N,) uint8, as it was encoded
                if not good:
                    break
                key = source.get(cv2.CAP_PROP_LRF_HAS_KEY_FRAME)
                if key and start is not None and self.path.suffix.lower() not in CODECS:
                    data = np.concatenate([start.ravel(), data.ravel()])  # MPEG-4 needs its header again
                target.set(cv2.VIDEOWRITER_PROP_KEY_FLAG, key)
                target.set(cv2.VIDEOWRITER_PROP_PTS, round(stamp * TICKS))
                target.write(data)
            target.release()
            source.release()
            self._check(part)
