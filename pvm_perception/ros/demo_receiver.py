"""The demo's receiver: a process that subscribes to detections and camera, as a user's node would.

It writes each detection with its delay to a table, the camera's frames as JPEG, and the node's pictures
(what it expects next, surprise, heat) as PNG; `demo` draws the video of them when all is over.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

from pvm_perception.errors import PvmError, writing
from pvm_perception.ros.faults import Guarded
from pvm_perception.ros.messages import tracks_of
from pvm_perception.ros.views import TITLES, decode_view
from pvm_perception.signals import Stop
from pvm_perception.vision.image_codec import decode_image


def _nanoseconds(header: Any) -> int:
    return int(header.stamp.sec * 1_000_000_000 + header.stamp.nanosec)


class GuardedNode(Guarded, Node):
    """A node that an odd message does not end."""


class Receiver:
    """Writes what arrives to a folder.

    Parameters
    ----------
    node
        Of rclpy.
    folder
        Where pictures are written.
    file
        Text file, open to write, that takes the table of boxes.
    """

    def __init__(self, node: Any, folder: Path, file: Any) -> None:
        self.node, self.folder = node, folder
        self.fault: PvmError | None = None
        self.table = csv.writer(file)
        self.table.writerow(["stamp", "latency_ms", "target", "x", "y", "w", "h", "score", "id"])
        node.create_subscription(Detection2DArray, "detections", self._detections, 50)
        node.create_subscription(Image, "/camera/image_raw", self._image, QoSProfile(depth=10))
        for name in TITLES:
            node.create_subscription(Image, f"/pvm_tracker/{name}", self._view(name), QoSProfile(depth=10))

    def _detections(self, message: Detection2DArray) -> None:
        stamp = _nanoseconds(message.header)
        delay = f"{(self.node.get_clock().now().nanoseconds - stamp) / 1e6:.3f}"
        rows: list[tuple[Any, ...]] = [
            (t.target, t.x, t.y, t.w, t.h, t.score, t.id) for t in tracks_of(message)
        ]
        for row in rows or [("",) * 7]:
            self.table.writerow([stamp, delay, *row])

    def _image(self, message: Image) -> None:
        self._write(
            f"{_nanoseconds(message.header)}.jpg", decode_image(message), cv2.IMWRITE_JPEG_QUALITY, 85
        )

    def _view(self, name: str) -> Callable[[Image], None]:
        """Return what writes one of the node's pictures."""
        return lambda message: self._write(f"{_nanoseconds(message.header)}.{name}.png", decode_view(message))

    def _write(self, name: str, image: np.ndarray, *options: int) -> None:
        _, data = cv2.imencode(Path(name).suffix, image, options)
        path = self.folder / name
        try:
            with writing(path):
                path.write_bytes(data.tobytes())
        except PvmError as error:
            self.fault = error


def main(argv: list[str] | None = None) -> int:
    """Listen until a signal comes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True, help="CSV file to write, one row for each box")
    parser.add_argument("--frames", type=Path, required=True, help="folder to write the images to, as JPEG")
    args = parser.parse_args(argv)
    stop = Stop()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node, executor = GuardedNode("receiver"), SingleThreadedExecutor()
    executor.add_node(node)
    try:
        with writing(args.table), args.table.open("w", newline="", encoding="utf-8") as file:
            receiver = Receiver(node, args.frames, file)
            while not stop.is_set():
                executor.spin_once(timeout_sec=0.1)
                if receiver.fault:  # a video with frames missing would be no record of what happened
                    raise receiver.fault
        return 0
    except PvmError as error:
        print(f"pvm_perception: error: {error}", file=sys.stderr)
        return 2
    finally:
        node.destroy_node()
        executor.shutdown()
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
