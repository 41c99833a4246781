"""What target_follower and stop_sign_guard do with calibrations, boxes, depth and limits that cannot be."""

import math

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed; run `make setup`")
pytest.importorskip("nav2_msgs.msg", reason="no nav2_msgs here; run `make setup`")

from nav2_msgs.msg import SpeedLimit  # noqa: E402
from nav_msgs.msg import Odometry  # noqa: E402
from odd_messages import TARGETS, good_camera_info, good_detections  # noqa: E402
from odd_sender import Bench  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from pvm_perception.ros.messages import image_size, vision_info  # noqa: E402
from pvm_perception.vision.image_codec import fill_image  # noqa: E402

ERROR, WARN, OK = b"\x02", b"\x01", b"\x00"


@pytest.fixture
def follower(nodes):
    bench = Bench(nodes["follower"], "follower")
    bench.check()
    assert not bench.failures
    return bench


@pytest.fixture
def guard(nodes):
    bench = Bench(nodes["guard"], "guard")
    bench.check()
    assert not bench.failures
    return bench


def show(bench, distance=2.0, info=None, change=lambda _: None, depth=None, count=1):
    """Show the target, with a calibration and perhaps a depth image; return what was published then."""
    bench.published.clear()
    for _ in range(count):
        bench.now += 0.05
        boxes = good_detections(*TARGETS[bench.kind], distance, bench.now if depth is not None else 0.0)
        change(boxes)
        bench.call(bench.node.ranger._camera_info, info or good_camera_info(bench.now))
        if depth is not None:
            bench.call(bench.node.ranger._keep, fill_image(Image(), *depth, boxes.header))
        bench.call(bench.node.ranger._detections, boxes)
        bench.call(bench.node._drive if bench.kind == "follower" else bench.node._step)
    bench.call(bench.node._report)
    assert not bench.failures
    return bench.published


def state(published):
    (status,) = published["status"].status
    return status.level, status.message


def wrong(**changes):
    message = good_camera_info()
    for name, value in changes.items():
        setattr(message, name, value)
    return message


K = [500.0, 0.0, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("info", "words"),
    [
        (wrong(d=[0.1, 0.2, 0.3]), "3 numbers"),
        (wrong(distortion_model="equidistant", d=[0.1] * 5), "5 numbers"),
        (wrong(k=[500.0, 0.0, math.nan, *K[3:]]), "finite"),
        (wrong(k=[math.inf, *K[1:]]), "finite"),
    ],
)
def test_a_wrong_calibration_is_reported_and_gives_no_place(follower, info, words):
    follower.node.faults._kinds.clear()
    published = show(follower, info=info, count=30)
    assert "pose" not in published
    assert (state(published)[0], words in state(published)[1]) == (WARN, True)
    assert published["twist"].linear.x == 0
    assert follower.node.faults.count("camera_info") == 30
    follower.check()
    assert not follower.failures


@pytest.mark.parametrize(("width", "height"), [(1280, 960), (320, 240), (1280, 720), (640, 360)])
def test_a_calibration_of_another_resolution_gives_no_place(follower, width, height):
    """Every distance would be wrong by the ratio: 0.5 m, where it is a metre."""
    tracker_says = vision_info(Header(), "robot", "x.safetensors", 1, (480, 640))
    assert image_size(tracker_says) == (640, 480)
    follower.call(follower.node.ranger._vision_info, tracker_says)
    assert show(follower)["pose"].pose.position.z == pytest.approx(2.0, abs=0.05)
    published = show(follower, info=wrong(width=width, height=height), count=30)
    assert "pose" not in published
    assert published["twist"].linear.x == 0
    assert state(published) == (
        WARN,
        f"camera_info is of {width}x{height} px, the images are of 640x480 px; "
        "calibrate the camera at the resolution it runs at",
    )
    assert show(follower)["pose"].pose.position.z == pytest.approx(2.0, abs=0.05)


def test_who_does_not_say_the_images_size_is_believed(follower):
    follower.call(follower.node.ranger._vision_info, vision_info(Header(), "other", "", 1, None))
    assert "pose" in show(follower, info=wrong(width=660))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("x", 1e308),
        ("x", math.nan),
        ("y", -math.inf),
        ("w", math.inf),
        ("w", 1e200),
        ("h", 0.0),
        ("h", -5.0),
        ("w", 5e-324),
        ("x", 760.0),
        ("y", -100.0),
    ],
)
def test_a_box_that_is_none_or_another_cameras_is_left_out(follower, field, value):
    def change(message):
        bbox = message.detections[0].bbox
        if field in "xy":
            setattr(bbox.center.position, field, value)
        else:
            setattr(bbox, {"w": "size_x", "h": "size_y"}[field], value)

    published = show(follower, change=change)
    assert "pose" not in published
    level, words = state(published)
    assert level == WARN
    assert "box" in words
    follower.check()
    assert not follower.failures


@pytest.mark.parametrize("score", [math.nan, math.inf, -1.0, 90.0])
def test_a_score_that_is_none_makes_no_target(follower, score):
    def change(message):
        message.detections[0].results[0].hypothesis.score = score

    assert "pose" not in show(follower, change=change)


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((48, 64), 1900.0, np.float32),
        np.full((48, 64), 0.2, np.float32),
        np.full((48, 64), 1e30, np.float32),
        np.full((48, 64), 1e-30, np.float32),
        np.full((48, 64), 65000, np.uint16),
    ],
)
def test_a_depth_that_contradicts_the_box_stops_the_robot(follower, pixels):
    assert follower.published["twist"].linear.x == pytest.approx(0.3)
    right = np.full((48, 64), 1909.0 / 1000, np.float32)
    published = show(follower, depth=(right, "32FC1"), count=60)
    assert (published["pose"].pose.position.z, published["twist"].linear.x) == (pytest.approx(2.0), 0.3)
    encoding = "32FC1" if pixels.dtype == np.float32 else "16UC1"
    published = show(follower, depth=(pixels, encoding), count=60)
    assert "pose" not in published
    assert published["twist"].linear.x == 0
    level, words = state(published)
    assert level == ERROR
    assert "depth" in words
    follower.check()
    assert not follower.failures


@pytest.mark.parametrize("odd", [math.inf, math.nan, -math.inf, -1.0, 0.0])
def test_depth_where_there_is_none_is_not_used(follower, odd):
    pixels = np.full((48, 64), odd, np.float32)
    published = show(follower, depth=(pixels, "32FC1"))
    assert published["pose"].pose.position.z == pytest.approx(2.0, abs=0.05)
    pixels[20:26, 28:34] = 2.1 - 0.091  # in some of the pixels
    published = show(follower, depth=(pixels, "32FC1"))
    assert published["pose"].pose.position.z == pytest.approx(2.1, abs=0.11)


def test_a_limit_that_is_none_leaves_the_one_that_holds(follower):
    node = follower.node
    for percentage in (True, False):
        for odd in (math.nan, -5.0, math.inf, -math.inf, -5e-324):
            node._limit(SpeedLimit(percentage=True, speed_limit=10.0))
            node._limit(SpeedLimit(percentage=percentage, speed_limit=odd))
            assert node.servo.share == pytest.approx(0.1)
    for percentage, limit, share in (
        (True, 250.0, 1.0),
        (False, 0.15, 0.5),
        (True, 0.0, 1.0),
        (True, 1e308, 1.0),
    ):
        node._limit(SpeedLimit(percentage=percentage, speed_limit=limit))
        assert node.servo.share == pytest.approx(share)
    assert node.faults.count("speed_limit") >= 10


def test_parameters_that_cannot_be_together_are_refused(nodes):
    for node in (nodes["follower"], nodes["guard"]):
        result = node.set_parameters([Parameter("horizontal_fov", value=5e-324)])[0]
        assert not result.successful
        assert "must be 0" in result.reason
        assert node.get_parameter("horizontal_fov").value == 0.0
        assert node.set_parameters([Parameter("horizontal_fov", value=60.0)])[0].successful
        assert node.ranger.settings.horizontal_fov == 60.0
        assert node.set_parameters([Parameter("horizontal_fov", value=0.0)])[0].successful


@pytest.mark.parametrize("speed", [1e200, math.inf, math.nan, 101.0])
def test_a_speed_that_no_robot_has_is_left_out(guard, speed):
    def moved(value):
        message = Odometry()
        message.twist.twist.linear.x = value
        guard.call(guard.node._odometry, message)

    before = guard.node.faults.count("odom")
    moved(-0.4)
    moved(speed)
    assert guard.node.rule._speed == pytest.approx(0.4)
    assert guard.node.faults.count("odom") == before + 1
    assert not guard.failures


@pytest.mark.parametrize("z", [1500.0, 0.1])
def test_the_guard_believes_the_nearer_of_two_distances(guard, z):
    """A sign 1.5 m away whose depth says 1500 m must stop the robot; so must one whose depth says 0.1 m."""
    published = show(guard, 1.5, depth=(np.full((48, 64), z, np.float32), "32FC1"))
    assert guard.node.distance == pytest.approx(min(z, 1.5), abs=0.05)
    assert state(published)[0] == ERROR


def test_many_boxes_cost_no_more_than_a_few(follower):
    def change(message):
        message.detections = list(message.detections) * 3000

    follower.node.ranger.counts["by depth"] = 0
    published = show(follower, change=change, depth=(np.full((480, 640), 2000 - 91, np.uint16), "16UC1"))
    assert published["pose"].pose.position.z == pytest.approx(2.0, abs=0.05)
    assert follower.node.ranger.counts["by depth"] == 50
