"""The closed loop: its parts by what they are to do, then the whole over real DDS."""

import csv
import json
import math
import re
import subprocess
import sys
from importlib.util import find_spec

import cv2
import numpy as np
import pytest
from conftest import ROOT

from pvm_perception.closed_loop import score
from pvm_perception.closed_loop.robot import Base, BaseLimits, body_speeds, wheel_rates
from pvm_perception.closed_loop.simulation import NEEDS, Simulation, engine
from pvm_perception.closed_loop.world import (
    BALL_RADIUS,
    OVERVIEW,
    SIGN_SIZE,
    ball_world,
    sign_corners,
    sign_face,
    sign_world,
)
from pvm_perception.errors import PvmError

ros = pytest.mark.skipif(find_spec("rclpy") is None, reason="ROS 2 is not installed; run `make setup`")


@pytest.fixture
def simulate():
    """Return what makes a simulation of a world."""
    if find_spec("mujoco") is None:
        pytest.skip("no mujoco here; pip install -r requirements/sim.txt")
    made = []

    def make(world):
        try:
            made.append(Simulation(world))
        except PvmError as error:
            pytest.skip(str(error))
        return made[-1]

    yield make
    for simulation in made:
        simulation.close()


# --- the base


def test_wheels_and_speeds_are_each_others_inverse():
    assert wheel_rates(0.2, 0.0)[0] == wheel_rates(0.2, 0.0)[1] > 0
    left, right = wheel_rates(0.0, 1.0)  # to the left: the right wheel goes ahead
    assert right == -left > 0
    assert body_speeds(*wheel_rates(0.3, -0.7)) == pytest.approx((0.3, -0.7))


def test_the_base_keeps_its_limits():
    base = Base(BaseLimits(speed=0.5, acceleration=1.0, turn=1.0, turn_acceleration=2.0))
    base.command(3.0, -9.0)
    speeds = np.array([body_speeds(*base.drive(0.1)) for _ in range(20)])
    assert np.abs(np.diff(speeds, axis=0)).max(axis=0) == pytest.approx([0.1, 0.2])
    assert speeds[-1] == pytest.approx([0.5, -1.0])
    base.command(0.005, 0.001)  # a hundredth of the speed, as stop_sign_guard leaves it
    for _ in range(20):
        rates = base.drive(0.1)
    assert rates == pytest.approx((0, 0))


def test_odometry_comes_round_a_circle():
    base = Base()
    left, right = wheel_rates(0.5, 1.0)  # a circle with a radius of 0.5 m
    steps = 1000
    for k in range(steps):
        base.reckon(left * 2 * math.pi / steps, right * 2 * math.pi / steps, 0.01)
        if k == steps // 2 - 1:
            assert (base.x, base.y) == pytest.approx((0, 1.0), abs=1e-3)
    assert (base.x, base.y, base.yaw) == pytest.approx((0, 0, 2 * math.pi), abs=1e-3)


# --- the figures


# --- the worlds


def test_a_seed_is_a_place():
    for make in (ball_world, sign_world):
        one, again, other = make(3), make(3), make(4)
        assert (one.mjcf, one.assets) == (again.mjcf, again.assets)
        assert one.mjcf != other.mjcf
        light = np.array([one.daylight(t) for t in np.arange(0, 30, 0.5)])
        assert 0.3 < light.min() < light.max() - 0.2 < 1.0  # it changes, and it is never night


def test_the_ball_s_path_is_closed_even_and_inside_the_yard():
    for seed in range(3):
        path = ball_world(seed).path
        steps = np.linalg.norm(np.diff(path, axis=0, append=path[:1]), axis=1)
        assert steps.max() < 0.03
        assert np.abs(path).max() < 3.5  # m; the walls are at 4.5


def test_the_sign_s_face():
    face, corners = sign_face(200), sign_corners()
    assert corners.max(0) - corners.min(0) == pytest.approx([0, SIGN_SIZE, SIGN_SIZE])
    red = (face[..., 2] > 150) & (face[..., 1] < 60)
    assert red[100, 12]  # inside the rim
    assert not red[100, 2]
    assert 0.35 < red.mean() < 0.75  # the letters and the rim are white


# --- the physics


def test_it_drives_as_commanded_and_its_odometry_is_right(simulate):
    simulation = simulate(sign_world(0))
    x, y, yaw = simulation.pose
    simulation.base.command(0.4, 0.5)
    simulation.advance(2.0)
    assert simulation.speed == pytest.approx(0.4, abs=0.02)
    assert simulation.base.turn == pytest.approx(0.5, abs=0.03)
    gone = np.array(simulation.pose) - (x, y, yaw)
    cos, sin = math.cos(yaw), math.sin(yaw)
    seen = (cos * gone[0] + sin * gone[1], cos * gone[1] - sin * gone[0], gone[2])
    odometry = (simulation.base.x, simulation.base.y, simulation.base.yaw)
    assert odometry == pytest.approx(seen, abs=0.03)
    assert 0.5 < np.hypot(*gone[:2]) < 0.8
    simulation.base.command(0.0, 0.0)
    simulation.advance(1.0)
    assert simulation.speed < score.STANDING
    assert simulation.collisions == 0


def test_a_wall_is_a_collision_and_counts_once(simulate):
    simulation = simulate(sign_world(0))
    simulation.base.command(0.0, 1.5)
    simulation.advance(1.2)  # to the left
    simulation.base.command(0.6, 0.0)
    simulation.advance(8.0)
    assert simulation.collisions == 1


def test_the_ball_rolls_along_its_path(simulate):
    simulation = simulate(ball_world(0))
    data, path = simulation._data, simulation.world.path
    for _ in range(10):
        simulation.advance(1.0)
        x, y, z = simulation.target
        assert np.linalg.norm(path - (x, y), axis=1).min() < 0.15
        assert z == pytest.approx(BALL_RADIUS, abs=0.005)
    velocity = data.joint(simulation._model.body("ball").jntadr[0]).qvel  # linear, then angular
    assert np.hypot(*velocity[:2]) > 0.1
    assert np.linalg.norm(velocity[3:]) * BALL_RADIUS == pytest.approx(np.hypot(*velocity[:2]), rel=0.1)


# --- the bridge


@ros
def test_a_command_that_is_not_finite_is_left_out_and_the_last_one_stands(robot):
    from geometry_msgs.msg import Twist
    from nav2_msgs.msg import SpeedLimit

    from pvm_perception.closed_loop.bridge import Bridge, SimulationNode

    node = SimulationNode("bridge_under_test")
    bridges = [Bridge(node, None, None, cruise) for cruise in (False, True)]  # no frame is shown
    robot.executor.add_node(node)
    drive = robot.node.create_publisher(Twist, "/cmd_vel", 5)
    limit = robot.node.create_publisher(SpeedLimit, "/speed_limit", 5)
    robot.until(lambda: drive.get_subscription_count() and limit.get_subscription_count())
    for odd in (0.3, math.nan, math.inf):
        twist = Twist()
        twist.linear.x = odd
        drive.publish(twist)
        limit.publish(SpeedLimit(speed_limit=100 * odd, percentage=True))
    robot.until(lambda: node.faults.count("/cmd_vel") == node.faults.count("/speed_limit") == 2)
    assert bridges[0]._twist.linear.x == 0.3
    assert bridges[1].share == pytest.approx(0.3)
    robot.executor.remove_node(node)
    node.destroy_node()


# --- the camera


@ros
def test_the_calibration_says_where_a_thing_is_in_the_image(simulate):
    from std_msgs.msg import Header

    from pvm_perception.closed_loop.bridge import camera_info
    from pvm_perception.vision.camera import camera_from_info
    from pvm_perception.vision.geometry import RangingSettings, locate

    simulation = simulate(ball_world(2))
    simulation.advance(0.5)
    image, box = simulation.image().astype(int), simulation.box()
    assert image.shape == (480, 640, 3)
    green = (image[..., 1] > 1.5 * image[..., 2]) & (image[..., 1] > 1.5 * image[..., 0])
    rows, cols = np.flatnonzero(green.any(1)), np.flatnonzero(green.any(0))
    seen = (cols[0], rows[0], cols[-1] + 1, rows[-1] + 1)
    assert (box.x, box.y, box.x + box.w, box.y + box.h) == pytest.approx(seen, abs=1.5)
    info = camera_info(simulation.world.camera, Header())
    settings = RangingSettings(size=2 * BALL_RADIUS)
    camera = camera_from_info(info, settings)
    middle = simulation.optical(simulation.target)
    at = np.argwhere(green).mean(0)[::-1]  # of whole pixels: their middles, as in CameraInfo
    assert camera.tangents(at)[0] == pytest.approx(middle[:2] / middle[2], abs=0.004)  # 2 px
    estimate = locate(camera, (box.x, box.y, box.w, box.h), settings)
    assert estimate.position == pytest.approx(middle, abs=0.01)
    assert estimate.distance == pytest.approx(simulation.distance(), abs=0.01)


def test_the_sign_is_where_its_box_says_and_can_be_read(simulate):
    simulation = simulate(sign_world(0))
    image, box = simulation.image(), simulation.box()
    g, r = image.astype(int).transpose(2, 0, 1)[1:]
    red = (r > 2.5 * g) & (r > 80)
    rows, cols = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
    seen = (cols[0], rows[0], cols[-1] + 1, rows[-1] + 1)
    rim = 0.03 * box.w
    assert (box.x + rim, box.y + rim, box.x + box.w - rim, box.y + box.h - rim) == pytest.approx(
        seen, abs=2.0
    )
    cut = image[round(box.y) : round(box.y + box.h), round(box.x) : round(box.x + box.w)]
    face = cv2.resize(sign_face(256), cut.shape[1::-1], interpolation=cv2.INTER_AREA)
    likeness = [
        np.corrcoef(cut[..., 1].ravel(), f[..., 1].ravel())[0, 1] for f in (face, face[::-1], face[:, ::-1])
    ]
    assert max(likeness) == likeness[0] > 0.6  # not upside down, not mirrored
    assert simulation.from_above().shape == (OVERVIEW, OVERVIEW, 3)


# --- all of it


@ros
def test_the_loop_over_dds(simulate, command_line, tmp_path):
    simulate(ball_world(0))  # skips where it cannot run
    done = command_line("sim", "--scenario", "ball", "--ball-runs", 1, "--seconds", 3, "--output", tmp_path)
    last = done.stdout.splitlines()[-1]
    assert re.fullmatch(r"sim: in_view=[\d.]+ distance_error=[\d.]+ collisions=\d+ stops=0/0", last), done
    figures = json.loads((tmp_path / "figures.json").read_text())["ball_0"]
    assert figures["frames"] == 60
    assert figures["unanswered"] == 0
    assert figures["found"] > 0.8
    assert figures["in_view"] == 1.0
    with (tmp_path / "figures.csv").open(newline="") as table:
        (row,) = csv.DictReader(table)
    assert row["run"] == "ball_0" and float(row["found"]) == pytest.approx(figures["found"], abs=1e-4)
    run = score.read_moments(tmp_path / "ball_0.csv")
    assert [m.time for m in run] == pytest.approx(np.arange(1, 61) / 20)
    assert run[-1].speed > 0.05  # the follower drives
    video = cv2.VideoCapture(str(tmp_path / "ball_0.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 30
    assert (tmp_path / "paths.png").stat().st_size > 10_000
    assert done.stderr.count("error") == 0


@ros
def test_a_speed_limit_stops_the_robot_on_the_road(simulate, tmp_path):
    simulate(sign_world(0))
    from nav2_msgs.msg import SpeedLimit
    from nav_msgs.msg import Odometry
    from ros_side import Robot, domain, end_node, start_node
    from vision_msgs.msg import Detection2DArray

    env = domain()
    robot = Robot(env)
    try:
        robot.listen(Detection2DArray, "/detections")
        robot.listen(Odometry, "/odom")
        limit = robot.node.create_publisher(SpeedLimit, "/speed_limit", 10)
        tracker = start_node(env, "tracker", "-r", "image:=/camera/image_raw", "-p", "use_sim_time:=true")
        bridge = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "pvm_perception.closed_loop.bridge",
                "--scenario",
                "sign",
                "--seconds",
                "5",
                "--table",
                tmp_path / "run.csv",
                "--video",
                tmp_path / "run.mp4",
            ]
        )
        odometry = robot.heard["/odom"]
        robot.until(lambda: odometry and odometry[-1].twist.twist.linear.x > 0.4, 90)
        limit.publish(SpeedLimit(percentage=True, speed_limit=1.0))
        robot.until(lambda: abs(odometry[-1].twist.twist.linear.x) < 0.01, 60)
        robot.until(lambda: bridge.poll() is not None, 120)
        end_node(tracker)
    finally:
        robot.close()
    run = score.read_moments(tmp_path / "run.csv")
    assert len(run) == 100
    assert run[-1].share == pytest.approx(0.01)
    assert max(m.speed for m in run) < 0.65
    assert run[-1].speed < score.STANDING


def test_without_mujoco_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(PvmError, match=rf"needs MuJoCo .*'{re.escape(NEEDS)}'"):
        engine()


def test_one_version_of_mujoco_is_asked_for():
    pinned = re.search(r"^mujoco==(\S+)$", (ROOT / "requirements" / "sim.txt").read_text(), re.MULTILINE)[1]
    assert pinned.startswith(NEEDS.removeprefix("mujoco~="))
    assert f'"{NEEDS}"' in (ROOT / "setup.py").read_text()


@ros
def test_bad_arguments_are_one_line(simulate, command_line, tmp_path):
    (tmp_path / "file").touch()
    for arguments, word in ((("--seconds", -1), "--seconds"), (("--output", tmp_path / "file"), "written")):
        done = command_line("sim", *arguments)
        assert done.returncode == 2
        assert word in done.stderr
        assert done.stderr.count("\n") == 1
