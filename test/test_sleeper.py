"""The node's memory and sleep: moments are kept, a child learns, its model is taken and given back."""

import shutil
import sys
import time

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed; run `make setup`")

from rclpy.parameter import Parameter  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402
from test_lessons import AT, drawn  # noqa: E402
from test_living import moment  # noqa: E402
from test_shown import box_at, scene  # noqa: E402
from vision_msgs.msg import Detection2D  # noqa: E402

from pvm_perception.api import default_model  # noqa: E402
from pvm_perception.living.moments import MomentMemory  # noqa: E402
from pvm_perception.living.sleep import LEAST  # noqa: E402
from pvm_perception.living.snapshots import Snapshots  # noqa: E402
from pvm_perception.ros import sleeper  # noqa: E402

CHILD = """
import signal, sys, time
from pathlib import Path
from pvm_perception.core.model_file import load_model
from pvm_perception.living.snapshots import Snapshots
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
print("sleep: the forecast learns, 10 %", flush=True)
while not stopped and given["--minutes"] == "600.0":
    time.sleep(0.05)
if given["--minutes"] == "0.5":
    sys.exit("pvm_perception: error: the disk is full")
config, weights, history = load_model(given["--model"])
weights["forecast1.b1"] = weights["forecast1.b1"] + 0.01
Snapshots(Path(given["--memory"]), Path(given["--base"])).add(config, weights, history)
print("sleep: outcome: forecast kept", flush=True)
"""


@pytest.fixture
def asleep(robot, live_tracker, tmp_path, monkeypatch):
    """Return a node that keeps moments, and whose child sleeps as long as its arguments ask."""
    memory = MomentMemory(tmp_path / "memory")
    for k in range(LEAST):
        memory.add(moment(k))
    (tmp_path / "child.py").write_text(CHILD)
    monkeypatch.setattr(sleeper, "COMMAND", [sys.executable, str(tmp_path / "child.py")])
    node = live_tracker
    assert node.trigger_deactivate() and node.trigger_cleanup()
    node._parameters["memory"] = Parameter("memory", value=str(tmp_path / "memory"))  # fixed at start
    assert node.trigger_configure() and node.trigger_activate()
    return node


def service(robot, name):
    return robot.call(Trigger, f"/pvm_tracker/{name}")


def test_a_sleep_is_followed_taken_and_given_back(robot, asleep, images):
    node = asleep
    assert node.set_parameters([Parameter("sleep_minutes", value=600.0)])[0].successful
    version, before = node.tracker.model_version, node.tracker.model
    answer = service(robot, "sleep")
    assert answer.success and f"asleep on {LEAST} moments" in answer.message
    robot.until(lambda: "10 %" in node.sleeper.facts()["sleep"])
    again, back = service(robot, "sleep"), service(robot, "rollback")
    assert not again.success and "already" in again.message
    assert not back.success and "wake it first" in back.message
    count = len(robot.heard["detections"])
    robot.until(
        lambda: node.show(images[0]) or len(robot.heard["detections"]) > count + 3
    )  # it sees meanwhile
    assert node.tracker.model_version == version
    assert service(robot, "wake").success
    robot.until(lambda: node.sleeper.facts()["sleep"] == "awake; forecast kept")
    assert node.tracker.model_version > version and node.tracker.model != before
    assert not service(robot, "wake").success
    assert service(robot, "rollback").success
    assert node.tracker.model == before
    answer = service(robot, "rollback")
    assert not answer.success and "nothing to go back" in answer.message


def test_a_sleep_that_fails_says_why_and_changes_nothing(robot, asleep):
    node = asleep
    assert node.set_parameters([Parameter("sleep_minutes", value=0.5)])[0].successful
    version = node.tracker.model_version
    assert service(robot, "sleep").success
    robot.until(lambda: "the disk is full" in node.sleeper.facts()["sleep"])
    assert node.tracker.model_version == version


def test_an_idle_robot_falls_asleep_by_itself(robot, asleep, monkeypatch):
    node = asleep
    node.sleeper.look()
    assert node.sleeper.facts()["sleep"] == "awake"
    assert node.set_parameters([Parameter("sleep_when_idle", value=True)])[0].successful
    node.sleeper.look()
    assert node.sleeper.facts()["sleep"] == "awake"  # something new was seen just now
    monkeypatch.setattr(sleeper, "IDLE", 0.0)
    robot.until(lambda: node.sleeper.facts()["sleep"] == "awake; forecast kept")
    time.sleep(0.1)
    node.sleeper.look()
    assert node.sleeper.facts()["sleep"].startswith("awake")  # no new moments: no sleep


def test_the_stream_fills_the_memory_and_the_next_start_takes_the_newest_model(
    robot, asleep, images, tmp_path
):
    node, place = asleep, tmp_path / "memory"
    robot.until(lambda: node.show(images[0]) or len(MomentMemory(place)) > LEAST, 60)
    robot.until(lambda: service(robot, "sleep").success)
    robot.until(lambda: node.sleeper.facts()["sleep"] == "awake; forecast kept")
    newest = Snapshots(place, default_model()).current()
    assert node.trigger_deactivate() and node.trigger_cleanup()
    assert node.trigger_configure() and node.trigger_activate()
    assert node.tracker.model == newest != default_model()
    assert not list((place / "models").glob("*.part*"))
    shutil.rmtree(place)


def test_a_box_is_taught_against_what_is_remembered(robot, asleep):
    box = robot.node.create_publisher(Detection2D, "teach_box", 5)
    robot.until(lambda: asleep.show(scene(3, AT)) or asleep.recent.moments())
    robot.until(box.get_subscription_count)
    box.publish(drawn("badge", box_at(*AT)))
    robot.until(lambda: asleep.show(scene(3, AT)) or "badge" in asleep.tracker.targets, 60)
    pictures = asleep.tracker.teacher.place()
    assert len(pictures) >= LEAST and pictures[0].shape == moment(0).images[0].shape
    robot.node.destroy_publisher(box)


def test_without_a_memory_no_picture_is_kept(robot, live_tracker, images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(3):
        live_tracker.show(np.ascontiguousarray(images[0]))
    for name in ("sleep", "rollback"):
        answer = service(robot, name)
        assert not answer.success and "memory" in answer.message
    assert live_tracker.sleeper.facts()["memory"] == "none is kept"
    assert not list(tmp_path.iterdir())
