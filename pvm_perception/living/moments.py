"""The moment memory: short runs of frames on the disk, each a file that is whole or not there.

A moment is a zip archive of JPEG pictures and `moment.json`; the folder is the index, so that nothing can
disagree after a crash. Where the memory is full, of the two moments that are most alike the older one goes.
"""

from __future__ import annotations

import contextlib
import json
import math
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pvm_perception.atomic_file import atomic_file
from pvm_perception.errors import PvmError
from pvm_perception.types import Track

SIDE = 640  # px, the longer side of a picture in memory at the most
QUALITY = 85  # of the JPEG pictures
THUMB = (8, 6)  # columns and rows of the picture by which moments are compared
FORMAT = "pvm_perception moment/1"
MB = 1 << 20
PICTURES = 48  # of a place that tell what it looks like
MOST_FRAMES = 64  # of a moment that is read


@dataclass(frozen=True)
class Moment:
    """A short run of consecutive frames with what the tracker believed.

    Attributes
    ----------
    images : (H, W, 3) uint8 BGR each
    stamps : seconds, by frame; NaN where there was none
    motion : (4,) of the camera as `vision.motion` defines it, by frame; None where it was not known
    tracks : by frame, in pixels of `images`
    surprise : mean surprise, by frame
    before, after : for how many frames each track id had been believed when the moment began, and how many
        frames it was believed after the end
    best : each track's highest score in all these frames
    """

    images: list[np.ndarray]
    stamps: list[float]
    motion: list[list[float] | None]
    tracks: list[list[Track]]
    surprise: list[float]
    before: dict[int, int] = field(default_factory=dict)
    after: dict[int, int] = field(default_factory=dict)
    best: dict[int, float] = field(default_factory=dict)


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Return a tiny grey picture of an image as (48,) float32, full range 0..1, its mean taken off."""
    grey = cv2.cvtColor(cv2.resize(image, THUMB, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    small = grey.astype(np.float32).reshape(-1) / 255
    return small - 0.7 * small.mean()


def nearest(thumbs: Sequence[np.ndarray], thumb: np.ndarray) -> float:
    """Return the distance of a thumbnail to the most similar of others.

    Parameters
    ----------
    thumbs
        (48,) each; infinite where there is none.
    thumb
        (48,) as `thumbnail` makes it.
    """
    if not thumbs:
        return math.inf
    return float(np.sqrt(((np.stack(thumbs) - thumb) ** 2).mean(1).min()))


def shrunk(image: np.ndarray, side: int = SIDE) -> tuple[np.ndarray, float]:
    """Return a copy of an image that is small enough, and its scale.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    side
        The longer side of the copy at the most, px.
    """
    scale = min(1.0, side / max(image.shape[:2]))
    if scale == 1.0:
        return image.copy(), 1.0
    size = tuple(max(1, round(n * scale)) for n in image.shape[1::-1])
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), scale


class MomentMemory:
    """Moments on the disk, bounded in size.

    Parameters
    ----------
    folder
        Where; it is made. Other files in it are left alone.
    size
        MB that the moments may take together.

    Attributes
    ----------
    damaged : files that could not be read as moments, left out

    Raises
    ------
    PvmError
        The folder cannot be made or listed.
    """

    def __init__(self, folder: str | Path, size: float = 200.0) -> None:
        self.folder, self.size = Path(folder), size
        self.damaged: list[Path] = []
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            paths = sorted(self.folder.glob("[0-9]*.moment"))
        except OSError as error:
            raise PvmError(f"the memory {folder} cannot be opened: {error.strerror or error}") from error
        self._thumbs: dict[Path, np.ndarray] = {}
        self._bytes: dict[Path, int] = {}
        for path in paths:
            try:
                self._thumbs[path] = np.array(_header(path)["thumb"], np.float32).reshape(math.prod(THUMB))
                self._bytes[path] = path.stat().st_size
            except (PvmError, OSError, ValueError, KeyError, TypeError):
                self.damaged.append(path)
        self._next = 1 + max((_number(p) for p in paths), default=0)

    def __len__(self) -> int:
        return len(self._thumbs)

    @property
    def paths(self) -> list[Path]:
        """The moments' files, oldest first."""
        return sorted(self._thumbs)

    @property
    def megabytes(self) -> float:
        """How much all moments take, MB."""
        return sum(self._bytes.values()) / MB

    def novelty(self, thumb: np.ndarray) -> float:
        """Return the distance to the most similar moment, a share of full range; infinite of none."""
        return nearest(list(self._thumbs.values()), thumb)  # at once: another thread may add one

    def add(self, moment: Moment) -> Path:
        """Write a moment; it is on the disk when this returns, and the memory is within its bound.

        Raises
        ------
        PvmError
            It cannot be written; the memory is as it was.
        """
        path = self.folder / f"{self._next:08d}.moment"
        self._next += 1
        thumb = thumbnail(moment.images[0])
        tracks = [[asdict(t) for t in tracks] for tracks in moment.tracks]
        header = {
            "format": FORMAT,
            "thumb": [round(float(v), 4) for v in thumb],
            "stamps": [None if math.isnan(s) else s for s in moment.stamps],
            "motion": moment.motion,
            "tracks": tracks,
            "surprise": moment.surprise,
            "before": moment.before,
            "after": moment.after,
            "best": moment.best,
        }
        with atomic_file(path, "moment") as part, zipfile.ZipFile(part, "w") as file:
            file.writestr("moment.json", json.dumps(header))
            for k, image in enumerate(moment.images):
                good, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
                if not good:
                    raise PvmError("a picture of a moment could not be encoded")
                file.writestr(f"{k:02d}.jpg", jpeg.tobytes())
        self._thumbs[path], self._bytes[path] = thumb, path.stat().st_size
        self._shrink()
        return path

    def _shrink(self) -> None:
        """Remove what others resemble most until the memory is within its bound."""
        while self.megabytes > self.size and len(self) > 1:
            paths = self.paths
            thumbs = np.stack([self._thumbs[p] for p in paths])
            square = (thumbs**2).sum(1)
            far = square[:, None] + square[None] - 2 * thumbs @ thumbs.T
            far[np.arange(len(far)), np.arange(len(far))] = np.inf
            one, other = np.unravel_index(int(far.argmin()), far.shape)
            self.forget(paths[min(int(one), int(other))])

    def forget(self, path: Path) -> None:
        """Remove a moment."""
        path.unlink(missing_ok=True)
        del self._thumbs[path], self._bytes[path]

    def moments(self) -> Iterator[tuple[Path, Moment]]:
        """Yield the moments that can be read, oldest first."""
        for path in self.paths:
            try:
                yield path, read_moment(path)
            except PvmError:
                self.damaged.append(path)

    def pictures(self, most: int = PICTURES) -> list[np.ndarray]:
        """Return the first picture of some moments, evenly over all, (H, W, 3) uint8 BGR each.

        Parameters
        ----------
        most
            How many at the most.
        """
        paths, found = self.paths, []
        for k in np.linspace(0, len(paths) - 1, min(most, len(paths))).round().astype(int):
            with contextlib.suppress(PvmError):  # damaged, or gone since
                found += read_moment(paths[int(k)], 1).images
        return found


def _number(path: Path) -> int:
    return int(path.stem) if path.stem.isdigit() else 0


def _header(path: Path) -> dict[str, Any]:
    """Return a moment's `moment.json`."""
    try:
        with zipfile.ZipFile(path) as file:
            header = json.loads(file.read("moment.json"))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise PvmError(f"{path} is no moment: {type(error).__name__}") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise PvmError(f"{path} is no moment of this version")
    return header


def read_moment(path: Path, most: int = MOST_FRAMES) -> Moment:
    """Read a moment's file.

    Parameters
    ----------
    path
        The file.
    most
        How many of its frames are read, from the first one on.

    Raises
    ------
    PvmError
        It is damaged or no moment.
    """
    header = _header(path)
    try:
        with zipfile.ZipFile(path) as file:
            names = sorted(n for n in file.namelist() if n.endswith(".jpg"))[:MOST_FRAMES]
            read = [
                cv2.imdecode(np.frombuffer(file.read(n), np.uint8), cv2.IMREAD_COLOR) for n in names[:most]
            ]
        images = [image for image in read if image is not None]
        if not read or len(images) < len(read) or any(i.shape != images[0].shape for i in images):
            raise PvmError("its pictures cannot be read, or differ in size")
        found = Moment(
            images,
            [math.nan if s is None else float(s) for s in header["stamps"][:most]],
            [None if m is None else [float(v) for v in m] for m in header["motion"][:most]],
            [[Track(**t) for t in tracks] for tracks in header["tracks"][:most]],
            [float(s) for s in header["surprise"][:most]],
            {int(k): int(v) for k, v in header["before"].items()},
            {int(k): int(v) for k, v in header["after"].items()},
            {int(k): float(v) for k, v in header.get("best", {}).items()},  # older ones have none
        )
        if {len(header[part]) for part in ("stamps", "motion", "tracks")} != {len(names)}:
            raise PvmError("its parts are of different lengths")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile, cv2.error) as error:
        raise PvmError(f"{path} is no moment: {error}") from error
    return found
