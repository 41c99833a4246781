"""What the node receives: images, odometry, calibrations; odd ones cost themselves and no more."""

import struct
import threading
import time
import zlib
from array import array

import cv2
import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed; run `make setup`")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402
from nav_msgs.msg import Odometry  # noqa: E402
from ros_side import feed, picture  # noqa: E402
from sensor_msgs.msg import CameraInfo, CompressedImage, Image  # noqa: E402
from vision_msgs.msg import Detection2DArray  # noqa: E402


def test_bad_images_are_counted_and_survived(robot, start_tracker, images):
    topic = "/bad/detections"
    robot.listen(Detection2DArray, topic)
    robot.listen(DiagnosticArray, "/diagnostics")
    publisher = robot.node.create_publisher(Image, "/bad/camera", 5)
    start_tracker("-p", "diagnostics_period:=0.2", name="bad")
    feed(robot, publisher, images, topic, 3)
    broken = [
        Image(),
        Image(height=4, width=4, encoding="bgr8", step=12),
        Image(height=4, width=4, encoding="nonsense", step=12, data=array("B", bytes(48))),
        Image(height=2**31, width=2**31, encoding="mono8", step=2**31),
    ]
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
    start_tracker(
        "-p",
        "diagnostics_period:=0.2",
        "-r",
        "odom:=/turning/odom",
        "-r",
        "camera_info:=/turning/camera_info",
        name="turning",
    )

    def own_motion():
        return [
            v.value
            for m in robot.heard["/diagnostics"]
            for s in m.status
            if s.name == "turning: tracker"
            for v in s.values
            if v.key == "own motion"
        ]

    feed(robot, camera, images, "/turning/detections", 3)
    robot.until(lambda: any("no odometry" in v and "/turning/odom" in v for v in own_motion()))
    moment = 200.0

    def complete():
        nonlocal moment
        moment += 1 / 30
        odometry = Odometry()
        odometry.header.stamp = picture(images[0], moment).header.stamp
        odometry.twist.twist.angular.z = 0.5
        wheels.publish(odometry)
        camera.publish(picture(images[0], moment))
        robot.spin(0.05)
        return "picture" in own_motion()[-1]

    robot.until(complete, 40)
    right, down = (float(own_motion()[-1].split()[k]) for k in (1, 3))
    frames = right / (0.5 / 30 * 0.5 / np.tan(np.radians(30)))  # one, or more where some were dropped
    assert frames == pytest.approx(round(frames), abs=0.05)
    assert 1 <= round(frames) <= 20
    assert down == 0
    feed(robot, camera, images, "/turning/detections", 3, start=moment + 5)  # and now it is silent
    robot.until(lambda: "no odometry" in own_motion()[-1])


def bombs(jpeg, png):
    """Return images whose headers claim far more pixels than there are."""
    frame = jpeg.index(b"\xff\xc0")
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    return [
        jpeg[: frame + 5] + struct.pack(">HH", 65500, 65500) + jpeg[frame + 9 :],
        png[:8]
        + struct.pack(">I", 13)
        + b"IHDR"
        + header
        + struct.pack(">I", zlib.crc32(b"IHDR" + header))
        + png[33:],
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 2000000, 64, 1, 24, *[0] * 6) + bytes(300),
    ]


def test_a_compressed_image_that_lies_costs_itself(robot, start_tracker, images):
    topic = "/packed/detections"
    robot.listen(Detection2DArray, topic)
    robot.listen(DiagnosticArray, "/diagnostics")
    publisher = robot.node.create_publisher(CompressedImage, "/packed/camera/compressed", 5)
    start_tracker("-p", "image_transport:=compressed", "-p", "diagnostics_period:=0.2", name="packed")
    jpeg, png = (cv2.imencode(kind, images[0])[1].tobytes() for kind in (".jpg", ".png"))
    answers = robot.heard[topic]

    def show(data, seconds=0.05):
        publisher.publish(CompressedImage(format="jpeg", data=array("B", data)))
        robot.spin(seconds)

    def left_out():
        found = [s for m in robot.heard["/diagnostics"] for s in m.status if s.name == "packed: tracker"]
        values = {v.key: v.value for v in found[-1].values} if found else {}
        return int(values.get("malformed images", 0)) + int(values.get("failed frames", 0))

    robot.until(lambda: show(jpeg) or len(answers) > 3)
    for bad in (b"", jpeg[:900], *bombs(jpeg, png)):
        before = left_out()
        robot.until(lambda: show(bad, 0.2) or left_out() > before)
        count = len(answers)
        robot.until(lambda: show(jpeg) or len(answers) > count + 3)


@pytest.mark.parametrize(
    ("topic", "words"), [("odom", "at most 100 of each"), ("camera_info", "finite numbers")]
)
def test_a_broken_optional_input_costs_itself(robot, start_tracker, images, topic, words):
    name = f"lame_{topic}"
    robot.listen(Detection2DArray, f"/{name}/detections")
    robot.listen(DiagnosticArray, "/diagnostics")
    camera = robot.node.create_publisher(Image, f"/{name}/camera", 5)
    kind = {"odom": Odometry, "camera_info": CameraInfo}[topic]
    other = robot.node.create_publisher(kind, f"/{name}/{topic}", 5)
    start_tracker("-p", "diagnostics_period:=0.2", "-r", f"{topic}:=/{name}/{topic}", name=name)
    feed(robot, camera, images, f"/{name}/detections", 3)

    def complete():
        message = kind()
        message.header.stamp = picture(images[0], 200.0).header.stamp
        if topic == "odom":
            message.twist.twist.linear.x = 1e39
        else:
            message.width, message.height = 320, 240
            message.k = [float("inf"), 0.0, 160.0, 0.0, float("inf"), 120.0, 0.0, 0.0, 1.0]
        other.publish(message)
        feed(robot, camera, images, f"/{name}/detections", 3, start=time.time())
        return [
            s
            for m in robot.heard["/diagnostics"]
            for s in m.status
            if s.name == f"{name}: tracker" and s.level == DiagnosticStatus.WARN and words in s.message
        ]

    robot.until(complete, 40)


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


def test_a_simulated_clock_near_the_end_of_its_range_and_back(robot, start_tracker, images):
    from builtin_interfaces.msg import Time
    from rosgraph_msgs.msg import Clock
    from sensor_msgs.msg import Image
    from vision_msgs.msg import Detection2DArray

    process = start_tracker("-p", "use_sim_time:=true", name="sim")
    clock = robot.node.create_publisher(Clock, "/clock", 5)
    camera = robot.node.create_publisher(Image, "/sim/camera", 5)
    robot.listen(Detection2DArray, "/sim/detections")
    for second in (5, 2**31 - 1, 10):
        answers = len(robot.heard["/sim/detections"])
        for k in range(200):
            now = Time(sec=second, nanosec=(k % 30) * 33_000_000)
            image = picture(images[k % 30], 1.0)
            image.header.stamp = now
            clock.publish(Clock(clock=now))
            camera.publish(image)
            robot.spin(0.04)
            if len(robot.heard["/sim/detections"]) > answers + 10:
                break
        assert robot.heard["/sim/detections"][-1].header.stamp.sec == second
    assert process.poll() is None
