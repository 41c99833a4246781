"""What target_follower and stop_sign_guard share: detections, calibration and depth to estimates."""

from __future__ import annotations

import heapq
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, Detection2DArray, VisionInfo

from pvm_perception.errors import PvmError
from pvm_perception.ros import diagnostics
from pvm_perception.ros.messages import image_size, score_of, seconds_of
from pvm_perception.ros.qos import LATCHED, SENSOR
from pvm_perception.vision.camera import PinholeCamera, camera_from_info
from pvm_perception.vision.geometry import (
    Estimate,
    RangingSettings,
    depth_in_box,
    locate,
    reconcile,
)
from pvm_perception.vision.image_codec import decode_depth

DEPTHS_KEPT = 10  # depth images that wait for the detections of their moment
MOST = 50  # detections of one message that are looked at, the surest first
BEYOND = 0.1  # of the image's side: a box that reaches further out belongs to another camera
SAME = 0.01  # by how much, as a share, camera_info's size may differ from the images'
RECENT = 2.0  # s for which a problem is reported


class Ranger:
    """Listens to `detections`, `camera_info`, `vision_info` and `depth`; hands on where the targets are.

    Parameters
    ----------
    node
        The rclpy node to listen with; its name stands in the diagnostics.
    settings
        The target and the boxes' errors; may be replaced while it runs.
    found
        Called once for each message of detections: its header, and (detection, estimate) of all
        that are the target, the surest first.
    """

    def __init__(
        self,
        node: Any,
        settings: RangingSettings,
        found: Callable[[Header, list[tuple[Detection2D, Estimate]]], None],
    ) -> None:
        self.node, self.settings, self.found = node, settings, found
        self.info: CameraInfo | None = None
        self.size: tuple[int, int] | None = None  # width and height of the images, where the tracker says so
        self.depths: deque[Image] = deque(maxlen=DEPTHS_KEPT)
        self.problem = ""  # what could not be used last, for diagnostics
        self.counts = {"detections": 0, "with target": 0, "by depth": 0}
        self._last = time.monotonic()  # when detections came
        self._severity, self._when = "", -math.inf  # of the problem; monotonic
        node.create_subscription(Detection2DArray, "detections", self._detections, 5)
        node.create_subscription(CameraInfo, "camera_info", self._camera_info, SENSOR)
        node.create_subscription(VisionInfo, "vision_info", self._vision_info, LATCHED)
        if settings.use_depth:
            node.create_subscription(Image, "depth", self._keep, SENSOR)
        self.status = node.create_publisher(DiagnosticArray, "/diagnostics", 10)

    def _camera_info(self, message: CameraInfo) -> None:
        self.info = message

    def _vision_info(self, message: VisionInfo) -> None:
        self.size = image_size(message)

    def _keep(self, message: Image) -> None:
        self.depths.append(message)

    def _trouble(self, topic: str, reason: object, severity: str = "warning") -> None:
        """Say why something is left out: on the console, and for a while in diagnostics."""
        self.problem, self._severity, self._when = str(reason), severity, time.monotonic()
        self.node.faults.note(topic, self.problem, severity)

    def _camera(self) -> PinholeCamera:
        if self.info is None:
            raise PvmError(f"no camera_info on {self.node.resolve_topic_name('camera_info')}")
        camera = camera_from_info(self.info, self.settings)
        width, height = self.size or (camera.width, camera.height)
        if max(abs(camera.width / width - 1), abs(camera.height / height - 1)) > SAME:
            raise PvmError(
                f"camera_info is of {camera.width}x{camera.height} px, the images are of "
                f"{width}x{height} px; calibrate the camera at the resolution it runs at"
            )
        return camera

    def _detections(self, message: Detection2DArray) -> None:
        self.counts["detections"] += 1
        self._last = time.monotonic()
        try:
            camera = self._camera()
        except PvmError as error:
            self._trouble("camera_info", error)
            return
        header = message.header
        depth, results = self._depth(header) if self.depths else None, []
        for detection in heapq.nlargest(MOST, message.detections, key=self._score):
            if self._score(detection) < self.settings.min_score:
                break
            try:
                results.append((detection, self._locate(camera, _box(detection, camera), depth)))
            except PvmError as error:
                self._trouble("detections", error)
        self.counts["with target"] += bool(results)
        if not header.frame_id and self.info is not None:
            header.frame_id = self.info.header.frame_id
        self.found(header, results)

    def _score(self, detection: Detection2D) -> float:
        return score_of(detection, self.settings.target)

    def _locate(
        self, camera: PinholeCamera, box: tuple[float, float, float, float], depths: np.ndarray | None
    ) -> Estimate:
        """Return where the target in a box is, by depth where the depth image has it there."""
        by_size = locate(camera, box, self.settings)
        depth = None if depths is None else depth_in_box(depths, camera, box, self.settings)
        if depth is None:
            return by_size
        self.counts["by depth"] += 1
        try:
            result = reconcile(locate(camera, box, self.settings, depth), by_size, self.settings)
        except PvmError as error:
            result = replace(by_size, doubt=f"depth: {error}")
        if result.doubt:
            self._trouble("depth", result.doubt, "error")
        return result

    def _depth(self, header: Header) -> np.ndarray | None:
        """Return the depths of the detections' moment, (H, W) float32 in metres; None = there are none."""
        stamp = seconds_of(header)
        image = min(self.depths, key=lambda d: abs(seconds_of(d.header) - stamp))
        if abs(seconds_of(image.header) - stamp) > self.settings.depth_tolerance:
            return None
        try:
            return decode_depth(image)
        except ValueError as error:
            self._trouble("depth", f"left out: {error}")
            return None

    def report(self, state: str, facts: dict[str, Any]) -> None:
        """Publish the node's state on /diagnostics; a warning where there is nothing to go by.

        Parameters
        ----------
        state
            What the node does, in one line.
        facts
            Figures by their names.
        """
        level, message = DiagnosticStatus.OK, state
        now, silence = self.node.get_clock().now(), time.monotonic() - self._last
        if not now.nanoseconds:
            level, message = DiagnosticStatus.WARN, "use_sim_time is set, but /clock is silent"
        elif silence > 2:
            level = DiagnosticStatus.WARN
            message = f"no detections for {silence:.1f} s on {self.node.resolve_topic_name('detections')}"
        elif time.monotonic() - self._when < RECENT:
            level = DiagnosticStatus.ERROR if self._severity == "error" else DiagnosticStatus.WARN
            message = self.problem
        array = DiagnosticArray(header=Header(stamp=now.to_msg()))
        array.status.append(
            diagnostics.entry(
                level,
                diagnostics.name_of(self.node, "ranging"),
                message,
                self.counts
                | facts
                | {"faults": self.node.faults.count(), "last fault": self.node.faults.last},
            )
        )
        self.status.publish(array)


def _box(detection: Detection2D, camera: PinholeCamera) -> tuple[float, float, float, float]:
    """Return a detection's box, (x, y, w, h) in pixels of its top left corner and size.

    Raises
    ------
    PvmError
        Numbers that are not finite, no size, or a box that does not lie in the camera's image.
    """
    middle, w, h = detection.bbox.center.position, detection.bbox.size_x, detection.bbox.size_y
    if not (all(map(math.isfinite, (middle.x, middle.y, w, h))) and w > 0 and h > 0):
        raise PvmError(f"a box around ({middle.x:g}, {middle.y:g}) px of {w:g}x{h:g} px is none")
    for centre, side, size in ((middle.x, w, camera.width), (middle.y, h, camera.height)):
        if abs(centre - size / 2) + side / 2 > size * (0.5 + BEYOND):
            raise PvmError(
                f"a box around ({middle.x:g}, {middle.y:g}) px of {w:g}x{h:g} px does not lie in an image of "
                f"{camera.width}x{camera.height} px; camera_info must be that of the detections' image"
            )
    return middle.x - w / 2, middle.y - h / 2, w, h
