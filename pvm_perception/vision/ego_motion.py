"""From odometry to what the robot's own motion does to the picture, for the network's context.

The camera is taken to look ahead and level, and to sit still on the robot. Turns are seen as
they are, whatever lies in view; driving is seen as growth, of a place `vision.motion.DEPTH` away;
what driving sideways does depends on the distance alone and is left out.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from typing import Any

import numpy as np

from pvm_perception.errors import PvmError
from pvm_perception.vision.geometry import PinholeCamera, RangingSettings, camera_from_info
from pvm_perception.vision.motion import DEPTH

USUAL_FOV = 60.0  # degrees across, of a camera that nobody calibrated
KEPT = 1.5  # s of twists; after a longer gap the tracker begins anew anyhow
STALE = 0.25  # s: a twist says nothing about a moment further away


class EgoMotion:
    """Keeps the last twists; says how the picture moved between two frames.

    Messages may come on another thread than the one that asks.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._twists: deque[tuple[float, ...]] = deque()
        self._camera: PinholeCamera | None = None

    def calibrated(self, info: Any) -> None:
        """Take a sensor_msgs/CameraInfo; one that holds no calibration changes nothing."""
        try:
            self._camera = camera_from_info(info, RangingSettings())
        except PvmError:
            self._camera = None

    def moved(self, stamp: float, twist: Any) -> None:
        """Take a geometry_msgs/Twist of the robot's base and when it was measured, seconds.

        One without a stamp, or with broken numbers, is left out.
        """
        a = twist.angular
        values = (stamp, a.x, a.y, a.z, twist.linear.x)
        if stamp <= 0 or not all(map(math.isfinite, values)):
            return
        with self._lock:
            if self._twists and stamp < self._twists[-1][0]:
                self._twists.clear()  # time jumped back
            self._twists.append(values)
            while self._twists[0][0] < stamp - KEPT:
                self._twists.popleft()

    def between(self, since: float, until: float, size: tuple[int, int],
                fov: float = USUAL_FOV) -> np.ndarray | None:
        """Return what the motion from one frame to the next did to the picture.

        Parameters
        ----------
        since, until
            Stamps of the two frames, seconds.
        size
            (rows, cols) of the picture.
        fov
            Horizontal field of view, degrees, where no camera_info told the focal length.

        Returns
        -------
        (4,) float32 or None
            As `Tracker.update` takes it; None where no odometry covers the time.
        """
        with self._lock:
            twists = np.array(self._twists)
        if not since < until or not len(twists):
            return None
        stamps = twists[:, 0]
        if max(np.abs(stamps - since).min(), np.abs(stamps - until).min()) > STALE:
            return None
        inside = stamps[(stamps > since) & (stamps < until)]
        times = np.array([since, *inside, until])
        rates = [np.interp(times, stamps, twists[:, k]) for k in range(1, 5)]
        steps = np.diff(times)
        roll, pitch, yaw, way = (float((r[1:] + r[:-1]) / 2 @ steps) for r in rates)
        across, along = self._focal(size, fov)
        return picture_motion(roll, pitch, yaw, way, across, along)

    def _focal(self, size: tuple[int, int], fov: float) -> tuple[float, float]:
        """Return the focal lengths as shares of the picture's width and height."""
        c = self._camera
        if c is not None:
            return c.fx / c.width, c.fy / c.height
        across = 0.5 / math.tan(math.radians(fov) / 2)
        return across, across * size[1] / size[0]  # its pixels are taken to be square


def picture_motion(roll: float, pitch: float, yaw: float, way: float, across: float,
                   along: float) -> np.ndarray:
    """Return what a small motion of the robot does to a picture, (4,) float32.

    Parameters
    ----------
    roll, pitch, yaw
        Radians about the axes ahead, to the left and up (REP 103): positive is down on the
        right, nose down, to the left.
    way
        Metres ahead.
    across, along
        Focal lengths as shares of the picture's width and height.
    """
    return np.array([across * yaw, -along * pitch, -roll, way / DEPTH], np.float32)
