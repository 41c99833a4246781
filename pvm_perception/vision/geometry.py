"""From a box in the image to where the target is: bearing, distance and how sure of them.

Everything is in the camera's optical frame of REP 103: x to the right, y down, z forward, metres
and radians. A *tangent* is x/z or y/z of a line of sight, without unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from pvm_perception.core.settings import check, setting
from pvm_perception.errors import PvmError

SHAPES = ("ball", "flat")
BORDER = 0.01  # of the image's side; a box that comes so near to the edge is taken as cut by it
UNSURE = 0.5  # of the distance: standard deviation when the image's edge cuts a box all around
NARROWEST = 1.0  # degrees: the smallest horizontal_fov
LARGEST_SIDE = 65535  # px; a larger claim is a broken message, not a camera
FOCAL = (0.02, 500.0)  # focal length as a share of the image's side, from a fisheye to a telescope
OFF_CENTRE = 1.0  # of the image's side: how far the optical axis may be from its middle
FARTHEST = 10_000.0  # m; a box or a depth that says more is an error
UNDISTORT = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 50, 1e-9)  # iterations, change
MISS = 0.1  # of a box's side: by how much its lines of sight may miss it
STEEPEST = 100.0  # largest tangent of a line of sight: 89.4 degrees off the axis
SIGMAS = 4.5  # standard deviations of a box's size, from which on depth and size contradict each other
# how many numbers D holds for each distortion model of CameraInfo; of 12 and 14, OpenCV's own
COEFFICIENTS = {"plumb_bob": (4, 5), "rational_polynomial": (8, 12, 14), "equidistant": (4,)}


@dataclass(frozen=True)
class RangingSettings:
    """What is known of the target and of the boxes' errors.

    The errors are the shipped model's on labelled sequences: 16 to 38 % of a ball's size
    (three sequences), 20 to 43 % of a sign's (three), root mean square where it was found.
    """

    target: str = setting("green_ball", "class_id of the detections to use")
    shape: str = setting("ball", "ball: seen alike from all sides; flat: a sign, measured by its "
                                 "height, because turning away only narrows it", choices=SHAPES)
    size: float = setting(0.2, "the target's diameter or height, metres", low=0.005, high=10.0)
    size_tolerance: float = setting(0.03, "standard deviation of that size, as a share of it",
                                    low=0.0, high=1.0)
    min_score: float = setting(0.0, "detections below this score are ignored", low=0.0, high=1.0)
    size_noise: float = setting(0.2, "standard deviation of a box's size, as a share of it",
                                low=0.01, high=1.0)
    centre_noise: float = setting(0.08, "standard deviation of a box's centre, as a share of its "
                                        "size", low=0.001, high=1.0)
    rectified: bool = setting(False, "the image is rectified: take P of camera_info, without "
                                     "distortion, instead of K and D")
    horizontal_fov: float = setting(0.0, "degrees; for a camera without calibration, 0 = use "
                                         "camera_info's", low=0.0, high=170.0)
    use_depth: bool = setting(False, "measure the distance in `depth`, an image aligned with the "
                                     "detections' one; known size where it has none")
    depth_noise: float = setting(0.02, "standard deviation of depth, as a share of it", low=0.0,
                                 high=1.0)
    depth_tolerance: float = setting(0.03, "seconds between a detection's stamp and its depth "
                                           "image's", low=0.0, high=1.0)

    def __post_init__(self) -> None:
        check(self)
        if 0 < self.horizontal_fov < NARROWEST:
            raise PvmError(f"horizontal_fov is {self.horizontal_fov}; it must be 0 (use camera_info's) or at "
                           f"least {NARROWEST} degrees")


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
            raise PvmError(f"the calibration has no line of sight through {_short(points[:, 0].ravel())} px; "
                           "calibrate the camera again")
        return found[:, 0]


def camera_from_info(info: Any, settings: RangingSettings) -> PinholeCamera:
    """Return the camera that a sensor_msgs/CameraInfo describes.

    K and P are those of the full sensor; binning and region of interest are taken off here, as
    the message's definition says.

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
        raise PvmError(f"camera_info's {name} must be {3 * columns} finite numbers, not {_short(values)}; "
                       "check the camera driver")
    matrix = np.array(values, float).reshape(3, columns)[:, :3]
    if not (matrix[0, 0] > 0 and matrix[1, 1] > 0):
        raise PvmError("camera_info holds no calibration; calibrate the camera, or set "
                       "horizontal_fov")
    (fx, _, cx), (_, fy, cy) = matrix[:2]
    for side, f, c in ((max(info.width, roi.x_offset + roi.width), fx, cx),
                       (max(info.height, roi.y_offset + roi.height), fy, cy)):
        if not (FOCAL[0] <= f / side <= FOCAL[1] and abs(c / side - 0.5) <= OFF_CENTRE):
            raise PvmError(f"camera_info's {name} (focal lengths {fx:g}, {fy:g} px, centre {cx:g}, {cy:g}) "
                           f"is no camera's of {info.width}x{info.height} px; calibrate for this resolution")
    return PinholeCamera(
        width, height, matrix[0, 0] / binning[0], matrix[1, 1] / binning[1],
        (matrix[0, 2] - roi.x_offset) / binning[0], (matrix[1, 2] - roi.y_offset) / binning[1],
        () if settings.rectified else _distortion(info), info.distortion_model)


def _distortion(info: Any) -> tuple[float, ...]:
    """Return D as its model takes it; () where there is no distortion."""
    d, model = tuple(map(float, info.d)), info.distortion_model
    if not all(map(math.isfinite, d)):
        raise PvmError(f"camera_info's D is {_short(d)}, which is not finite; check the camera driver")
    if not any(d):
        return ()
    lengths = COEFFICIENTS.get(model)
    if lengths is None:
        raise PvmError(f"camera_info's distortion model {model[:40]!r} is not known; known are "
                       f"{', '.join(COEFFICIENTS)}; rectify the image, and set `rectified`")
    if model == "equidistant" and len(d) == 5 and not d[4]:
        d = d[:4]  # some drivers send five for every model
    if len(d) not in lengths:
        raise PvmError(f"camera_info's D has {len(d)} numbers, but {model} takes "
                       f"{' or '.join(map(str, lengths))}; calibrate the camera again")
    return d


def _short(values: Any) -> str:
    """Return numbers as text that fits into a line."""
    text = ", ".join(f"{v:g}" for v in list(values)[:9])
    return f"({text}{', ...' if len(values) > 9 else ''})"


@dataclass(frozen=True)
class Estimate:
    """Where a target's centre is.

    Attributes
    ----------
    position : (3,) float, metres, optical frame
    covariance : (3, 3) float, square metres
    doubt : why the distance is not to be believed, in one line; empty where it is
    """

    position: np.ndarray
    covariance: np.ndarray
    doubt: str = ""

    @property
    def bearing(self) -> float:
        """Return the angle in the horizontal plane, radians; positive to the right."""
        return math.atan2(self.position[0], self.position[2])

    @property
    def distance(self) -> float:
        """Return the distance in the horizontal plane, metres; what a robot has to drive."""
        return math.hypot(self.position[0], self.position[2])


def locate(camera: PinholeCamera, box: tuple[float, float, float, float],
           settings: RangingSettings, depth: tuple[float, float] | None = None) -> Estimate:
    """Return where the target in a box is.

    A ball's outline touches planes through the camera: its distance from the camera's vertical
    axis is radius / sin(half the angle between left and right edge), likewise from the horizontal
    axis by top and bottom. A flat target that faces the camera is height / (difference of the
    edges' tangents) away.

    Parameters
    ----------
    camera
        Where the lines of sight come from.
    box
        x, y, w, h in pixels.
    settings
        The target's size and shape, and the boxes' errors.
    depth
        z of the target's visible surface and its standard deviation, metres, where a depth image
        gave them.

    Raises
    ------
    PvmError
        In one line: the camera has no lines of sight through the box, or it is farther away than anything.
    """
    x, y, w, h = box
    left, right, top, bottom = edges = camera.tangents(np.array(
        [[x, y + h / 2], [x + w, y + h / 2], [x + w / 2, y], [x + w / 2, y + h]]), max(1.0, MISS * min(w, h)))
    if not ((np.abs(edges) <= STEEPEST).all() and left[0] < right[0] and top[1] < bottom[1]):
        raise PvmError(f"the calibration has no line of sight through a box at {_short(box)}; calibrate the "
                       "camera again")
    across, down = np.array([left[0], right[0]]), np.array([top[1], bottom[1]])
    cut_x = x < BORDER * camera.width or x + w > (1 - BORDER) * camera.width
    cut_y = y < BORDER * camera.height or y + h > (1 - BORDER) * camera.height
    share = math.hypot(settings.size_noise, settings.size_tolerance)
    if settings.shape == "ball":
        by_width, u = _touch(across, settings.size / 2)
        by_height, v = _touch(down, settings.size / 2)
        z = (by_height if cut_x and not cut_y else by_width if cut_y and not cut_x
             else min(by_width, by_height) if cut_x else math.sqrt(by_width * by_height))
    else:
        u, v = across.mean(), down.mean()
        by_width, by_height = (settings.size / max(b - a, 1e-6) for a, b in (across, down))
        z = by_height if not cut_y else by_width if not cut_x else min(by_width, by_height)
    if cut_x and cut_y:  # more of it is out of sight: it is nearer than it looks
        share = max(share, UNSURE)
    ray = np.array([u, v, 1.0])
    if depth is not None:
        z, sigma = depth
        along = sigma * np.linalg.norm(ray)
    else:
        along = share * z * np.linalg.norm(ray)
    position = z * ray
    if not 0 < np.linalg.norm(position) <= FARTHEST:
        raise PvmError(f"a box at {_short(box)} would be {np.linalg.norm(position):g} m away; check `size` "
                       "and camera_info")
    aside = settings.size * (0.5 if cut_x or cut_y else settings.centre_noise)
    sight = ray / np.linalg.norm(ray)
    radial = np.outer(sight, sight)
    return Estimate(position, along**2 * radial + aside**2 * (np.eye(3) - radial))


def reconcile(by_depth: Estimate, by_size: Estimate, settings: RangingSettings) -> Estimate:
    """Return which of two estimates of one target to go by: depth's, unless they contradict each other.

    They do where their distances differ by more than the errors of a box can explain: a depth image in
    another unit, or of another camera; a `size` that is wrong by far. Then it is the nearer one, with its
    `doubt`.
    """
    share = math.hypot(settings.size_noise, settings.size_tolerance)
    far = (by_depth.distance, by_size.distance)
    if abs(math.log(far[0] / far[1])) <= SIGMAS * share:
        return by_depth
    return replace(min(by_depth, by_size, key=lambda e: e.distance), doubt=(
        f"depth says {far[0]:.2f} m, the box's size {far[1]:.2f} m; check depth's unit (32FC1 is metres, "
        "16UC1 millimetres), `size` and camera_info"))


def _touch(edges: np.ndarray, radius: float) -> tuple[float, float]:
    """Return a ball's z and the tangent to its centre, from the tangents to its two edges."""
    first, last = np.arctan(edges)
    middle, half = (first + last) / 2, max((last - first) / 2, 1e-6)
    return radius / math.sin(half) * math.cos(middle), math.tan(middle)


def depth_in_box(depth: np.ndarray, camera: PinholeCamera, box: tuple[float, float, float, float],
                 settings: RangingSettings) -> tuple[float, float] | None:
    """Return z of a target's centre in a depth image and its standard deviation, metres.

    The median over the middle half of the box: its corners show what is behind. Half of these
    pixels or more must have a depth.

    Parameters
    ----------
    depth
        (H, W) float32, metres; 0 and NaN = unknown.
    camera
        Its size is that of the detections' image, which the depth image shows as well.
    box
        x, y, w, h in pixels of the detections' image.
    settings
        The target's shape and size, and the depth camera's noise.
    """
    scale = np.array([depth.shape[1] / camera.width, depth.shape[0] / camera.height] * 2)
    x, y, w, h = np.array(box) * scale
    x0, x1 = max(0, int(x + w / 4)), min(depth.shape[1], math.ceil(x + w * 3 / 4))
    y0, y1 = max(0, int(y + h / 4)), min(depth.shape[0], math.ceil(y + h * 3 / 4))
    if x0 >= x1 or y0 >= y1:
        return None
    patch = depth[y0:y1, x0:x1]
    known = patch[np.isfinite(patch) & (patch > 0)]
    if 2 * known.size < patch.size or not known.size:
        return None
    z = float(np.median(known))
    spread = 1.4826 * float(np.median(np.abs(known - z)))  # of a normal distribution
    if settings.shape == "ball":  # the middle half of a ball bulges towards us
        z += 0.91 * settings.size / 2
    return z, math.hypot(spread, settings.depth_noise * z)


def facing(position: np.ndarray) -> np.ndarray:
    """Return the orientation whose x axis points along the line of sight and z axis up.

    So the pose of a target is one that a robot can drive to: the heading is the way it comes.

    Parameters
    ----------
    position
        (3,) float, in the camera's optical frame.

    Returns
    -------
    (4,) float, quaternion x, y, z, w
    """
    forward = position / np.linalg.norm(position)
    up = np.array([0.0, -1.0, 0.0])
    up = up - (up @ forward) * forward
    if np.linalg.norm(up) < 1e-6:
        return np.array([0.0, 0.0, 0.0, 1.0])
    up /= np.linalg.norm(up)
    rotation = np.column_stack([forward, np.cross(up, forward), up])
    axis = cv2.Rodrigues(rotation)[0][:, 0]
    angle = np.linalg.norm(axis)
    return np.append(axis / angle * math.sin(angle / 2), math.cos(angle / 2)) if angle else (
        np.array([0.0, 0.0, 0.0, 1.0]))
