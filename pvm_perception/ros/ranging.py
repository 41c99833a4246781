"""What target_follower and stop_sign_guard share: detections, calibration and depth to estimates."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, Detection2DArray

from pvm_perception.errors import PvmError
from pvm_perception.ros import diagnostics
from pvm_perception.ros.messages import seconds_of
from pvm_perception.vision.geometry import (
    Estimate,
    PinholeCamera,
    RangingSettings,
    camera_from_info,
    depth_in_box,
    locate,
)
from pvm_perception.vision.image_codec import decode_depth

SENSOR = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)  # hears all publishers
DEPTHS_KEPT = 10  # depth images that wait for the detections of their moment


class Ranger:
    """Listens to `detections`, `camera_info` and `depth`; hands on where the targets are.

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

    def __init__(self, node: Any, settings: RangingSettings,
                 found: Callable[[Header, list[tuple[Detection2D, Estimate]]], None]) -> None:
        self.node, self.settings, self.found = node, settings, found
        self.info: CameraInfo | None = None
        self.depths: deque[Image] = deque(maxlen=DEPTHS_KEPT)
        self.problem = ""  # why there are no estimates, for diagnostics
        self.counts = {"detections": 0, "with target": 0, "by depth": 0}
        self._last = time.monotonic()
        node.create_subscription(Detection2DArray, "detections", self._detections, 5)
        node.create_subscription(CameraInfo, "camera_info", self._camera_info, SENSOR)
        if settings.use_depth:
            node.create_subscription(Image, "depth", self._keep, SENSOR)
        self.status = node.create_publisher(DiagnosticArray, "/diagnostics", 10)

    def _camera_info(self, message: CameraInfo) -> None:
        self.info = message

    def _keep(self, message: Image) -> None:
        self.depths.append(message)

    def _camera(self) -> PinholeCamera:
        if self.info is None:
            raise PvmError(f"no camera_info on {self.node.resolve_topic_name('camera_info')}")
        return camera_from_info(self.info, self.settings)

    def _detections(self, message: Detection2DArray) -> None:
        self.counts["detections"] += 1
        self._last = time.monotonic()
        try:
            camera = self._camera()
        except PvmError as error:
            self.problem = str(error)
            self.node.get_logger().warning(self.problem, throttle_duration_sec=5.0)
            return
        self.problem, results = "", []
        for detection in sorted(message.detections, key=self._score, reverse=True):
            box = detection.bbox
            numbers = (box.center.position.x - box.size_x / 2,
                       box.center.position.y - box.size_y / 2, box.size_x, box.size_y)
            if (self._score(detection) >= self.settings.min_score and all(math.isfinite(n) for n in numbers)
                    and box.size_x > 0 and box.size_y > 0):
                depth = self._depth(message.header, camera, numbers)
                results.append((detection, locate(camera, numbers, self.settings, depth)))
        self.counts["with target"] += bool(results)
        header = message.header
        if not header.frame_id:
            header.frame_id = self.info.header.frame_id
        self.found(header, results)

    def _score(self, detection: Detection2D) -> float:
        """Return how sure it is that a detection is the target; -1 where nothing says so."""
        return max((r.hypothesis.score for r in detection.results
                    if r.hypothesis.class_id == self.settings.target), default=-1.0)

    def _depth(self, header: Header, camera: PinholeCamera,
               box: tuple[float, float, float, float]) -> tuple[float, float] | None:
        """Return z of the target and its standard deviation from the depth image of its moment."""
        if not self.depths:
            return None
        stamp = seconds_of(header)
        image = min(self.depths, key=lambda d: abs(seconds_of(d.header) - stamp))
        if abs(seconds_of(image.header) - stamp) > self.settings.depth_tolerance:
            return None
        try:
            result = depth_in_box(decode_depth(image), camera, box, self.settings)
        except ValueError as error:
            self.node.get_logger().warning(f"depth left out: {error}", throttle_duration_sec=5.0)
            return None
        self.counts["by depth"] += result is not None
        return result

    def report(self, state: str, facts: dict[str, Any]) -> None:
        """Publish the node's state on /diagnostics; a warning where there is nothing to go by."""
        level, message = DiagnosticStatus.OK, state
        now, silence = self.node.get_clock().now(), time.monotonic() - self._last
        if not now.nanoseconds:
            level, message = DiagnosticStatus.WARN, "use_sim_time is set, but /clock is silent"
        elif silence > 2:
            level = DiagnosticStatus.WARN
            message = (f"no detections for {silence:.1f} s on "
                       f"{self.node.resolve_topic_name('detections')}")
        elif self.problem:
            level, message = DiagnosticStatus.WARN, self.problem
        array = DiagnosticArray(header=Header(stamp=now.to_msg()))
        array.status.append(diagnostics.entry(
            level, diagnostics.name_of(self.node, "ranging"), message, self.counts | facts))
        self.status.publish(array)
