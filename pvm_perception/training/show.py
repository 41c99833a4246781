"""Show a model targets in a few labelled frames: closed form, in seconds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from pvm_perception.api import Tracker
from pvm_perception.bar import Bar
from pvm_perception.core.shown import MOST_BOXES, check_name
from pvm_perception.errors import PvmError
from pvm_perception.streams.files import FolderStream
from pvm_perception.streams.groundtruth import OTHER
from pvm_perception.types import Box
from pvm_perception.vision.compressed_image import read_image

LEAST_VISIBLE = 0.5  # share of a target from which its box is shown


def boxes_by_target(folders: Sequence[Path], some: bool = True) -> dict[str, list[tuple[Path, Box]]]:
    """Return each target's boxes that can be shown, with their images, in the folders' order.

    Parameters
    ----------
    folders
        Sequences: frames and groundtruth.csv.
    some
        Whether there must be a box.

    Raises
    ------
    PvmError
        No images or labels, a target with an odd name, or no box at all.
    """
    found: dict[str, list[tuple[Path, Box]]] = {}
    for folder in folders:
        stream = FolderStream(folder, part=(0.0, 1.0))
        if stream.truth is None:
            raise PvmError(f"no groundtruth.csv in {folder}")
        for path in stream.paths:
            for box in stream.truth.boxes[path.name]:
                if box.target.startswith(OTHER) or box.visible < LEAST_VISIBLE or not box.weight:
                    continue
                found.setdefault(check_name(box.target), []).append((path, box))
    if some and not found:
        raise PvmError(f"no box to learn from in {folders[0]}/groundtruth.csv")
    return found


def show(tracker: Tracker, folders: Sequence[Path], leave_out: Collection[str] = ()) -> dict[str, int]:
    """Show a tracker the targets of labelled folders.

    Of a target with more boxes than count, those are taken that lie evenly among them.

    Parameters
    ----------
    tracker
        Knows the targets afterwards.
    folders
        Sequences: frames and groundtruth.csv.
    leave_out
        Targets that are not shown.

    Returns
    -------
    dict
        How many boxes of each target it was shown.

    Raises
    ------
    PvmError
        As `boxes_by_target` and `Tracker.teach`.
    """
    lessons = {t: b for t, b in boxes_by_target(folders).items() if t not in leave_out}
    chosen = {
        target: [boxes[round(k)] for k in np.linspace(0, len(boxes) - 1, min(len(boxes), MOST_BOXES))]
        for target, boxes in lessons.items()
    }
    total = sum(map(len, chosen.values()))
    with Bar(total=total, unit="box", desc="shown", leave=False) as bar:
        for target, boxes in chosen.items():
            for path, box in boxes:
                tracker.teach(read_image(path), target, (box.x, box.y, box.w, box.h))
                bar.update()
    return {target: len(boxes) for target, boxes in chosen.items()}
