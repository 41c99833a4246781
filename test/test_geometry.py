"""Where the target is, from a box: against brute-force projection; how sure, against trials."""

import math
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvm_perception.errors import PvmError
from pvm_perception.vision.camera import PinholeCamera, camera_from_info
from pvm_perception.vision.geometry import (
    RangingSettings,
    depth_in_box,
    facing,
    locate,
    reconcile,
)

CAMERA = PinholeCamera(640, 480, 500.0, 510.0, 322.0, 238.0)
BALL = RangingSettings()
SIGN = RangingSettings(target="stop_sign", shape="flat", size=0.75)
_v = np.random.default_rng(0).normal(size=(20000, 3))
SPHERE = _v / np.linalg.norm(_v, axis=1, keepdims=True)


def project(points, camera=CAMERA):
    matrix = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
    if camera.model == "equidistant":
        return cv2.fisheye.projectPoints(
            points[:, None], np.zeros(3), np.zeros(3), matrix, np.array(camera.distortion)
        )[0][:, 0]
    distortion = np.array(camera.distortion or [0.0] * 4)
    return cv2.projectPoints(points, np.zeros(3), np.zeros(3), matrix, distortion)[0][:, 0]


def box_of(points, camera=CAMERA):
    pixels = project(points, camera)
    low, high = pixels.min(0), pixels.max(0)
    return (*low, *(high - low))


def ball(centre, size=0.2):
    return np.asarray(centre) + SPHERE * size / 2


def sign(centre, size=0.75, yaw=0.0):
    angles = np.arange(8) * np.pi / 4 + np.pi / 8
    flat = np.stack([np.cos(angles), np.sin(angles), 0 * angles], 1) * size / 2 / math.cos(np.pi / 8)
    turn = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    return np.asarray(centre) + flat @ turn.T


inside = {"u": st.floats(-0.45, 0.45), "v": st.floats(-0.3, 0.3), "z": st.floats(0.6, 8.0)}


@settings(max_examples=60, deadline=None)
@given(**inside)
def test_a_ball_is_where_it_is(u, v, z):
    centre = np.array([u * z, v * z, z])
    box = box_of(ball(centre))
    found = locate(CAMERA, box, BALL)
    assert np.linalg.norm(found.position - centre) < 0.01 * z
    assert found.bearing == pytest.approx(math.atan2(centre[0], z), abs=0.003)
    assert found.distance == pytest.approx(math.hypot(centre[0], z), rel=0.01)


@settings(max_examples=60, deadline=None)
@given(yaw=st.floats(-0.9, 0.9), **inside)
def test_a_sign_is_where_it_is_though_turned_away(u, v, z, yaw):
    z = z + 1.5
    centre = np.array([u * z, v * z, z]) * (0.7, 0.7, 1)
    found = locate(CAMERA, box_of(sign(centre, yaw=yaw)), SIGN)
    # the nearer edge looks larger, and lower or higher, than the farther one
    tolerance = 0.01 + abs(math.sin(yaw)) * (0.25 / z + 0.5 * abs(v))
    assert np.linalg.norm(found.position - centre) < tolerance * z


@pytest.mark.parametrize(
    "camera",
    [
        PinholeCamera(640, 480, 400.0, 400.0, 320.0, 240.0, (-0.25, 0.06, 0.001, -0.002, 0.0)),
        PinholeCamera(640, 480, 300.0, 300.0, 320.0, 240.0, (0.02, -0.01, 0.003, 0.0), "equidistant"),
    ],
)
def test_distortion_is_taken_off(camera):
    for centre in ([0.5, 0.3, 1.5], [-1.2, 0.2, 2.0], [0.0, 0.0, 3.0]):
        found = locate(camera, box_of(ball(centre), camera), BALL)
        assert np.linalg.norm(found.position - centre) < 0.03 * np.linalg.norm(centre)


@pytest.mark.parametrize(
    ("points", "truth", "known"),
    [
        (ball([0.4, -0.2, 2.0]), [0.4, -0.2, 2.0], BALL),
        (ball([0.0, 0.1, 0.8]), [0.0, 0.1, 0.8], BALL),
        (sign([-0.8, 0.3, 4.0]), [-0.8, 0.3, 4.0], SIGN),
    ],
)
def test_the_covariance_is_what_trials_show(points, truth, known):
    """Boxes with the errors that the settings name: the estimates scatter as the covariance says."""
    rng = np.random.default_rng(0)
    x, y, w, h = box_of(points)
    errors = []
    expected = locate(CAMERA, (x, y, w, h), known).covariance
    for _ in range(4000):
        # a box's width and height err together: most of the time because of where its edge is seen
        factor = math.exp(rng.normal(0, known.size_noise))
        u, v = rng.normal(0, known.centre_noise, 2) * (w, h)
        found = locate(
            CAMERA,
            (x + w / 2 + u - w * factor / 2, y + h / 2 + v - h * factor / 2, w * factor, h * factor),
            known,
        )
        errors.append(found.position - truth)
    scatter = np.cov(np.array(errors).T)
    ratio = np.linalg.eigvalsh(scatter) / np.linalg.eigvalsh(expected)
    assert (ratio > 0.7).all() and (ratio < 1.4).all(), ratio


@settings(max_examples=100, deadline=None)
@given(
    x=st.floats(-50, 690),
    y=st.floats(-50, 530),
    w=st.floats(0.1, 700),
    h=st.floats(0.1, 500),
    flat=st.booleans(),
)
def test_any_box_gives_a_place_and_a_covariance(x, y, w, h, flat):
    found = locate(CAMERA, (x, y, w, h), SIGN if flat else BALL)
    assert np.isfinite(found.position).all() and found.position[2] > 0
    assert np.linalg.eigvalsh(found.covariance).min() > 0


def test_a_box_that_the_edge_cuts_is_measured_by_its_other_side():
    centre = np.array([-0.5, 0.0, 1.0])
    x, y, w, h = box_of(ball(centre))
    assert 6.4 < x < 100
    cut = locate(CAMERA, (0.0, y, (x + w) / 2, h), BALL)  # half of it out of sight
    assert cut.position[2] == pytest.approx(1.0, rel=0.1)
    whole = locate(CAMERA, (x, y, w, h), BALL)
    assert np.linalg.eigvalsh(cut.covariance)[0] > 4 * np.linalg.eigvalsh(whole.covariance)[0]
    around = locate(CAMERA, (0.0, 0.0, 640.0, 480.0), BALL)
    assert around.distance < 0.3
    assert math.sqrt(around.covariance[2, 2]) > 0.45 * around.distance


def info(**changes):
    values = {
        "width": 640,
        "height": 480,
        "binning_x": 0,
        "binning_y": 0,
        "d": [0.1, 0, 0, 0, 0],
        "distortion_model": "plumb_bob",
        "k": [500.0, 0, 320, 0, 500, 240, 0, 0, 1],
        "p": [450.0, 0, 310, 0, 0, 450, 230, 0, 0, 0, 1, 0],
        "roi": SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0),
    }
    return SimpleNamespace(**(values | changes))


def test_camera_info():
    camera = camera_from_info(info(), BALL)
    assert (camera.fx, camera.cx, camera.distortion[0]) == (500, 320, 0.1)
    camera = camera_from_info(info(), RangingSettings(rectified=True))
    assert (camera.fx, camera.cx, camera.distortion) == (450, 310, ())
    camera = camera_from_info(info(binning_x=2, binning_y=2), BALL)
    assert (camera.width, camera.fx, camera.cx) == (320, 250, 160)
    roi = SimpleNamespace(x_offset=100, y_offset=40, width=200, height=100)
    camera = camera_from_info(info(roi=roi), BALL)
    assert (camera.width, camera.height, camera.cx, camera.cy) == (200, 100, 220, 200)
    with pytest.raises(PvmError, match="horizontal_fov"):
        camera_from_info(info(k=[0.0] * 9), BALL)
    camera = camera_from_info(info(k=[0.0] * 9), RangingSettings(horizontal_fov=90.0))
    assert camera.fx == pytest.approx(320)
    with pytest.raises(PvmError, match="no image size"):
        camera_from_info(info(width=0), BALL)


K = [500.0, 0.0, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"distortion_model": "plumb_bob", "d": [0.1, 0.2, 0.3]},
            "D has 3 numbers, but plumb_bob takes 4 or 5",
        ),
        ({"distortion_model": "plumb_bob", "d": [0.1, 0.01, 0.0, 0.0, 0.0, 0.0]}, "D has 6 numbers"),
        ({"distortion_model": "equidistant", "d": [0.1] * 3}, "D has 3 numbers, but equidistant takes 4"),
        ({"distortion_model": "equidistant", "d": [0.1] * 5}, "D has 5 numbers"),
        ({"distortion_model": "rational_polynomial", "d": [0.1] * 5}, "takes 8 or 12 or 14"),
        ({"distortion_model": "thin_prism_fisheye", "d": [0.1] * 5}, "'thin_prism_fisheye' is not known"),
        ({"d": [0.1, math.nan, 0.0, 0.0, 0.0]}, "not finite"),
        ({"d": [0.1, math.inf, 0.0, 0.0, 0.0]}, "not finite"),
        ({"k": [500.0, 0.0, math.nan, *K[3:]]}, "9 finite numbers"),
        ({"k": [math.inf, *K[1:]]}, "finite"),
        ({"k": [*K[:4], 5e-324, *K[5:]]}, "no camera's of 640x480"),
        ({"k": [1e300, *K[1:]]}, "no camera's"),
        ({"k": [*K[:2], -5000.0, *K[3:]]}, "no camera's"),
        ({"k": [-500.0, *K[1:]]}, "no calibration"),
        ({"width": 4_000_000_000}, "pixels"),
        ({"height": 0}, "no image size"),
        ({"binning_x": 1000}, "no image size"),
    ],
)
def test_a_calibration_that_no_camera_has(changes, words):
    with pytest.raises(PvmError, match=words) as caught:
        camera_from_info(info(**changes), BALL)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("model", "d", "used"),
    [
        (
            "equidistant",
            [-0.006, 0.04, -0.04, 0.007, 0.0],
            (-0.006, 0.04, -0.04, 0.007),
        ),  # as a T265 sends it
        ("plumb_bob", [0.1, 0.01, 0.0, 0.0], (0.1, 0.01, 0.0, 0.0)),
        ("plumb_bob", [], ()),
        ("", [0.0] * 7, ()),
        ("rational_polynomial", [0.1] * 8, (0.1,) * 8),
    ],
)
def test_distortions_as_drivers_send_them(model, d, used):
    camera = camera_from_info(info(distortion_model=model, d=d), BALL)
    assert camera.distortion == used
    x, y = camera.tangents(np.array([[camera.cx + 50, camera.cy]]))[0]
    assert (x, y) == (pytest.approx(0.1, abs=0.005), pytest.approx(0, abs=0.001))


def test_a_calibration_that_has_no_line_of_sight_through_a_box():
    camera = camera_from_info(info(distortion_model="plumb_bob", d=[-2.0, 0.0, 0.0, 0.0, 0.0]), BALL)
    with pytest.raises(PvmError, match="no line of sight"):
        locate(camera, (5.0, 5.0, 60.0, 60.0), BALL)  # far out, where the polynomial turns back
    for box in ((300.0, 200.0, 5e-324, 60.0), (math.nan, 200.0, 60.0, 60.0), (1e300, 200.0, 60.0, 60.0)):
        with pytest.raises(PvmError):
            locate(CAMERA, box, BALL)


@pytest.mark.parametrize("fov", [5e-324, 1e-9, 0.99])
def test_a_field_of_view_that_no_camera_has(fov):
    with pytest.raises(PvmError, match=r"horizontal_fov .* must be 0 .* or at least 1.0 degrees"):
        RangingSettings(horizontal_fov=fov)


def test_depth_and_size_that_contradict_each_other():
    box = box_of(ball([0.0, 0.0, 1.7]))
    by_size = locate(CAMERA, box, BALL)
    assert by_size.doubt == ""
    for z in (0.9, 1.7, 3.4):
        found = reconcile(locate(CAMERA, box, BALL, (z, 0.05)), by_size, BALL)
        assert (found.doubt, found.position[2]) == ("", pytest.approx(z))
    for z, nearer in ((1700.0, 1.7), (0.17, 0.17), (5.0, 1.7)):
        found = reconcile(locate(CAMERA, box, BALL, (z, 0.05)), by_size, BALL)
        assert f"depth says {z:.2f} m, the box's size 1.70 m" in found.doubt
        assert found.distance == pytest.approx(nearer, abs=0.02)
    unsure = RangingSettings(size_tolerance=0.5)  # of a target whose size is hardly known
    assert not reconcile(locate(CAMERA, box, unsure, (5.0, 0.05)), by_size, unsure).doubt


def test_depth_of_a_ball_before_a_wall():
    centre = np.array([0.1, 0.05, 1.5])
    box = box_of(ball(centre))
    columns, rows = np.meshgrid(np.arange(640), np.arange(480))
    rays = np.stack(
        [(columns - CAMERA.cx) / CAMERA.fx, (rows - CAMERA.cy) / CAMERA.fy, np.ones_like(rows)], -1
    )
    b, a = rays @ centre, (rays**2).sum(-1)
    root = b**2 - a * (centre @ centre - 0.01)
    depth = np.where(root > 0, (b - np.sqrt(np.maximum(root, 0))) / a, 4.0).astype(np.float32)
    z, sigma = depth_in_box(depth, CAMERA, box, BALL)
    assert z == pytest.approx(1.5, abs=0.01)
    assert 0.02 < sigma < 0.06
    found = locate(CAMERA, box, BALL, (z, sigma))
    assert np.linalg.norm(found.position - centre) < 0.01
    assert found.covariance[2, 2] < 0.1 * locate(CAMERA, box, BALL).covariance[2, 2]
    half = depth[::2, ::2]
    assert depth_in_box(half, CAMERA, box, BALL)[0] == pytest.approx(1.5, abs=0.02)
    depth[:] = np.nan
    assert depth_in_box(depth, CAMERA, box, BALL) is None
    assert depth_in_box(depth, CAMERA, (700.0, 10.0, 30.0, 30.0), BALL) is None


@settings(max_examples=50, deadline=None)
@given(u=st.floats(-2, 2), v=st.floats(-2, 2), z=st.floats(0.1, 9))
def test_the_pose_faces_along_the_line_of_sight(u, v, z):
    position = np.array([u * z, v * z, z])
    x, y, zz, w = facing(position)
    rotation = cv2.Rodrigues(
        np.array([x, y, zz])
        / max(np.linalg.norm([x, y, zz]), 1e-12)
        * 2
        * math.atan2(np.linalg.norm([x, y, zz]), w)
    )[0]
    np.testing.assert_allclose(rotation[:, 0], position / np.linalg.norm(position), atol=1e-6)
    assert rotation[1, 2] < 0  # z axis up: against the optical frame's y
    assert abs(rotation[1, 1]) < 1e-6  # y axis level
