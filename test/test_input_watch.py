"""What the tracker says of a camera whose images do not come, or only in part."""

import signal
import time

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed; run `make setup`")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402
from rclpy.qos import QoSProfile, ReliabilityPolicy  # noqa: E402
from ros_side import picture  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402

from pvm_perception.ros.stamp_rate import HALF, StampRate, camera_period  # noqa: E402


def judged(stamps):
    rate = StampRate()
    for stamp in stamps:
        rate.add(float(stamp))
    return rate.shortfall()


def test_a_camera_a_third_of_whose_frames_are_lost():
    rng = np.random.default_rng(0)
    stamps = 100 + np.arange(400) / 15 + rng.normal(0, 0.002, 400)
    received, taken = judged(stamps[rng.random(400) < 0.63])
    assert received == pytest.approx(9.5, abs=0.7)
    assert taken == pytest.approx(15, abs=0.3)


@pytest.mark.parametrize(
    "stamps",
    [
        100 + np.arange(200) / 30,
        100 + np.arange(200) / 30 + np.random.default_rng(1).normal(0, 0.007, 200),  # stamped as they come
        np.concatenate([100 + np.arange(60) / 30, 102 + np.arange(60) / 15]),  # it gets dark
        100 + np.sort(np.random.default_rng(2).random(200)) * 10,  # no rate of its own
        100 + np.repeat(np.arange(50), 4) * 0.2 + np.tile([0, 1e-3, 2e-3, 3e-3], 50),  # in bursts
        np.zeros(200),  # no stamps
        np.delete(100 + np.arange(200) / 30, np.s_[::10]),  # one of ten lost
        np.tile(100 + np.arange(0, 60, 1.7) / 30, 4),  # a short bag, again and again
    ],
)
def test_a_camera_of_which_nothing_is_reported(stamps):
    assert judged(stamps) is None


def test_a_camera_recovers():
    lossy = np.cumsum(np.tile([1, 2, 1, 3], HALF)) / 30
    assert judged(100 + lossy)[1] == pytest.approx(30)
    assert judged(np.concatenate([lossy, lossy[-1] + np.arange(1, HALF + 2) / 30])) is None


def test_a_period_is_not_made_up():
    assert camera_period([0.1, 0.2, 0.1, 0.3] * 10) == pytest.approx(0.1)
    assert camera_period(list(np.linspace(0.1, 0.3, 40))) is None


def test_a_tracker_without_images_names_the_topics_that_have_some(robot, start_tracker, images):
    others = [
        robot.node.create_publisher(Image, name, 5) for name in ("/cam/depth/image_raw", "/cam/image_raw")
    ]
    lost = start_tracker("-p", "frame_timeout:=0.5", name="lost")
    mute = start_tracker("-p", "frame_timeout:=0.5", "-p", "reliability:=reliable", name="mute")
    best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    others.append(robot.node.create_publisher(Image, "/mute/camera", best_effort))
    packed = start_tracker("-p", "frame_timeout:=0.5", name="packed")
    others.append(robot.node.create_publisher(CompressedImage, "/packed/camera", 5))
    robot.listen(DiagnosticArray, "/diagnostics")
    statuses = {}

    def all_said():
        statuses.update({s.name.split(":")[0]: s for m in robot.heard["/diagnostics"] for s in m.status})
        return len(statuses) == 3 and (
            "/cam/depth/image_raw" in statuses["lost"].message
            and "/robot offers" in statuses["mute"].message
            and "instead of" in statuses["packed"].message
        )

    robot.until(all_said, 60)
    robot.spin(1.5)
    assert {s.level for s in statuses.values()} == {DiagnosticStatus.WARN}
    order = [
        statuses["lost"].message.find(t) for t in ("/cam/image_raw", "/mute/camera", "/cam/depth/image_raw")
    ]
    assert -1 < order[0] < order[1] < order[2]
    assert "--ros-args -r image:=/cam/image_raw" in statuses["lost"].message
    for process, words in (
        (lost, "nobody publishes it; "),
        (mute, "/robot offers best_effort, volatile, which reliability: reliable never hears"),
        (packed, "but sensor_msgs/msg/CompressedImage instead of sensor_msgs/msg/Image"),
    ):
        process.send_signal(signal.SIGTERM)
        lines = [line for line in process.stdout.read().splitlines() if "no image for" in line]
        assert all("[WARN]" in line for line in lines)
        causes = [line.partition(" (")[2] for line in lines]
        assert len(set(causes)) == len(causes)  # a cause is said once, a new one at once
        assert words in causes[-1]
    for publisher in others:
        robot.node.destroy_publisher(publisher)


def test_a_camera_that_is_received_in_part_names_the_profile(robot, start_tracker, images):
    publisher = robot.node.create_publisher(Image, "/holes/camera", 5)
    robot.listen(DiagnosticArray, "/diagnostics")
    process = start_tracker("-p", "diagnostics_period:=0.2", "-p", "max_age:=0.0", name="holes")
    moment = time.time()

    def statuses():
        nonlocal moment
        for gap in (1, 2, 1, 3):
            moment += gap / 30
            publisher.publish(picture(images[0], moment))
            robot.spin(0.03)
        found = [s for m in robot.heard["/diagnostics"] for s in m.status if s.name == "holes: tracker"]
        return found and "images a second on /holes/camera arrive" in found[-1].message and found[-1]

    robot.until(statuses, 60)
    assert statuses().level == DiagnosticStatus.WARN
    process.send_signal(signal.SIGTERM)
    logged = process.stdout.read()
    assert "of the 30.0 images a second on /holes/camera arrive" in logged
    assert "config/fastdds.xml" in logged
