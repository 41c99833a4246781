"""What a user would pick instead, on the same frames: trackers, tutorial detectors, COCO networks.

A peer looks for one target, or for all in one pass. It answers each image with boxes in source
pixels. Some are given the first true box, as a user would draw it: `init(image, box)` is called on
the first frame with the target, and `update(image)` from the next one on.

A new peer is a class with `update(image) -> list[Track]` and an entry in `PEERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import cv2
import numpy as np

from pvm_perception.errors import PvmError
from pvm_perception.evaluation.colour_detector import ColourDetector
from pvm_perception.evaluation.constant_velocity import Rect, forecaster
from pvm_perception.evaluation.evaluate import Result, is_stills, measure_sequence, timed
from pvm_perception.evaluation.peer_process import PeerProcess, python_with_coco, python_with_contrib
from pvm_perception.streams.files import FolderStream
from pvm_perception.types import Frame, Track


class Method(Protocol):
    """One peer at work on one sequence.

    `milliseconds`, where a method has it, is its own measure of the last call: work in another
    process is not charged for the way there.
    """

    def update(self, image: np.ndarray, /) -> list[Track]: ...


class Follower(Method, Protocol):
    """A peer that is given the first true box."""

    def init(self, image: np.ndarray, box: Rect) -> None:
        """Start on the first frame with the target.

        Parameters
        ----------
        image
            (H, W, 3) uint8 BGR.
        box
            x, y, w, h of the target, px.
        """


class Nothing:
    """Never reports a box: what a measure gives for free."""

    def __init__(self, _target: str) -> None: ...

    def update(self, _image: np.ndarray) -> list[Track]:
        return []


class CentreBox:
    """Always reports the middle of the frame, a square of a third of the shorter side."""

    def __init__(self, target: str) -> None:
        self.target = target

    def update(self, image: np.ndarray) -> list[Track]:
        height, width = image.shape[:2]
        side = min(height, width) / 3
        return [Track(self.target, (width - side) / 2, (height - side) / 2, side, side, 1.0, 0)]


class Template:
    """Finds the first box's grey picture again, anywhere in the frame (cv2.matchTemplate).

    Normalised correlation (TM_CCOEFF_NORMED) at the last size and some smaller and larger ones;
    the template itself is never renewed, so it cannot drift.
    """

    scales = (0.8, 0.9, 1.0, 1.1, 1.25)
    least = 0.5  # correlation below which the target counts as lost

    def __init__(self, target: str) -> None:
        self.target, self.scale = target, 1.0

    def init(self, image: np.ndarray, box: Rect) -> None:
        """See `Follower.init`."""
        x, y, w, h = _inside(box, image)
        self.template = cv2.cvtColor(image[y : y + h, x : x + w], cv2.COLOR_BGR2GRAY)

    def update(self, image: np.ndarray) -> list[Track]:
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        best: tuple[float, tuple[float, ...] | None] = (self.least, None)
        for factor in self.scales:
            scale = self.scale * factor
            size = [round(n * scale) for n in self.template.shape[::-1]]  # w, h
            if min(size) < 4 or size[0] > grey.shape[1] or size[1] > grey.shape[0]:
                continue
            small = cv2.resize(self.template, size, interpolation=cv2.INTER_AREA)
            match = cv2.matchTemplate(grey, small, cv2.TM_CCOEFF_NORMED)
            _, score, _, place = cv2.minMaxLoc(match)
            if np.isfinite(score) and score > best[0]:
                best = (score, (*place, *size, scale))
        if best[1] is None:
            return []
        x, y, w, h, self.scale = map(float, best[1])
        return [Track(self.target, x, y, w, h, min(best[0], 1.0), 0)]


class CamShift:
    """Follows the hues of the first box (Bradski 1998; cv2.CamShift).

    The histogram leaves out pixels without a colour of their own: weak saturation, or dark.
    """

    colourful = ((0, 60, 32), (180, 255, 255))  # HSV as OpenCV scales it
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 10, 1)

    def __init__(self, target: str) -> None:
        self.target = target

    def init(self, image: np.ndarray, box: Rect) -> None:
        """See `Follower.init`."""
        self.window: Sequence[int] = _inside(box, image)
        x, y, w, h = self.window
        hsv = cv2.cvtColor(image[y : y + h, x : x + w], cv2.COLOR_BGR2HSV)
        self.hues = cv2.calcHist([hsv], [0], cv2.inRange(hsv, *self.colourful), [32], [0, 180])
        cv2.normalize(self.hues, self.hues, 0, 255, cv2.NORM_MINMAX)

    def update(self, image: np.ndarray) -> list[Track]:
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
        back = cv2.calcBackProject([hsv], [0], self.hues, [0, 180], 1)
        back = cv2.bitwise_and(back, cv2.inRange(hsv, *self.colourful))
        _, window = cv2.CamShift(back, self.window, self.stop)
        x, y, w, h = window
        if min(w, h) < 3:
            return []  # nothing of its colour; goes on from the last window that held some
        self.window = window
        score = float(back[y : y + h, x : x + w].mean()) / 255
        return [Track(self.target, x, y, w, h, score, 0)]


class OpenCvTracker:
    """A tracker of OpenCV's contrib modules, in a process whose OpenCV has them.

    Parameters
    ----------
    target
        Name that its boxes are given.
    name
        Of the tracker, as `scripts/peer_worker.py` knows it.
    """

    def __init__(self, target: str, name: str) -> None:
        self.target = target
        self._process = PeerProcess(python_with_contrib(), name)

    def init(self, image: np.ndarray, box: Rect) -> None:
        """See `Follower.init`."""
        self._process.ask(image, _inside(box, image))

    def update(self, image: np.ndarray) -> list[Track]:
        boxes, self.milliseconds = self._process.ask(image)
        return [Track(self.target, x, y, w, h, score, 0) for _, x, y, w, h, score in boxes]


class CocoDetector:
    """A network trained on COCO's 80 classes; its nearest class stands for a target.

    Parameters
    ----------
    targets
        Names of the targets whose boxes are reported.
    name
        Of the network, as `scripts/peer_worker.py` knows it.
    """

    classes = {"sports ball": "green_ball", "stop sign": "stop_sign"}  # noqa: RUF012

    def __init__(self, targets: tuple[str, ...], name: str) -> None:
        self.targets = targets
        self._process = PeerProcess(python_with_coco(), name)

    def update(self, image: np.ndarray) -> list[Track]:
        boxes, self.milliseconds = self._process.ask(image)
        found = [Track(self.classes[c], x, y, w, h, score, 0) for c, x, y, w, h, score in boxes]
        return [t for t in found if t.target in self.targets]


def _inside(box: Rect, image: np.ndarray) -> tuple[int, int, int, int]:
    """Return the box in whole pixels, cut at the image's border, at least 2 px wide and high."""
    height, width = image.shape[:2]
    x, y = min(max(round(box[0]), 0), width - 2), min(max(round(box[1]), 0), height - 2)
    return (
        x,
        y,
        max(min(round(box[0] + box[2]), width) - x, 2),
        max(min(round(box[1] + box[3]), height) - y, 2),
    )


@dataclass(frozen=True)
class Peer:
    """How to make a peer, and what it is given.

    Attributes
    ----------
    make : takes a target, or a tuple of targets where `one_pass` is set
    given : whether it is given the first true box
    one_pass : whether one look finds all targets
    python : returns the interpreter that the peer runs in, None where it is not installed
    """

    make: Callable[..., Method]
    given: bool = False
    one_pass: bool = False
    python: Callable[[], Path | None] | None = None

    @property
    def installed(self) -> bool:
        """Whether it can run here."""
        return self.python is None or self.python() is not None


PEERS = {
    "nothing": Peer(Nothing),
    "centre box": Peer(CentreBox),
    "template": Peer(Template, given=True),
    "CamShift": Peer(CamShift, given=True),
    "HSV + Kalman": Peer(ColourDetector),
    "KCF": Peer(lambda t: OpenCvTracker(t, "kcf"), given=True, python=python_with_contrib),
    "CSRT": Peer(lambda t: OpenCvTracker(t, "csrt"), given=True, python=python_with_contrib),
    "NanoDet": Peer(lambda t: CocoDetector(t, "nanodet"), one_pass=True, python=python_with_coco),
    "CenterNet": Peer(lambda t: CocoDetector(t, "centernet"), one_pass=True, python=python_with_coco),
}


def run_peer(
    peer: Peer, folder: Path, targets: Iterable[str], progress: Callable[[], None] = lambda: None
) -> list[Result]:
    """Run a peer over a sequence; return a result for each labelled target.

    Its forecast is that of a constant-velocity Kalman filter over its boxes.

    A peer that is given the first true box has none for stills, nor where the target never comes: no result
    then. Frames before that box count as frames without an answer.

    Parameters
    ----------
    peer
        One of `PEERS`.
    folder
        The labelled sequence.
    targets
        Names; those that the sequence has no labels of are left out.
    progress
        Called after each frame.

    Raises
    ------
    PvmError
        If the sequence has no labels, or the peer's process ends.
    """
    stream = FolderStream(folder)
    if stream.truth is None:
        raise PvmError(f"no groundtruth.csv in {folder}")
    labelled = tuple(t for t in targets if t in stream.truth.targets)
    if peer.given:
        seen = {b.target for path in stream.paths for b in stream.truth.boxes.get(path.name, ())}
        labelled = tuple(t for t in labelled if t in seen and not is_stills(folder))
    results = []
    for group in [labelled] if peer.one_pass and labelled else [(t,) for t in labelled]:
        results += measure_sequence(folder, group, _step(peer, folder, group), progress, forecaster())
    return results


def _step(peer: Peer, folder: Path, group: tuple[str, ...]) -> Callable[[Frame], tuple[list[Track], float]]:
    """Return what shows a frame to the peer, and the first true box where that is its due."""

    def make() -> Method:
        return peer.make(group if peer.one_pass else group[0])

    method, waits = make(), peer.given

    def step(frame: Frame) -> tuple[list[Track], float]:
        nonlocal method, waits
        if is_stills(folder) and not peer.one_pass:
            method = make()  # unrelated images: nothing is carried on
        if not waits:
            tracks, seconds = timed(method.update, frame.image)
            return tracks, getattr(method, "milliseconds", 1e3 * seconds) / 1e3
        box = next((b for b in frame.boxes or () if b.target == group[0]), None)
        if box is None:
            return [], float("nan")
        cast(Follower, method).init(frame.image, (box.x, box.y, box.w, box.h))
        waits = False
        return [Track(box.target, box.x, box.y, box.w, box.h, 1.0, 0)], float("nan")

    return step
