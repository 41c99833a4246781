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
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np


class OpenCvTracker:
    """A tracker of OpenCV's contrib modules: KCF (Henriques et al. 2015), CSRT (Lukezic et al. 2017).

    Parameters
    ----------
    name
        "kcf" or "csrt".
    _folder
        Unused: it has no files.
    """

    def __init__(self, name: str, _folder: Path) -> None:
        self.make = {"kcf": cv2.TrackerKCF_create, "csrt": cv2.TrackerCSRT_create}[name]

    def look(self, image: np.ndarray, box: list[int] | None) -> list[list]:
        """Start at a box, or track; return the box, where the tracker still has it.

        Parameters
        ----------
        image
            (H, W, 3) uint8 BGR.
        box
            x, y, w, h to start at, px; None to track.

        Returns
        -------
        list
            At most one list of class name (empty), x, y, w, h (px), score.
        """
        if box is not None:
            self.tracker = self.make()
            self.tracker.init(image, box)
            return [["", *map(float, box), 1.0]]
        good, box = self.tracker.update(image)
        return [["", *map(float, box), 1.0]] if good else []


class CocoDetector:
    """The best box of each class that matters, of a network that `convert_coco.py` left in `folder`.

    The frame keeps its shape in the network's square input, grey on the free side: stretched,
    balls are no balls any more (NanoDet lost 0.2 of AUC on them).

    Parameters
    ----------
    name
        Of the network; its file is NAME.onnx.
    folder
        Where the file is.
    """

    classes = {11: "stop sign", 32: "sports ball"}  # noqa: RUF012 (index among COCO's 80)
    least = 0.2  # score; 0.3 is usual, and finds a third fewer balls for a third of the false alarms

    def __init__(self, name: str, folder: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        self.net = onnxruntime.InferenceSession(folder / f"{name}.onnx", options)

    def look(self, image: np.ndarray, _box: None) -> list[list]:
        """Return at most one box of each class, laid out as `OpenCvTracker.look` does.

        Parameters
        ----------
        image
            (H, W, 3) uint8 BGR.
        _box
            Unused: a detector is not started.
        """
        height, width = image.shape[:2]
        scale = self.side / max(height, width)
        small = cv2.resize(image, (round(width * scale), round(height * scale)))
        square = np.full((self.side, self.side, 3), 114, np.float32)
        square[: small.shape[0], : small.shape[1]] = small
        scores, boxes = self.detect(square)
        found = []
        for index, name in self.classes.items():
            best = scores[:, index].argmax()
            score = float(scores[best, index])
            if score >= self.least:
                corners = np.clip(boxes(best) / scale, 0, [width, height] * 2)
                found.append([name, *corners[:2], *(corners[2:] - corners[:2]), score])
        return found

    def run(self, tensor: np.ndarray) -> list[np.ndarray]:
        """Return the network's outputs."""
        return self.net.run(None, {self.net.get_inputs()[0].name: np.ascontiguousarray(tensor[None])})


class NanoDet(CocoDetector):
    """NanoDet (github.com/RangiLyu/nanodet): each side's distance as a distribution over 11 bins.

    Input: BGR less ImageNet's mean, over its deviation. Outputs for strides 8, 16, 32: scores
    (1, cells, 80), then distances left, top, right, bottom (1, cells, 4 * 11), in strides.
    """

    side, strides = 416, (8, 16, 32)
    mean = np.array([103.53, 116.28, 123.675], np.float32)
    deviation = np.array([57.375, 57.12, 58.395], np.float32)

    def detect(self, picture: np.ndarray) -> tuple[np.ndarray, Callable[[int], np.ndarray]]:
        """Return scores (cells, 80), and what gives a cell's corners in px of the input."""
        out = self.run(((picture - self.mean) / self.deviation).transpose(2, 0, 1))
        cells = [(i, s) for s in self.strides for i in range((self.side // s) ** 2)]
        bins = np.concatenate([o[0] for o in out[3:]])

        def corners(k: int) -> np.ndarray:
            index, stride = cells[k]
            row, column = divmod(index, self.side // stride)
            share = np.exp(bins[k].reshape(4, -1) - bins[k].max())
            distances = share @ np.arange(share.shape[1]) / share.sum(1)
            return stride * (np.tile([column + 0.5, row + 0.5], 2) + distances * [-1, -1, 1, 1])

        return np.concatenate([o[0] for o in out[:3]]), corners


class CenterNet(CocoDetector):
    """CenterNet on MobileNetV3 (github.com/610265158/mobilenetv3_centernet).

    Input: RGB 0..255, (H, W, C). Outputs at stride 4: the heat map (1, 128, 128, 80) and the
    distances to left, top, right, bottom, px of the input.
    """

    side, stride = 512, 4

    def detect(self, picture: np.ndarray) -> tuple[np.ndarray, Callable[[int], np.ndarray]]:
        """Return scores (cells, 80), and what gives a cell's corners in px of the input."""
        heat, sides = self.run(picture[..., ::-1])

        def corners(k: int) -> np.ndarray:
            row, column = divmod(int(k), heat.shape[2])
            centre = np.tile([column, row], 2) * self.stride
            return centre + sides[0, row, column] * [-1, -1, 1, 1]

        return heat.reshape(-1, heat.shape[3]), corners


# a new worker is a class with `look(image, box)` and an entry here
WORKERS = {"kcf": OpenCvTracker, "csrt": OpenCvTracker, "nanodet": NanoDet, "centernet": CenterNet}


def main(name: str, folder: Path) -> int:
    """Answer requests until stdin ends.

    Parameters
    ----------
    name
        One of `WORKERS`.
    folder
        Where its files are.
    """
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
