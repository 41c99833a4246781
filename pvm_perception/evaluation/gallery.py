"""All false boxes of an evaluation on one sheet: what was taken for a target that is not there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pvm_perception.evaluation.evaluate import Result
from pvm_perception.evaluation.report import BACKGROUND, HEAD, THUMB, frames_of
from pvm_perception.types import Frame
from pvm_perception.vision.compressed_image import write_image
from pvm_perception.vision.draw import WHITE, colour_of, draw_box, write

ACROSS, MOST = 6, 60  # tiles in a row, and on the sheet
CONTEXT = 5.0  # sides of a box that its tile shows
LEAST = 64.0  # source px that a tile shows at least


@dataclass(frozen=True)
class FalseBox:
    """The false boxes of one track, by the one of the highest score: x, y, w, h, score; source px."""

    sequence: str
    target: str
    frame: str
    box: np.ndarray
    frames: int  # with a false box of this track


def false_boxes(results: Iterable[Result]) -> list[FalseBox]:
    """Return the tracks that have false boxes, those with the most frames first."""
    found = []
    for r in results:
        tracks = defaultdict(list)
        for f in r.boxes:
            for k in np.flatnonzero(~f.hits):
                # unrelated images have no tracks: each frame stands for itself
                tracks[(f.frame if r.stills else ""), f.ids[k]].append((f.boxes[k], f.frame))
        for boxes in tracks.values():
            box, frame = max(boxes, key=lambda b: b[0][4])
            found.append(FalseBox(r.sequence, r.target, frame, box, len({name for _, name in boxes})))
    return sorted(found, key=lambda b: (-b.frames, -b.box[4]))


def draw_false_boxes(results: Iterable[Result], folders: dict[str, Path], path: Path) -> int:
    """Write a sheet with a tile for each track that has false boxes; return how many there are.

    A tile shows the surroundings of the false box of the highest score, the truth in white, and names
    the frame, the score, and the number of frames that have such a box. At most `MOST` tiles; no file where
    there is no false box.

    Parameters
    ----------
    results
        Of any sequences.
    folders
        Of the sequences, by name.
    path
        The picture file; not written where there is no false box.
    """
    found = false_boxes(results)
    tiles = []
    for sequence in dict.fromkeys(b.sequence for b in found[:MOST]):
        mine = [b for b in found[:MOST] if b.sequence == sequence]
        frames = frames_of(folders[sequence], {b.frame for b in mine})
        tiles += [_tile(b, frames[b.frame]) for b in mine]
    if not tiles:
        return 0
    blank = np.full_like(tiles[0], BACKGROUND)
    tiles += [blank] * (-len(tiles) % ACROSS)
    rows = [np.hstack(tiles[k : k + ACROSS]) for k in range(0, len(tiles), ACROSS)]
    write_image(path, np.vstack(rows))
    return len(found)


def _tile(b: FalseBox, frame: Frame) -> np.ndarray:
    """Return a picture of THUMB's size below two lines that name it."""
    height, width = frame.image.shape[:2]
    x, y, w, h, score = b.box
    across = min(max(CONTEXT * max(w, h), LEAST), float(max(height, width)))
    scale = THUMB[1] / across
    shift = THUMB[0] / 2 - scale * (x + w / 2), THUMB[1] / 2 - scale * (y + h / 2)
    picture = cv2.warpAffine(
        frame.image,
        np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]),
        THUMB,
        flags=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR,
        borderValue=(BACKGROUND,) * 3,
    )
    for box, colour in (
        *(((t.x, t.y, t.w, t.h), WHITE) for t in frame.boxes or () if t.target == b.target),
        ((x, y, w, h), colour_of(b.target)),
    ):
        draw_box(picture, tuple(scale * v + s for v, s in zip(box, (*shift, 0, 0), strict=True)), colour)
    head = np.full((2 * HEAD, THUMB[0], 3), BACKGROUND, np.uint8)
    write(head, f"{b.sequence} {b.frame}", (4, HEAD - 6), WHITE, 0.35)
    more = "1 frame" if b.frames == 1 else f"{b.frames} frames"
    write(head, f"{b.target} {score:.2f}, {more}", (4, 2 * HEAD - 6), colour_of(b.target), 0.35)
    return np.vstack([head, picture])
