"""The robot's own motion: from odometry to the frame, and from the frame to what the network sees."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from pvm_perception.vision.ego_motion import MOST, EgoMotion, picture_motion
from pvm_perception.vision.frame import View
from pvm_perception.vision.motion import DEPTH, seen_through, view_motion

SIZE, FOV = (480, 640), 60.0
ACROSS = 0.5 / math.tan(math.radians(FOV) / 2)  # focal length as a share of the width


def twist(yaw=0.0, ahead=0.0, pitch=0.0, roll=0.0):
    return SimpleNamespace(
        linear=SimpleNamespace(x=ahead, y=0.0, z=0.0), angular=SimpleNamespace(x=roll, y=pitch, z=yaw)
    )


def driven(rates, stamps):
    ego = EgoMotion()
    for stamp in stamps:
        ego.moved(stamp, twist(**{k: v(stamp) for k, v in rates.items()}))
    return ego


def projected(points, pose, f):
    """Return pixels of far points seen by a camera whose rotation in the world is `pose`.

    Points are directions in REP 103's axes: ahead, left, up.
    """
    ahead, left, up = pose.T @ points.T
    return np.stack([320 - f * left / ahead, 240 - f * up / ahead], 1)


def turned(axis, angle):
    c, s = math.cos(angle), math.sin(angle)
    i, j = [k for k in range(3) if k != axis]
    m = np.eye(3)
    m[i, i], m[i, j], m[j, i], m[j, j] = c, -s, s, c
    return m if axis != 1 else m.T


@pytest.mark.parametrize(("name", "axis"), [("roll", 0), ("pitch", 1), ("yaw", 2)])
def test_turns_move_the_picture_as_a_pinhole_camera_sees_it(name, axis):
    """Against the geometry itself: far points, a camera that turns by the right-hand rule."""
    angle, f = 0.02, 640 * ACROSS
    points = np.array([[1, 0, 0], [1, 0.05, 0], [1, 0, 0.05]], float)
    before, now = projected(points, np.eye(3), f), projected(points, turned(axis, angle), f)
    right, down, roll, growth = picture_motion(
        **{k: angle if k == name else 0.0 for k in ("roll", "pitch", "yaw")},
        way=0.0,
        across=ACROSS,
        along=ACROSS * 640 / 480,
    )
    np.testing.assert_allclose([right * 640, down * 480], now[0] - before[0], atol=0.05)
    arm = now[1] - now[0]  # pointed left before
    assert math.atan2(-arm[1], -arm[0]) == pytest.approx(roll, abs=1e-3)
    assert growth == 0


def test_a_steady_turn_and_way_between_two_frames():
    ego = driven({"yaw": lambda _: 0.5, "ahead": lambda _: 1.2}, np.arange(10, 11, 0.02))
    motion = ego.between(10.4, 10.5, SIZE, FOV)
    np.testing.assert_allclose(motion, [0.05 * ACROSS, 0, 0, 0.12 / DEPTH], rtol=1e-5)
    assert motion[0] > 0  # it turns to the left, so the picture moves to the right


@pytest.mark.parametrize("rate", [10, 50, 200])
def test_what_changes_between_frames_is_added_up(rate):
    ego = driven({"yaw": lambda t: t - 10}, np.arange(10, 12, 1 / rate))
    assert ego.between(10.5, 11.0, SIZE, FOV)[0] == pytest.approx((1 - 0.25) / 2 * ACROSS, rel=1e-3)


def test_odometry_that_does_not_cover_the_time_says_nothing():
    ego = EgoMotion()
    assert ego.between(1.0, 1.1, SIZE, FOV) is None
    ego = driven({"yaw": lambda _: 0.5}, np.arange(10, 11, 0.02))
    assert ego.between(10.9, 11.1, SIZE, FOV)[0] == pytest.approx(0.1 * ACROSS, rel=1e-4)  # it is late
    for since, until in ((0.0, 10.5), (10.5, 12.0), (12.0, 12.1), (10.5, 10.5), (10.5, 10.4)):
        assert ego.between(since, until, SIZE, FOV) is None
    ego.moved(3.0, twist(yaw=0.2))  # time jumped back
    assert ego.between(10.4, 10.5, SIZE, FOV) is None
    assert ego.between(3.0, 3.1, SIZE, FOV) is not None


def test_odometry_that_comes_late_is_put_in_its_order():
    stamps = np.arange(10, 11, 0.02)
    swapped = stamps.reshape(-1, 2)[:, ::-1].ravel()  # each second one before the one ahead of it
    in_order, late = (driven({"yaw": lambda t: t - 10}, s) for s in (stamps, swapped))
    expected = in_order.between(10.4, 10.6, SIZE, FOV)
    np.testing.assert_array_equal(late.between(10.4, 10.6, SIZE, FOV), expected)
    late.moved(10.5, twist(yaw=0.5))  # the same once more
    np.testing.assert_array_equal(late.between(10.4, 10.6, SIZE, FOV), expected)


def test_odometry_is_bounded_in_memory():
    ego = EgoMotion()
    for k in range(3 * MOST):
        ego.moved(10 + k * 1e-4, twist(yaw=0.1))
    assert len(ego._twists) == MOST
    ego.moved(20.0, twist(yaw=0.1))
    assert len(ego._twists) == 1


def test_broken_odometry_is_left_out():
    ego = driven({"yaw": lambda _: 0.5}, np.arange(10, 11, 0.02))
    ego.moved(11.0, twist(yaw=math.nan))
    ego.moved(0.0, twist(yaw=9.0))
    assert ego.between(10.9, 11.0, SIZE, FOV)[0] == pytest.approx(0.05 * ACROSS, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ahead", 1e39),
        ("ahead", 1e200),
        ("yaw", -1e39),
        ("ahead", 101.0),
        ("roll", math.inf),
        ("pitch", math.nan),
    ],
)
def test_odometry_that_no_robot_reaches_is_left_out_and_reported(name, value):
    ego = driven({"yaw": lambda _: 0.5}, np.arange(10, 11, 0.02))
    assert ego.odometry_fault == ""
    ego.moved(11.0, twist(**{name: value}))
    assert "at most 100 of each is believed" in ego.odometry_fault
    assert ego.between(10.9, 11.0, SIZE, FOV)[0] == pytest.approx(0.05 * ACROSS, rel=1e-3)
    ego.moved(11.02, twist(yaw=0.5))
    assert ego.odometry_fault == ""


def test_odometry_whose_stamp_stands_still_is_not_kept():
    ego = EgoMotion()
    for k in range(5000):
        ego.moved(10.0, twist(yaw=k / 5000))
    assert len(ego._twists) == 1
    assert ego.between(9.95, 10.05, SIZE, FOV)[0] == pytest.approx(0.1 * 4999 / 5000 * ACROSS, rel=1e-4)
    for k in range(5000):
        ego.moved(10.0 + k * 1e-9, twist(yaw=0.5))
    assert len(ego._twists) <= 2048


def test_two_pictures_that_share_nothing_tell_no_motion():
    ego = driven({"yaw": lambda _: 90.0}, np.arange(10, 11, 0.02))
    assert ego.between(10.4, 10.42, SIZE, FOV)[0] == pytest.approx(1.8 * ACROSS, rel=1e-4)
    assert ego.between(10.4, 10.5, SIZE, FOV) is None


def calibration(width, height, fx, fy, x_offset=0, roi=(0, 0)):
    return SimpleNamespace(
        width=width,
        height=height,
        k=[fx, 0, width / 2, 0, fy, height / 2, 0, 0, 1],
        d=[],
        distortion_model="plumb_bob",
        binning_x=0,
        binning_y=0,
        roi=SimpleNamespace(x_offset=x_offset, y_offset=0, width=roi[0], height=roi[1]),
    )


def test_a_calibration_tells_the_focal_length():
    ego = driven({"yaw": lambda _: 0.5, "pitch": lambda _: 0.1}, np.arange(10, 11, 0.02))
    ego.calibrated(calibration(1280, 720, 900.0, 910.0))
    motion = ego.between(10.4, 10.5, (360, 640), FOV)  # a shrunk picture of that camera
    np.testing.assert_allclose(motion[:2], [0.05 * 900 / 1280, -0.01 * 910 / 720], rtol=1e-5)
    ego.calibrated(calibration(1280, 720, 900.0, 910.0, 320, (640, 480)))
    assert ego.between(10.4, 10.5, SIZE, FOV)[0] == pytest.approx(0.05 * 900 / 640, rel=1e-5)
    ego.calibrated(calibration(1280, 720, 0.0, 0.0))  # not calibrated
    assert ego.between(10.4, 10.5, SIZE, FOV)[0] == pytest.approx(0.05 * ACROSS, rel=1e-5)


def test_a_calibration_of_another_picture_is_not_used():
    ego = driven({"yaw": lambda _: 0.5}, np.arange(10, 11, 0.02))
    ego.calibrated(calibration(1280, 720, 900.0, 900.0))
    assert ego.disagreement((720, 1280)) == ego.disagreement((360, 641)) == ""
    assert ego.disagreement(SIZE) == "camera_info is of 1280x720 pixels, the images are of 640x480"
    assert ego.between(10.4, 10.5, SIZE, FOV)[0] == pytest.approx(0.05 * ACROSS, rel=1e-5)
    ego.calibrated(calibration(640, 480, math.inf, 600.0))
    assert "9 finite numbers" in ego.calibration_fault
    assert ego.between(10.4, 10.5, SIZE, FOV)[0] == pytest.approx(0.05 * ACROSS, rel=1e-5)
    ego.calibrated(calibration(640, 480, 600.0, 600.0))
    assert ego.calibration_fault == ""
    assert ego.between(10.4, 10.5, SIZE, FOV)[0] == pytest.approx(0.05 * 600 / 640, rel=1e-5)


@pytest.mark.parametrize(
    "view",
    [
        View.fit((480, 640), (128, 160)),
        View.fit((480, 300), (128, 160)),
        View.window((480, 640), (128, 160), (500, 120), 0.8),
    ],
)
def test_a_view_sees_the_frames_motion_in_its_own_measure(view):
    """Against the matrices themselves: the whole change, cut and scaled as the view does it."""
    rows, cols = source = (480, 300 if view.width == 300 else 640)
    right, down, roll, growth = 0.03, -0.02, 0.05, 0.04
    c, s = math.exp(growth) * math.cos(roll), math.exp(growth) * math.sin(roll)
    middle = np.array([cols, rows]) / 2
    frame = np.array([[c, -s, 0], [s, c, 0]])
    frame[:, 2] = middle + [right * cols, down * rows] - frame[:, :2] @ middle
    still = np.array([[1.0, 0, 0], [0, 1, 0]])
    np.testing.assert_allclose(view_motion(still, frame, source), [right, down, roll, growth], atol=1e-6)
    cut = np.array(
        [[view.scale, 0, view.left - view.x * view.scale], [0, view.scale, view.top - view.y * view.scale]]
    )
    through = np.hstack([view.scale * frame[:, :2], (view.scale * frame[:, 2] + cut[:, 2])[:, None]])
    seen = seen_through(view, np.float32([right, down, roll, growth]), source)
    np.testing.assert_allclose(seen, view_motion(cut, through, view.network), atol=2e-3)


def test_the_motion_ahead_is_what_odometry_knows_already_and_then_its_last_speed():
    ego = driven({"yaw": lambda t: t - 10}, np.arange(10, 10.561, 0.02))  # until 10.56 s
    before, ahead = ego.around(10.4, 10.5, SIZE, FOV)
    assert before[0] == pytest.approx((0.5**2 - 0.4**2) / 2 * ACROSS, rel=1e-3)
    known, goes_on = (0.56**2 - 0.5**2) / 2, 0.04 * 0.56
    assert ahead[0] == pytest.approx((known + goes_on) * ACROSS, rel=1e-3)
    # at the first frame nobody knows when the next comes
    assert ego.around(0.0, 10.5, SIZE, FOV) == (None, None)
    assert ego.around(10.0, 10.55, SIZE, FOV)[1] is None  # nor what the robot does in half a second
    stands = driven({}, np.arange(10, 11, 0.02)).around(10.4, 10.5, SIZE, FOV)[1]
    assert stands is not None and not stands.any()
