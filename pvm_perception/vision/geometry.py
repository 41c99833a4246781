"""From a box in the image to where the target is: bearing, distance and how sure of them.

Everything is in the camera's optical frame of REP 103: x to the right, y down, z forward, metres
and radians. A *tangent* is x/z or y/z of a line of sight, without unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from pvm_perception.core.settings import check, setting
from pvm_perception.errors import PvmError
from pvm_perception.vision.camera import PinholeCamera, short

SHAPES = ("ball", "flat")
BORDER = 0.01  # of the image's side; a box that comes so near to the edge is taken as cut by it
UNSURE = 0.5  # of the distance: standard deviation when the image's edge cuts a box all around
NARROWEST = 1.0  # degrees: the smallest horizontal_fov
FARTHEST = 10_000.0  # m; a box or a depth that says more is an error
MISS = 0.1  # of a box's side: by how much its lines of sight may miss it
STEEPEST = 100.0  # largest tangent of a line of sight: 89.4 degrees off the axis
SIGMAS = 4.5  # standard deviations of a box's size, from which on depth and size contradict each other


@dataclass(frozen=True)
class RangingSettings:
    """What is known of the target and of the boxes' errors.

    The errors are the shipped model's on labelled sequences: 16 to 38 % of a ball's size
    (three sequences), 20 to 43 % of a sign's (three), root mean square where it was found.
    """

    target: str = setting("green_ball", "class_id of the detections to use, as green_ball or stop_sign")
    shape: str = setting(
        "ball",
        "how the target is measured; ball: seen alike from all sides; flat: a sign, by its height, "
        "because turning away only narrows it",
        choices=SHAPES,
    )
    size: float = setting(
        0.2,
        "the target's real diameter (a ball) or height (a sign) in metres, by which its distance is measured",
        low=0.005,
        high=10.0,
    )
    size_tolerance: float = setting(
        0.03, "standard deviation of `size` from one target to the next, as a share of it", low=0.0, high=1.0
    )
    min_score: float = setting(0.0, "score, 0 to 1, below which detections are ignored", low=0.0, high=1.0)
    size_noise: float = setting(
        0.2,
        "standard deviation of a box's size, as a share of it; it widens the covariance of distances",
        low=0.01,
        high=1.0,
    )
    centre_noise: float = setting(
        0.08,
        "standard deviation of a box's centre, as a share of the box's size; it widens the covariance to "
        "the sides",
        low=0.001,
        high=1.0,
    )
    rectified: bool = setting(
        False, "take the images for rectified: use P of camera_info, without distortion, instead of K and D"
    )
    horizontal_fov: float = setting(
        0.0,
        "horizontal field of view in degrees of a camera without calibration; 0 = use camera_info's",
        low=0.0,
        high=170.0,
    )
    use_depth: bool = setting(
        False,
        "measure the distance in `depth`, an image aligned with the detections' one; by `size` where it "
        "has none",
    )
    depth_noise: float = setting(
        0.02, "standard deviation of the depth in `depth`, as a share of it", low=0.0, high=1.0
    )
    depth_tolerance: float = setting(
        0.03,
        "largest difference in seconds between a detection's stamp and its depth image's",
        low=0.0,
        high=1.0,
    )

    def __post_init__(self) -> None:
        check(self)
        if 0 < self.horizontal_fov < NARROWEST:
            raise PvmError(
                f"horizontal_fov is {self.horizontal_fov}; it must be 0 (use camera_info's) or at "
                f"least {NARROWEST} degrees"
            )


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


def locate(
    camera: PinholeCamera,
    box: tuple[float, float, float, float],
    settings: RangingSettings,
    depth: tuple[float, float] | None = None,
) -> Estimate:
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
    left, right, top, bottom = edges = camera.tangents(
        np.array([[x, y + h / 2], [x + w, y + h / 2], [x + w / 2, y], [x + w / 2, y + h]]),
        max(1.0, MISS * min(w, h)),
    )
    if not ((np.abs(edges) <= STEEPEST).all() and left[0] < right[0] and top[1] < bottom[1]):
        raise PvmError(
            f"the calibration has no line of sight through a box at {short(box)}; calibrate the camera again"
        )
    across, down = np.array([left[0], right[0]]), np.array([top[1], bottom[1]])
    cut_x = x < BORDER * camera.width or x + w > (1 - BORDER) * camera.width
    cut_y = y < BORDER * camera.height or y + h > (1 - BORDER) * camera.height
    share = math.hypot(settings.size_noise, settings.size_tolerance)
    if settings.shape == "ball":
        by_width, u = _touch(across, settings.size / 2)
        by_height, v = _touch(down, settings.size / 2)
        z = (
            by_height
            if cut_x and not cut_y
            else by_width
            if cut_y and not cut_x
            else min(by_width, by_height)
            if cut_x
            else math.sqrt(by_width * by_height)
        )
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
        raise PvmError(
            f"a box at {short(box)} would be {np.linalg.norm(position):g} m away; check `size` "
            "and camera_info"
        )
    aside = settings.size * (0.5 if cut_x or cut_y else settings.centre_noise)
    sight = ray / np.linalg.norm(ray)
    radial = np.outer(sight, sight)
    return Estimate(position, along**2 * radial + aside**2 * (np.eye(3) - radial))


def reconcile(by_depth: Estimate, by_size: Estimate, settings: RangingSettings) -> Estimate:
    """Return which of two estimates of one target to go by: depth's, unless they contradict each other.

    They do where their distances differ by more than the errors of a box can explain: a depth image in
    another unit, or of another camera; a `size` that is wrong by far. Then it is the nearer one, with its
    `doubt`.

    Parameters
    ----------
    by_depth
        Where the depth image puts the target; None where it does not.
    by_size
        Where its known size puts it; None where it does not.
    settings
        How far they may lie apart.
    """
    share = math.hypot(settings.size_noise, settings.size_tolerance)
    far = (by_depth.distance, by_size.distance)
    if abs(math.log(far[0] / far[1])) <= SIGMAS * share:
        return by_depth
    return replace(
        min(by_depth, by_size, key=lambda e: e.distance),
        doubt=(
            f"depth says {far[0]:.2f} m, the box's size {far[1]:.2f} m; check depth's unit (32FC1 is metres, "
            "16UC1 millimetres), `size` and camera_info"
        ),
    )


def _touch(edges: np.ndarray, radius: float) -> tuple[float, float]:
    """Return a ball's z and the tangent to its centre, from the tangents to its two edges."""
    first, last = np.arctan(edges)
    middle, half = (first + last) / 2, max((last - first) / 2, 1e-6)
    return radius / math.sin(half) * math.cos(middle), math.tan(middle)


def depth_in_box(
    depth: np.ndarray,
    camera: PinholeCamera,
    box: tuple[float, float, float, float],
    settings: RangingSettings,
) -> tuple[float, float] | None:
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
    return (
        np.append(axis / angle * math.sin(angle / 2), math.cos(angle / 2))
        if angle
        else (np.array([0.0, 0.0, 0.0, 1.0]))
    )
