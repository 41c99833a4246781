"""What the node hears: images of all kinds, odometry, calibrations; odd ones cost themselves and no more."""

import threading
from array import array

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed; run `make setup`")

from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from nav_msgs.msg import Odometry  # noqa: E402
from ros_side import feed, picture  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402
from vision_msgs.msg import Detection2DArray  # noqa: E402


def test_bad_images_are_counted_and_survived(robot, start_tracker, images):
    topic = "/bad/detections"
    robot.listen(Detection2DArray, topic)
    robot.listen(DiagnosticArray, "/diagnostics")
    publisher = robot.node.create_publisher(Image, "/bad/camera", 5)
    start_tracker("-p", "diagnostics_period:=0.2", name="bad")
    feed(robot, publisher, images, topic, 3)
    broken = [Image(), Image(height=4, width=4, encoding="bgr8", step=12),
              Image(height=4, width=4, encoding="nonsense", step=12, data=array("B", bytes(48))),
              Image(height=2**31, width=2**31, encoding="mono8", step=2**31)]
    for message in broken:
        publisher.publish(message)
        robot.spin(0.15)

    def malformed():
        mine = [s for m in robot.heard["/diagnostics"] for s in m.status if s.name == "bad: tracker"]
        return mine and int({v.key: v.value for v in mine[-1].values}["malformed images"]) >= 3
    robot.until(malformed)
    feed(robot, publisher, images, topic, 3)
    feed(robot, publisher, [np.full((480, 200, 3), 99, np.uint8)], topic, 3, start=200.0)


def test_odometry_reaches_the_network_at_the_frames_own_time(robot, start_tracker, images):
    """A turn of half a radian a second, seen by a camera of 60 degrees at 30 frames a second."""
    robot.listen(Detection2DArray, "/turning/detections")
    robot.listen(DiagnosticArray, "/diagnostics")
    camera = robot.node.create_publisher(Image, "/turning/camera", 5)
    wheels = robot.node.create_publisher(Odometry, "/turning/odom", 5)
    start_tracker("-p", "diagnostics_period:=0.2", "-r", "odom:=/turning/odom",
          "-r", "camera_info:=/turning/camera_info", name="turning")

    def own_motion():
        return [v.value for m in robot.heard["/diagnostics"] for s in m.status
                if s.name == "turning: tracker" for v in s.values if v.key == "own motion"]

    feed(robot, camera, images, "/turning/detections", 3)
    robot.until(lambda: any("no odometry" in v and "/turning/odom" in v for v in own_motion()))
    moment = 200.0

    def told():
        nonlocal moment
        moment += 1 / 30
        odometry = Odometry()
        odometry.header.stamp = picture(images[0], moment).header.stamp
        odometry.twist.twist.angular.z = 0.5
        wheels.publish(odometry)
        camera.publish(picture(images[0], moment))
        robot.spin(0.05)
        return "picture" in own_motion()[-1]

    robot.until(told, 40)
    right, down = (float(own_motion()[-1].split()[k]) for k in (1, 3))
    frames = right / (0.5 / 30 * 0.5 / np.tan(np.radians(30)))  # one, or more where some were dropped
    assert frames == pytest.approx(round(frames), abs=0.05)
    assert 1 <= round(frames) <= 20
    assert down == 0
    feed(robot, camera, images, "/turning/detections", 3, start=moment + 5)  # and now it is silent
    robot.until(lambda: "no odometry" in own_motion()[-1])


def test_compressed_images(robot, start_tracker, images):
    import cv2

    topic = "/packed/detections"
    robot.listen(Detection2DArray, topic)
    publisher = robot.node.create_publisher(CompressedImage, "/packed/camera/compressed", 5)
    start_tracker("-p", "image_transport:=compressed", name="packed")
    _, data = cv2.imencode(".jpg", images[0])
    good = CompressedImage(format="jpeg", data=array("B", data.tobytes()))
    cut = CompressedImage(format="jpeg", data=array("B", data.tobytes()[:900]))

    def done():
        publisher.publish(cut)
        publisher.publish(good)
        robot.spin(0.05)
        return len(robot.heard[topic]) >= 5
    robot.until(done)


def test_the_newest_frame_wins_and_nothing_queues():
    from pvm_perception.ros.mailbox import Mailbox

    box = Mailbox()
    assert [box.put(k) for k in "abc"] == [False, True, True]
    assert box.take() == "c"
    taken = []
    waiting = threading.Thread(target=lambda: taken.append(box.take()))
    waiting.start()
    box.close()
    waiting.join(5)
    assert taken == [None]
