"""Real video to learn from: folders of frames, video files and bags, decoded once, cut into clips.

A network learns to predict from any of it. What a frame holds is not known, and then nothing is taught about
targets; or it is known to hold none, and then every box would be an error.

Frames wait in memory, shrunk, `MEMORY` bytes at the most. Where there is more video than that, each run of
`STEP` clips draws from a window of pieces that moves on through all of them, so that little is decoded
for each clip, and a clip is still fixed by the seed and its number.
"""

from __future__ import annotations

import copy
import itertools
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from pvm_perception.errors import PvmError, warn
from pvm_perception.streams.bags import is_bag
from pvm_perception.streams.files import IMAGES, FolderStream, VideoStream, open_stream
from pvm_perception.streams.generated import Clip
from pvm_perception.streams.scenes.light import Camera
from pvm_perception.streams.stills import VirtualCamera
from pvm_perception.types import Box, Truth

VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v", ".ogv")
SIDE = 320  # px, the longer side of a frame in memory at the most
PIECE = 64  # frames of a video that are decoded together
MEMORY = 1 << 29  # bytes of decoded frames in one process
STEP = 24  # clips after which another piece comes in
LEAST = 4  # frames that a piece must have to be worth anything
EVERY_SECOND, BACKWARDS, MIRRORED = 0.2, 0.4, 0.5  # how often clips are made so
PAUSES = 0.05  # share of the clips in which frames come late: the picture stands still, and then jumps
AS_IT_IS = 0.7  # share of the clips without further light, lens and noise
STAYS = 0.7  # share of the clips in which only the video moves


@dataclass(frozen=True)
class Piece:
    """Frames `begin` to `end` of a video."""

    path: Path
    begin: int
    end: int


@dataclass(frozen=True)
class Shot:
    """Consecutive frames of a video, (T, H, W, 3) uint8 BGR, as `stills.VirtualCamera` takes them."""

    images: np.ndarray
    boxes: tuple[Box, ...] = field(default=())

    def pictures(self) -> Sequence[np.ndarray]:
        """Return the frames."""
        return list(self.images)


class Footage:
    """All the video of some paths, a piece of it at a time.

    Parameters
    ----------
    paths
        Folders of frames, video files, bags, and folders of any of these.
    memory
        Bytes of decoded frames that may lie in memory.

    Raises
    ------
    PvmError
        A path that does not exist, or nothing in any that can be read.
    """

    def __init__(self, paths: Iterable[Path], memory: int = MEMORY) -> None:
        paths = [Path(p) for p in paths]
        self.pieces = [piece for path in paths for piece in _pieces(path)]
        if not self.pieces:
            raise PvmError(
                f"no video in {', '.join(map(str, paths))}: folders of at least {LEAST} frames, "
                f"{', '.join(VIDEOS[:4])} files or bags"
            )
        self.window = max(1, memory // (PIECE * SIDE * SIDE * 3))
        self._decoded: OrderedDict[Piece, np.ndarray] = OrderedDict()

    def frames(self, piece: Piece) -> np.ndarray:
        """Return a piece's frames, (T, H, W, 3) uint8; decoded at the first call, then from memory."""
        if piece not in self._decoded:
            while len(self._decoded) >= self.window:
                self._decoded.popitem(last=False)
            self._decoded[piece] = _decoded(piece)
        self._decoded.move_to_end(piece)
        return self._decoded[piece]

    def shot(self, rng: np.random.Generator, number: int, frames: int) -> Shot:
        """Return the frames of a clip: mirrored or not, forwards or backwards, each or every second one.

        Parameters
        ----------
        rng
            Draws which.
        number
            The clip's; which pieces it may come from depends on it, where they don't all fit in memory.
        frames
            How many; where the piece is shorter, it is shown there and back.
        """
        order = np.random.default_rng(len(self.pieces)).permutation(len(self.pieces))
        for _ in range(len(self.pieces)):
            place = number // STEP + int(rng.integers(min(self.window, len(order))))
            images = self.frames(self.pieces[order[place % len(order)]])
            if len(images) >= LEAST:
                break
        else:
            raise PvmError("none of the video could be decoded")
        stride = 2 if rng.random() < EVERY_SECOND and len(images) >= 2 * min(frames, LEAST) else 1
        images = images[int(rng.integers(stride)) :: stride]
        start = int(rng.integers(max(1, len(images) - frames + 1)))
        at = (start + np.arange(frames)) % (2 * len(images) - 2)  # there, and back
        at = np.where(at < len(images), at, 2 * len(images) - 2 - at)
        if rng.random() < PAUSES:
            at = at[np.cumsum(rng.random(frames) < rng.uniform(0.15, 0.7))[:frames] % frames]
        images = images[at[::-1] if rng.random() < BACKWARDS else at]
        return Shot(images[:, :, ::-1] if rng.random() < MIRRORED else images)


def footage_clip(rng: np.random.Generator, shot: Shot, size: tuple[int, int], known: bool) -> Clip:
    """Return a training clip of real video, of the network's size; its truth is none, or `Truth.unknown`.

    Parameters
    ----------
    rng
        Draws which part of the picture, and in half of the clips more light, lens and noise.
    shot
        From `Footage.shot`.
    size
        (rows, cols) of the network's input.
    known
        Whether it is known that no target is in any of the frames.
    """
    frames = len(shot.images)
    camera = VirtualCamera(rng, shot, frames, size, moves=rng.random() > STAYS)
    if rng.random() < AS_IT_IS:
        camera.camera = _Plain()
    images = np.stack([np.ascontiguousarray(camera.render(k)[0]) for k in range(frames)])
    truth = Truth.rows(()) if known else Truth.unknown(size)
    truth = np.repeat(truth[None], frames, axis=0)  # (T, M, Truth.COLUMNS)
    return Clip(images, truth, np.full((frames, 4), np.nan, np.float32))  # how the camera moved is not known


class _Plain(Camera):
    """A lens that shows what is before it."""

    def __init__(self) -> None: ...

    def develop(self, frame: np.ndarray, _light: np.ndarray) -> np.ndarray:
        return (np.sqrt(np.minimum(frame, 1)) * 255 + 0.5).astype(np.uint8)


def _pieces(path: Path) -> list[Piece]:
    """Return the pieces of whatever a path is; what cannot be read inside a folder is named and left out."""
    if not path.exists():
        raise PvmError(f"{path} does not exist")
    inner = path / "frames" if (path / "frames").is_dir() else path
    frames = path.is_dir() and any(p.suffix.lower() in IMAGES for p in inner.iterdir())
    if path.is_dir() and not frames and not is_bag(path):
        found = []
        for child in sorted(path.iterdir()):
            if child.is_dir() or child.suffix.lower() in VIDEOS or is_bag(child):
                try:
                    found += _pieces(child)
                except PvmError as error:
                    warn(f"{error}; left out")
        return found
    count = open_stream(path).length or 0
    ends = range(0, count, PIECE)
    return [Piece(path, k, min(k + PIECE, count)) for k in ends if min(k + PIECE, count) - k >= LEAST]


def _decoded(piece: Piece) -> np.ndarray:
    """Return a piece's frames, shrunk, (T, H, W, 3) uint8; none where it cannot be decoded."""
    small: list[np.ndarray] = []
    try:
        for image in _read(piece):
            scale = min(1.0, SIDE / max(image.shape[:2]))
            size = tuple(max(1, round(n * scale)) for n in image.shape[1::-1])
            if small and small[0].shape[1::-1] != size:
                break  # another camera from here on
            small.append(image if scale == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    except PvmError as error:
        warn(f"{error}; left out")
    return np.stack(small) if small else np.zeros((0, 1, 1, 3), np.uint8)


def _read(piece: Piece) -> Iterable[np.ndarray]:
    """Return a piece's frames in their own size."""
    stream = open_stream(piece.path)
    if isinstance(stream, FolderStream):
        stream = copy.copy(stream)
        stream.paths = stream.paths[piece.begin : piece.end]
        return (frame.image for frame in stream)
    if isinstance(stream, VideoStream):
        stream.capture.set(cv2.CAP_PROP_POS_FRAMES, piece.begin)
        stream.length = None  # that fewer come than the file has is no fault now
    else:
        stream.first = piece.begin
    return (frame.image for frame in itertools.islice(stream, piece.end - piece.begin))
