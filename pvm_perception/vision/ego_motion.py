"""From odometry to what the robot's own motion does to the picture, for the network's context.

The camera is taken to look ahead and level, and to sit still on the robot. Turns are seen as
they are, whatever lies in view; driving is seen as growth, of a place `vision.motion.DEPTH` away;
what driving sideways does depends on the distance alone and is left out.
"""

from __future__ import annotations

import bisect
import itertools
import math
import threading
from operator import itemgetter
from typing import Any

import numpy as np

from pvm_perception.errors import PvmError
from pvm_perception.vision.camera import PinholeCamera, camera_from_info
from pvm_perception.vision.geometry import RangingSettings
from pvm_perception.vision.motion import DEPTH

USUAL_FOV = 60.0  # degrees across, of a camera that nobody calibrated
KEPT = 1.5  # s of twists; after a longer gap the tracker begins anew anyhow
MOST = 2048  # twists kept, whatever their stamps say
STALE = 0.25  # s: a twist says nothing about a moment further away
FASTEST = 100.0  # m/s and rad/s: more is no robot's motion
LARGEST = (2.0, 2.0, math.pi, 2.0)  # shift, roll and growth beyond which two pictures share nothing
ASPECT = 0.03  # by how much, as a share, a calibration's aspect may differ from the picture's


class EgoMotion:
    """Keeps the last twists; says how the picture moved between two frames.

    Messages may come on another thread than the one that asks.

    Attributes
    ----------
    odometry_fault, calibration_fault
        Why the newest odometry and the newest calibration are left out; empty where they are used.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._twists: list[tuple[float, ...]] = []  # in the order of their stamps
        self._camera: PinholeCamera | None = None
        self.odometry_fault = self.calibration_fault = ""

    def calibrated(self, info: Any) -> None:
        """Take a sensor_msgs/CameraInfo; one that cannot be used counts as none."""
        try:
            self._camera, self.calibration_fault = camera_from_info(info, RangingSettings()), ""
        except PvmError as error:
            self._camera, self.calibration_fault = None, str(error)

    def moved(self, stamp: float, twist: Any) -> None:
        """Take a geometry_msgs/Twist of the robot's base and when it was measured, seconds.

        One without a stamp, or with numbers that no robot reaches, is left out. Of several with the same
        stamp the last one counts; one that comes late by up to `STALE` is put in its order, and one from
        longer ago says that time has jumped back.

        Parameters
        ----------
        stamp
            When it was measured, seconds.
        twist
            A geometry_msgs/Twist of the robot's base, m/s and rad/s.
        """
        a = twist.angular
        values = (stamp, a.x, a.y, a.z, twist.linear.x)
        if not (math.isfinite(stamp) and stamp > 0):
            self.odometry_fault = "it has no stamp"
            return
        if not all(abs(v) <= FASTEST for v in values[1:]):  # false for NaN, too
            self.odometry_fault = (
                f"{twist.linear.x:g} m/s and ({a.x:g}, {a.y:g}, {a.z:g}) rad/s; at most "
                f"{FASTEST:g} of each is believed"
            )
            return
        self.odometry_fault = ""
        with self._lock:
            twists = self._twists
            if twists and stamp < twists[-1][0] - STALE:
                twists.clear()  # time jumped back
            place = bisect.bisect_left(twists, stamp, key=itemgetter(0))  # a late one is put in its order
            if place < len(twists) and twists[place][0] == stamp:
                twists[place] = values
            else:
                twists.insert(place, values)
            first = bisect.bisect_left(twists, twists[-1][0] - KEPT, key=itemgetter(0))
            del twists[: max(first, len(twists) - MOST)]

    def between(
        self, since: float, until: float, size: tuple[int, int], fov: float = USUAL_FOV
    ) -> np.ndarray | None:
        """Return what the motion from one frame to the next did to the picture.

        Parameters
        ----------
        since, until
            Stamps of the two frames, seconds.
        size
            (rows, cols) of the picture.
        fov
            Horizontal field of view, degrees, where no camera_info gave the focal length.

        Returns
        -------
        (4,) float32 or None
            As `Tracker.update` takes it; None where no odometry covers the time, or where the motion is so
            large that the two pictures share nothing.
        """
        with self._lock:  # the twists in between, and those before and after
            first = bisect.bisect_right(self._twists, since, key=itemgetter(0)) - 1
            last = bisect.bisect_left(self._twists, until, key=itemgetter(0))
            twists = self._twists[max(first, 0) : last + 1]
        if not since < until or not twists:
            return None
        if max(min(abs(t[0] - stamp) for t in twists) for stamp in (since, until)) > STALE:
            return None
        inside = [t for t in twists if since < t[0] < until]
        points = [_twist_at(twists, since), *inside, _twist_at(twists, until)]
        roll, pitch, yaw, way = (
            sum((b[k] + a[k]) / 2 * (b[0] - a[0]) for a, b in itertools.pairwise(points)) for k in range(1, 5)
        )
        across, along = self._focal(size, fov)
        motion = picture_motion(roll, pitch, yaw, way, across, along)
        known = all(abs(v) <= most for v, most in zip(motion.tolist(), LARGEST, strict=True))  # not for NaN
        return motion if known else None

    def around(
        self, before: float, stamp: float, size: tuple[int, int], fov: float = USUAL_FOV
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return `between` from the frame before to a frame, and from there on for as long.

        Beyond the last odometry the robot is taken to keep its speed.

        Parameters
        ----------
        before, stamp
            Stamps of the frame before and of the frame, seconds.
        size, fov
            As for `between`.
        """
        coming = 2 * stamp - before
        return self.between(before, stamp, size, fov), self.between(stamp, coming, size, fov)

    def disagreement(self, size: tuple[int, int]) -> str:
        """Return why the calibration cannot be that of a picture of (rows, cols); empty where it can.

        A picture that was made smaller as a whole still has the calibration's aspect.
        """
        c = self._camera
        if c is None or abs(c.width * size[0] / (c.height * size[1]) - 1) <= ASPECT:
            return ""
        return f"camera_info is of {c.width}x{c.height} pixels, the images are of {size[1]}x{size[0]}"

    def _focal(self, size: tuple[int, int], fov: float) -> tuple[float, float]:
        """Return the focal lengths as shares of the picture's width and height."""
        c = self._camera
        if c is not None and not self.disagreement(size):
            return c.fx / c.width, c.fy / c.height
        across = 0.5 / math.tan(math.radians(fov) / 2)
        return across, across * size[1] / size[0]  # its pixels are taken to be square


def _twist_at(twists: list[tuple[float, ...]], stamp: float) -> tuple[float, ...]:
    """Return the twist at a moment, by linear interpolation; before the first and after the last, these."""
    after = bisect.bisect_left(twists, stamp, key=itemgetter(0))
    if after in (0, len(twists)):
        return (stamp, *twists[min(after, len(twists) - 1)][1:])
    a, b = twists[after - 1], twists[after]
    share = (stamp - a[0]) / (b[0] - a[0])
    return (stamp, *(v + share * (w - v) for v, w in zip(a[1:], b[1:], strict=True)))


def picture_motion(
    roll: float, pitch: float, yaw: float, way: float, across: float, along: float
) -> np.ndarray:
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
