"""A calibrated camera: from pixels to lines of sight, and what a CameraInfo says of it.

A *tangent* is x/z or y/z of a line of sight in the camera's optical frame (REP 103), without unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

from pvm_perception.errors import PvmError

LARGEST_SIDE = 65535  # px; a larger claim is a broken message, not a camera
FOCAL = (0.02, 500.0)  # focal length as a share of the image's side, from a fisheye to a telescope
OFF_CENTRE = 1.0  # of the image's side: how far the optical axis may be from its middle
UNDISTORT = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 50, 1e-9)  # iterations, change
# how many numbers D holds for each distortion model of CameraInfo; of 12 and 14, OpenCV's own
COEFFICIENTS = {"plumb_bob": (4, 5), "rational_polynomial": (8, 12, 14), "equidistant": (4,)}


class CalibrationSettings(Protocol):
    """Which of a CameraInfo's numbers count; `geometry.RangingSettings` has them.

    Attributes
    ----------
    rectified : whether the image is; then P counts, without distortion, instead of K and D
    horizontal_fov : degrees, for a camera without calibration; 0 = use the CameraInfo's
    """

    @property
    def rectified(self) -> bool:
        """See the class."""
        ...

    @property
    def horizontal_fov(self) -> float:
        """See the class."""
        ...


@dataclass(frozen=True)
class PinholeCamera:
    """A calibrated camera: size and focal lengths in pixels, distortion as in CameraInfo."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = ()
    model: str = "plumb_bob"

    def tangents(self, points: np.ndarray, within: float = 1.0) -> np.ndarray:
        """Return the lines of sight through pixels, free of distortion.

        Parameters
        ----------
        points
            (N, 2) float, pixels.
        within
            How far, in pixels, the lines of sight may miss the points.

        Returns
        -------
        (N, 2) float, x/z and y/z

        Raises
        ------
        PvmError
            There is no such line: far out, a distortion polynomial may turn back.
        """
        points = np.asarray(points, float).reshape(-1, 1, 2)
        matrix = np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]])
        if not any(self.distortion):
            return (points[:, 0] - matrix[:2, 2]) / (self.fx, self.fy)
        lens, d = cv2.fisheye if self.model == "equidistant" else cv2, np.array(self.distortion)
        found = lens.undistortPoints(points, matrix, d, criteria=UNDISTORT)
        rays = np.concatenate([found, np.ones((len(found), 1, 1))], 2)
        back = lens.projectPoints(rays, np.zeros(3), np.zeros(3), matrix, d)[0]
        if not (np.abs(back - points) <= within).all():  # false for NaN, too
            raise PvmError(
                f"the calibration has no line of sight through {short(points[:, 0].ravel())} px; "
                "calibrate the camera again"
            )
        return found[:, 0]


def camera_from_info(info: Any, settings: CalibrationSettings) -> PinholeCamera:
    """Return the camera that a sensor_msgs/CameraInfo describes.

    K and P are those of the full sensor; binning and region of interest are taken off here, as
    the message's definition says.

    Parameters
    ----------
    info
        A sensor_msgs/CameraInfo, or what has its fields.
    settings
        Whether images are rectified already, and the field of view where it is not calibrated.

    Raises
    ------
    PvmError
        In one line: no image size, no calibration and no `horizontal_fov` to go without, or numbers that
        no camera has.
    """
    roi, binning = info.roi, (max(info.binning_x, 1), max(info.binning_y, 1))
    width = (roi.width or info.width) // binning[0]
    height = (roi.height or info.height) // binning[1]
    if not (width and height):
        raise PvmError("camera_info has no image size; check the camera driver")
    if max(width, height) > LARGEST_SIDE:
        raise PvmError(f"camera_info is of {width}x{height} pixels; check the camera driver")
    if settings.horizontal_fov:
        f = width / 2 / math.tan(math.radians(settings.horizontal_fov) / 2)
        return PinholeCamera(width, height, f, f, width / 2, height / 2)
    name, values, columns = ("P", info.p, 4) if settings.rectified else ("K", info.k, 3)
    if len(values) != 3 * columns or not np.isfinite(values).all():
        raise PvmError(
            f"camera_info's {name} must be {3 * columns} finite numbers, not {short(values)}; "
            "check the camera driver"
        )
    matrix = np.array(values, float).reshape(3, columns)[:, :3]
    if not (matrix[0, 0] > 0 and matrix[1, 1] > 0):
        raise PvmError("camera_info holds no calibration; calibrate the camera, or set horizontal_fov")
    (fx, _, cx), (_, fy, cy) = matrix[:2]
    for side, f, c in (
        (max(info.width, roi.x_offset + roi.width), fx, cx),
        (max(info.height, roi.y_offset + roi.height), fy, cy),
    ):
        if not (FOCAL[0] <= f / side <= FOCAL[1] and abs(c / side - 0.5) <= OFF_CENTRE):
            raise PvmError(
                f"camera_info's {name} (focal lengths {fx:g}, {fy:g} px, centre {cx:g}, {cy:g}) "
                f"is no camera's of {info.width}x{info.height} px; calibrate for this resolution"
            )
    return PinholeCamera(
        width,
        height,
        matrix[0, 0] / binning[0],
        matrix[1, 1] / binning[1],
        (matrix[0, 2] - roi.x_offset) / binning[0],
        (matrix[1, 2] - roi.y_offset) / binning[1],
        () if settings.rectified else _distortion(info),
        info.distortion_model,
    )


def _distortion(info: Any) -> tuple[float, ...]:
    """Return D as its model takes it; () where there is no distortion."""
    d, model = tuple(map(float, info.d)), info.distortion_model
    if not all(map(math.isfinite, d)):
        raise PvmError(f"camera_info's D is {short(d)}, which is not finite; check the camera driver")
    if not any(d):
        return ()
    lengths = COEFFICIENTS.get(model)
    if lengths is None:
        raise PvmError(
            f"camera_info's distortion model {model[:40]!r} is not known; known are "
            f"{', '.join(COEFFICIENTS)}; rectify the image, and set `rectified`"
        )
    if model == "equidistant" and len(d) == 5 and not d[4]:
        d = d[:4]  # some drivers send five for every model
    if len(d) not in lengths:
        raise PvmError(
            f"camera_info's D has {len(d)} numbers, but {model} takes "
            f"{' or '.join(map(str, lengths))}; calibrate the camera again"
        )
    return d


def short(values: Any) -> str:
    """Return numbers as text that fits into a line."""
    text = ", ".join(f"{v:g}" for v in list(values)[:9])
    return f"({text}{', ...' if len(values) > 9 else ''})"
