"""The robot's own motion, from `odom` and `camera_info`: both optional, and checked as they come."""

from __future__ import annotations

from typing import Any

import numpy as np
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo

from pvm_perception.ros.messages import seconds_of
from pvm_perception.ros.qos import ODOMETRY
from pvm_perception.vision.ego_motion import EgoMotion


class OwnMotion:
    """Listens to `odom` and `camera_info`; says what the robot's motion did to each frame's picture.

    Parameters
    ----------
    node
        The Guarded rclpy node to listen with; what cannot be used is noted in its `faults`.

    Attributes
    ----------
    subscriptions : to be destroyed by whoever made this
    size : rows and columns of the last frame; None before there was one
    """

    def __init__(self, node: Any) -> None:
        self._node, self._ego = node, EgoMotion()
        self._seen = 0.0  # the last frame's stamp, s
        self.size: tuple[int, int] | None = None
        self._motion: np.ndarray | None = None  # up to it, (4,)
        self.subscriptions = [
            node.create_subscription(*what, ODOMETRY)
            for what in ((Odometry, "odom", self._odometry), (CameraInfo, "camera_info", self._camera_info))
        ]

    def _odometry(self, message: Odometry) -> None:
        self._ego.moved(seconds_of(message.header), message.twist.twist)
        if self._ego.odometry_fault:
            self._node.faults.note("odom", f"left out: {self._ego.odometry_fault}", "warning")

    def _camera_info(self, message: CameraInfo) -> None:
        self._ego.calibrated(message)
        if fault := self._calibration_fault():
            self._node.faults.note("camera_info", f"left out: {fault}", "warning")

    def _calibration_fault(self) -> str:
        ego = self._ego
        return ego.calibration_fault or (ego.disagreement(self.size) if self.size else "")

    def around(
        self, stamp: float, size: tuple[int, int], fov: float
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return how the picture moved since the last frame, and will until the next, as `EgoMotion.around`.

        Parameters
        ----------
        stamp
            The frame's, seconds.
        size
            Its rows and columns.
        fov
            Horizontal field of view, degrees, where no camera_info can be used.
        """
        self._motion, ahead = self._ego.around(self._seen, stamp, size, fov)
        self._seen, self.size = stamp, size
        return self._motion, ahead

    def faults(self) -> str:
        """Return which input is left out and why; empty where none is."""
        return "; ".join(
            f"{name} is left out: {fault}"
            for name, fault in (
                ("odom", self._ego.odometry_fault),
                ("camera_info", self._calibration_fault()),
            )
            if fault
        )

    def words(self) -> str:
        """Return for diagnostics the motion that the network read last."""
        if self._motion is None:
            return f"not known: no odometry of the frame's time on {self._node.resolve_topic_name('odom')}"
        return "picture {:+.4f} right, {:+.4f} down, roll {:+.4f} rad, growth {:+.4f}".format(*self._motion)
