"""One peer in a process of its own: images on stdin, boxes on stdout. Needs no package of ours.

    python peer_worker.py NAME FOLDER

Each request is a line of JSON, {"shape": [H, W, 3], "box": [x, y, w, h] or null}, and the image's
bytes (BGR); a box starts a tracker there. Each answer is a line of JSON, {"boxes": [[class, x, y,
w, h, score], ...], "milliseconds": F}. The end of stdin ends it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import cv2
import numpy as np


class OpenCvTracker:
    """A tracker of OpenCV's contrib modules: KCF (Henriques et al. 2015), CSRT (Lukezic et al. 2017)."""

    def __init__(self, name: str, _folder: Path) -> None:
        self.make = {"kcf": cv2.TrackerKCF_create, "csrt": cv2.TrackerCSRT_create}[name]

    def look(self, image: np.ndarray, box: list[int] | None) -> list[list]:
        """Start at the box if there is one, else track; return the box, if it still has it."""
        if box is not None:
            self.tracker = self.make()
            self.tracker.init(image, box)
            return [["", *map(float, box), 1.0]]
        good, box = self.tracker.update(image)
        return [["", *map(float, box), 1.0]] if good else []


WORKERS = {"kcf": OpenCvTracker, "csrt": OpenCvTracker}


def main(name: str, folder: Path) -> int:
    """Answer until stdin ends."""
    cv2.setNumThreads(1)  # one core for everybody: the table compares times
    worker = WORKERS[name](name, folder)
    while line := sys.stdin.buffer.readline():
        head = json.loads(line)
        height, width, channels = head["shape"]
        data = sys.stdin.buffer.read(height * width * channels)
        image = np.frombuffer(data, np.uint8).reshape(height, width, channels)
        begin = time.perf_counter()
        boxes = worker.look(image, head["box"])
        taken = 1e3 * (time.perf_counter() - begin)
        print(json.dumps({"boxes": boxes, "milliseconds": taken}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
