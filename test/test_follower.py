"""target_follower and stop_sign_guard over real DDS, as processes of their own."""

import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT
from test_geometry import CAMERA, ball, box_of, sign

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed; run `make setup`")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402
from geometry_msgs.msg import (  # noqa: E402
    PoseStamped,
    PoseWithCovarianceStamped,
    Twist,
    TwistStamped,
)
from nav_msgs.msg import Odometry  # noqa: E402
from ros_side import domain, end_node, start_node  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image  # noqa: E402
from std_msgs.msg import Bool, Header  # noqa: E402
from vision_msgs.msg import Detection2DArray  # noqa: E402

from pvm_perception.ros.messages import detection_array  # noqa: E402
from pvm_perception.types import Track  # noqa: E402
from pvm_perception.vision.image_codec import fill_image  # noqa: E402


@pytest.fixture
def start(robot):
    """Start a node in a namespace of its own."""
    running = []

    def run(command, namespace, *arguments):
        running.append(start_node(robot.env, command, "-r", f"__ns:=/{namespace}", *arguments))
        return running[-1]

    yield run
    for process in running:
        end_node(process)


class Eyes:
    """Camera and tracker of the test: publishes calibration, boxes of a target, depth."""

    def __init__(self, robot, namespace):
        self.robot = robot
        self.boxes = robot.node.create_publisher(Detection2DArray, f"/{namespace}/detections", 5)
        self.info = robot.node.create_publisher(CameraInfo, f"/{namespace}/camera_info", 5)
        self.depth = robot.node.create_publisher(Image, f"/{namespace}/depth", 5)
        c = CAMERA
        self.calibration = CameraInfo(
            width=c.width,
            height=c.height,
            distortion_model="plumb_bob",
            d=[0.0] * 5,
            k=[c.fx, 0.0, c.cx, 0.0, c.fy, c.cy, 0.0, 0.0, 1.0],
        )

    def header(self, age=0.0):
        stamp = self.robot.node.get_clock().now().nanoseconds - round(age * 1e9)
        header = Header(frame_id="camera_optical")
        header.stamp.sec, header.stamp.nanosec = divmod(stamp, 10**9)
        return header

    def show(self, points=None, target="green_ball", age=0.0, calibrated=True):
        header = self.header(age)
        tracks = [] if points is None else [Track(target, *map(float, box_of(points)), 0.8, 7)]
        if calibrated:
            self.calibration.header = header
            self.info.publish(self.calibration)
        self.boxes.publish(detection_array(tracks, header))
        return header


def test_where_the_target_is(robot, start):
    robot.listen(PoseStamped, "/pose/target_pose")
    robot.listen(PoseWithCovarianceStamped, "/pose/target_pose_covariance")
    robot.listen(DiagnosticArray, "/diagnostics")
    eyes, centre = Eyes(robot, "pose"), [0.3, -0.1, 2.0]
    start("follower", "pose")

    def warned():
        eyes.show(ball(centre), calibrated=False)
        robot.spin(0.05)
        return any(
            s.level == DiagnosticStatus.WARN and "no camera_info on /pose/camera_info" in s.message
            for m in robot.heard["/diagnostics"]
            for s in m.status
        )

    robot.until(warned)
    assert not robot.heard["/pose/target_pose"]
    stamps = {}

    def arrived():
        header = eyes.show(ball(centre))
        stamps[header.stamp.sec, header.stamp.nanosec] = header
        eyes.show()  # a frame without the target has no pose
        robot.spin(0.05)
        return len(robot.heard["/pose/target_pose_covariance"]) >= 5

    robot.until(arrived)
    for plain, full in zip(
        robot.heard["/pose/target_pose"], robot.heard["/pose/target_pose_covariance"], strict=False
    ):
        assert (plain.header, plain.pose) == (full.header, full.pose.pose)
        assert (plain.header.stamp.sec, plain.header.stamp.nanosec) in stamps
        assert plain.header.frame_id == "camera_optical"
        p = plain.pose.position
        np.testing.assert_allclose([p.x, p.y, p.z], centre, atol=0.02)
        covariance = np.array(full.pose.covariance).reshape(6, 6)
        np.testing.assert_allclose(covariance, covariance.T)
        assert math.sqrt(covariance[2, 2]) == pytest.approx(0.2 * 2.0, rel=0.1)
        assert math.sqrt(covariance[1, 1]) < 0.05
        assert covariance[4, 4] > 3  # orientation is not measured


def test_depth_is_better_than_size(robot, start):
    robot.listen(PoseWithCovarianceStamped, "/deep/target_pose_covariance")
    eyes = Eyes(robot, "deep")
    start("follower", "deep", "-p", "use_depth:=true", "-p", "size:=0.4")  # a wrong size

    def arrived():
        header = eyes.header()
        depth = np.full((480, 640), 1900 - 182, np.uint16)  # the ball's face is nearer than it
        eyes.depth.publish(fill_image(Image(), depth, "16UC1", header))
        eyes.calibration.header = header
        eyes.info.publish(eyes.calibration)
        robot.spin(0.03)
        box = map(float, box_of(ball([0.0, 0.0, 1.9])))
        eyes.boxes.publish(detection_array([Track("green_ball", *box, 0.8, 1)], header))
        robot.spin(0.03)
        return deep()

    def deep():  # a frame whose depth came too late is ranged by size
        return [
            m for m in robot.heard["/deep/target_pose_covariance"] if abs(m.pose.pose.position.z - 1.9) < 0.02
        ]

    robot.until(arrived)
    assert math.sqrt(deep()[-1].pose.covariance[14]) < 0.06


class Drive:
    """A robot on a plane that obeys cmd_vel at once, before a ball that stands still."""

    def __init__(self, robot, namespace, kind=Twist, distance=2.2, angle=0.35):
        self.robot, self.eyes = robot, Eyes(robot, namespace)
        self.x = self.y = self.heading = self.v = self.w = 0.0
        self.ball = (distance * math.cos(angle), distance * math.sin(angle))
        self.commands, self.last = [], time.monotonic()
        robot.node.create_subscription(kind, f"/{namespace}/cmd_vel", self._obey, 10)

    def _obey(self, message):
        twist = getattr(message, "twist", message)
        self.move()
        self.v, self.w = twist.linear.x, twist.angular.z
        self.commands.append((time.monotonic(), self.v, self.w))

    def move(self):
        dt, self.last = time.monotonic() - self.last, time.monotonic()
        self.heading += self.w * dt
        self.x += self.v * math.cos(self.heading) * dt
        self.y += self.v * math.sin(self.heading) * dt

    @property
    def distance(self):
        return math.hypot(self.ball[0] - self.x, self.ball[1] - self.y)

    def see(self, **kwargs):
        """Show the ball where it now is in the camera; wait a frame's time."""
        self.move()
        bearing = math.atan2(self.ball[1] - self.y, self.ball[0] - self.x) - self.heading
        d = self.distance
        self.eyes.show(ball([-d * math.sin(bearing), 0.0, d * math.cos(bearing)]), **kwargs)
        self.robot.spin(0.04)


def test_it_drives_to_its_distance_and_stops_on_loss(robot, start):
    drive = Drive(robot, "drive")
    start("follower", "drive", "-p", "drive:=true", "-p", "max_speed:=0.6")
    robot.until(lambda: drive.see() or drive.commands)
    begin = time.monotonic()
    while time.monotonic() < begin + 6:
        drive.see()
    assert drive.distance == pytest.approx(1.1, abs=0.1)  # follow_distance and its tolerance
    times, speeds, turns = np.array(drive.commands).T
    assert speeds.max() <= 0.6 and speeds.min() >= 0
    assert speeds.max() > 0.4
    assert turns.max() > 0.1  # to the left, where the ball is
    # limits of acceleration, over half a second to be free of the timers' jitter
    for k in range(len(times) - 10):
        assert abs(speeds[k + 10] - speeds[k]) <= 1.0 * (times[k + 10] - times[k]) + 0.06
    drive.ball = (drive.x + 3 * math.cos(drive.heading), drive.y + 3 * math.sin(drive.heading))
    robot.until(lambda: drive.see() or drive.v > 0.4)
    lost = time.monotonic()
    while time.monotonic() < lost + 2.5:  # the tracker lives and sees nothing
        drive.eyes.show()
        robot.spin(0.04)
    after = [(t - lost, v) for t, v, _ in drive.commands if t > lost]
    assert after[-1][1] == 0
    assert next(t for t, v in after if v == 0) < 0.5 + 0.6 + 0.4
    assert any(0 < v < 0.4 for t, v in after)  # it braked, it did not stop dead
    count = len(drive.commands)
    for _ in range(10):
        drive.eyes.show()
        robot.spin(0.04)
    assert len(drive.commands) <= count + 1  # silent: others may drive


def test_silence_of_the_tracker_is_a_stop_at_once(robot, start):
    drive = Drive(robot, "mute", distance=6, angle=0.0)
    process = start("follower", "mute", "-p", "drive:=true")
    robot.until(lambda: drive.see() or drive.v > 0.25)
    quiet = time.monotonic()
    robot.spin(1.2)
    after = [(t - quiet, v) for t, v, _ in drive.commands if t > quiet]
    stop = next(k for k, (_, v) in enumerate(after) if v == 0)
    assert after[stop][0] < 0.5 + 0.25
    assert after[stop - 1][1] > 0.25
    robot.until(lambda: drive.see() or drive.v > 0.25)
    process.send_signal(signal.SIGTERM)  # and a node that ends leaves a robot that stands
    robot.until(lambda: drive.v == 0)
    process.wait(10)


def test_stamped_with_a_dead_mans_switch_and_only_fresh_detections(robot, start):
    drive = Drive(robot, "safe", TwistStamped, distance=6, angle=0.0)
    robot.listen(TwistStamped, "/safe/cmd_vel")
    switch = robot.node.create_publisher(Bool, "/safe/dead_man", 1)
    start("follower", "safe", "-p", "drive:=true", "-p", "stamped:=true", "-p", "dead_man:=true")
    robot.listen(PoseStamped, "/safe/target_pose")
    robot.until(lambda: drive.see() or robot.heard["/safe/target_pose"])
    for _ in range(15):
        drive.see()
    assert not any(v for _, v, _ in drive.commands)
    robot.until(lambda: switch.publish(Bool(data=True)) or drive.see() or drive.v > 0.25)
    assert robot.heard["/safe/cmd_vel"][-1].header.frame_id == "base_link"
    assert robot.heard["/safe/cmd_vel"][-1].header.stamp.sec > 0
    switch.publish(Bool(data=False))
    released = time.monotonic()
    robot.until(lambda: drive.see() or drive.v == 0)
    assert time.monotonic() - released < 0.3
    robot.until(lambda: switch.publish(Bool(data=True)) or drive.see() or drive.v > 0.25)
    old = time.monotonic()
    robot.until(lambda: switch.publish(Bool(data=True)) or drive.see(age=3.0) or drive.v == 0)
    assert time.monotonic() - old < 1.0


def test_parameters_that_cannot_be(robot):
    for command, arguments, words in (
        ("follower", ["-p", "size:=0.0"], "size"),
        ("follower", ["-p", "shape:=cube"], "shape"),
        ("follower", ["-p", "max_speed:=99.0"], "max_speed"),
    ):
        process = start_node(robot.env, command, *arguments)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 2
        assert words in errors and len(errors.strip().splitlines()) == 1


def test_the_follower_runs_without_nav2_and_the_guard_says_what_it_lacks(tmp_path):
    """A robot without Nav2: an import of nav2_msgs fails there."""
    (tmp_path / "nav2_msgs.py").write_text("raise ModuleNotFoundError('none', name='nav2_msgs.msg')")
    env = os.environ | domain() | {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    process = subprocess.run(
        [sys.executable, "-m", "pvm_perception", "guard"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert process.returncode == 2
    assert "guard needs ROS 2 with nav2_msgs" in process.stderr
    assert len(process.stderr.strip().splitlines()) == 1
    code = "import pvm_perception.ros.follower_node as f; assert f.SpeedLimit is None"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, check=True, timeout=30)


def test_the_guard_stops_nav2_and_lets_it_go_on(robot, start):
    messages = pytest.importorskip("nav2_msgs.msg", reason="no nav2_msgs here; run `make setup`")
    robot.listen(messages.SpeedLimit, "/guard/speed_limit")
    limits = robot.heard["/guard/speed_limit"]
    odometry = robot.node.create_publisher(Odometry, "/guard/odom", 5)
    eyes = Eyes(robot, "guard")
    process = start("guard", "guard", "-p", "stop_time:=1.0", "-p", "rearm_time:=0.5")

    def show(distance, speed):
        message = Odometry()
        message.twist.twist.linear.x = speed
        odometry.publish(message)
        eyes.show(None if distance is None else sign([0.2, -0.1, distance]), "stop_sign")
        robot.spin(0.04)

    robot.until(lambda: show(4.0, 0.5) or robot.node.count_publishers("/guard/speed_limit"))
    for _ in range(20):
        show(4.0, 0.5)
    assert not limits
    robot.until(lambda: show(1.5, 0.5) or limits)
    assert (limits[0].percentage, limits[0].speed_limit) == (True, 1.0)
    assert limits[0].header.stamp.sec > 0
    begin = time.monotonic()
    while time.monotonic() < begin + 1.5:  # still rolling: the stop is not over
        show(None, 0.2)
    assert {m.speed_limit for m in limits} == {1.0}
    assert len(limits) >= 2  # repeated, for a controller that came late
    begin = time.monotonic()
    robot.until(lambda: show(1.0, 0.0) or limits[-1].speed_limit == 0)
    assert time.monotonic() - begin == pytest.approx(1.0, abs=0.4)
    count = len(limits)
    for _ in range(25):
        show(1.0, 0.3)
    assert len(limits) == count  # not twice for one sign
    for _ in range(25):
        show(None, 0.3)
    robot.until(lambda: show(1.5, 0.5) or limits[-1].speed_limit == 1.0)
    process.send_signal(signal.SIGTERM)  # a guard that ends leaves no limit behind
    robot.until(lambda: limits[-1].speed_limit == 0)
    process.wait(10)


def test_the_follower_heeds_a_speed_limit(robot, start):
    messages = pytest.importorskip("nav2_msgs.msg", reason="no nav2_msgs here; run `make setup`")
    limit = robot.node.create_publisher(messages.SpeedLimit, "/slow/speed_limit", 10)
    drive = Drive(robot, "slow", distance=8, angle=0.0)
    start("follower", "slow", "-p", "drive:=true")
    robot.until(lambda: drive.see() or drive.v > 0.28)
    limit.publish(messages.SpeedLimit(percentage=True, speed_limit=1.0))
    robot.until(lambda: drive.see() or drive.v == 0)
    limit.publish(messages.SpeedLimit(percentage=False, speed_limit=0.15))
    robot.until(lambda: drive.see() or drive.v == pytest.approx(0.15))
    limit.publish(messages.SpeedLimit())
    robot.until(lambda: drive.see() or drive.v > 0.28)
