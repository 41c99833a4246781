"""groundtruth.csv: `frame,target,x,y,w,h[,visible_fraction][,id][,weight][,scene]`; a blank box = absent.

A video's lies beside it: clip.groundtruth.csv beside clip.webm, with each frame's number, from 0, as name.
Sets that were labelled for learning may call the file labels.csv; it is read the same way. A target such as
`other_ball` or `other_sign` is a thing that resembles a target and is none.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pvm_perception.errors import PvmError, writing
from pvm_perception.types import Box

COLUMNS = ("frame", "target", "x", "y", "w", "h")
NAMES = ("groundtruth.csv", "labels.csv")  # of a folder's labels; the first that exists is read
OTHER = "other_"  # how the names of things that are no target begin


@dataclass(frozen=True)
class GroundTruth:
    """Labels of one sequence.

    Attributes
    ----------
    boxes : by frame name, all boxes in it (none = labelled as empty)
    targets : what was labelled at all, in order of appearance
    scenes : by frame name, the scene it belongs to, where the file has that column
    """

    boxes: dict[str, tuple[Box, ...]]
    targets: tuple[str, ...]
    scenes: dict[str, str] = field(default_factory=dict)


def labels_of(folder: Path) -> Path | None:
    """Return the file of a folder's labels; None where it has none."""
    return next((folder / name for name in NAMES if (folder / name).is_file()), None)


def labels_of_video(video: Path) -> Path | None:
    """Return the file of a video's labels; None where it has none."""
    path = video.with_suffix(".groundtruth.csv")
    return path if path.is_file() else None


def read_groundtruth(path: str | Path) -> GroundTruth:
    """Read a labels file.

    Raises
    ------
    PvmError
        Naming file, line and remedy: no file, a missing column, a number that is none.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            missing = [c for c in COLUMNS if c not in (rows.fieldnames or ())]
            if missing:
                raise PvmError(
                    f"{path}: no column {missing[0]!r}; the first line must name "
                    f"{','.join(COLUMNS)}[,visible_fraction]"
                )
            boxes: dict[str, tuple[Box, ...]] = {}
            targets: dict[str, None] = {}
            scenes: dict[str, str] = {}
            for row in rows:
                name, target = row["frame"], row["target"]
                if not name or not target:
                    raise PvmError(f"{path}, line {rows.line_num}: frame and target must be given")
                targets[target] = None
                boxes.setdefault(name, ())
                if row.get("scene"):
                    scenes[name] = row["scene"] or ""
                numbers = [(row[c] or "").strip() for c in COLUMNS[2:]]
                if not any(numbers):
                    continue
                boxes[name] += (_box(path, rows.line_num, target, numbers, row),)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PvmError(f"{path} cannot be read: {error}") from error
    return GroundTruth(boxes, tuple(targets), scenes)


def _box(path: Path, line: int, target: str, numbers: list[str], row: dict[str, str | None]) -> Box:
    visible, instance, sure = ((row.get(c) or "").strip() for c in ("visible_fraction", "id", "weight"))
    try:
        x, y, w, h = map(float, numbers)
        share = float(visible) if visible else 1.0
        which = int(instance) if instance else None
        weight = float(sure) if sure else 1.0
    except ValueError:
        x = y = w = h = share = weight = math.nan
    if not all(map(math.isfinite, (x, y, w, h, share))) or w < 0 or h < 0:
        raise PvmError(
            f"{path}, line {line}: x, y, w, h must be numbers, or all blank where the "
            "target is absent; an id, where there is one, a whole number"
        )
    if not 0 <= weight <= 1:
        raise PvmError(f"{path}, line {line}: the weight must be from 0 (neither right nor wrong) to 1")
    return Box(target, x, y, w, h, share, which, weight)


def write_groundtruth(
    path: str | Path, frames: Iterable[tuple[str, Iterable[Box]]], targets: Iterable[str]
) -> None:
    """Write labels: a row for each box, and a blank row for each target that a frame lacks.

    Parameters
    ----------
    path
        The file, which is written over.
    frames
        Each frame's name, and its boxes in pixels.
    targets
        Names of the targets that are labelled; boxes of others are not written.

    Raises
    ------
    PvmError
        If the file cannot be written.
    """
    targets = tuple(targets)
    with writing(path), Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, "visible_fraction"])
        for name, boxes in frames:
            boxes = tuple(boxes)
            for target in targets:
                mine = [b for b in boxes if b.target == target]
                for b in mine:
                    writer.writerow(
                        [name, target, *(f"{v:.2f}" for v in (b.x, b.y, b.w, b.h)), f"{b.visible:.3f}"]
                    )
                if not mine:
                    writer.writerow([name, target, "", "", "", "", ""])
