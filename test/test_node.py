"""The node over real DDS: a process of its own, as a robot runs it."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from conftest import ROOT

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed; run `make setup`")

from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
from lifecycle_msgs.srv import ChangeState, GetState  # noqa: E402
from rcl_interfaces.srv import DescribeParameters, ListParameters, SetParameters  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import QoSProfile  # noqa: E402
from ros_side import BEST_EFFORT, EAGER, LATCHED, domain, end_node, feed, picture, start_node  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from std_srvs.srv import SetBool, Trigger  # noqa: E402
from vision_msgs.msg import Detection2DArray, VisionInfo  # noqa: E402

from pvm_perception.ros.node_settings import NODES  # noqa: E402


@pytest.mark.parametrize("reliability", ["best_effort", "reliable"])
def test_frames_in_detections_out(robot, start_tracker, images, reliability):
    """One answer per frame with the image's header, whatever reliability the camera offers."""
    name = f"node_{reliability}"
    topic = f"/{name}/detections"
    robot.listen(Detection2DArray, topic)
    qos = BEST_EFFORT if reliability == "best_effort" else QoSProfile(depth=5)
    publisher = robot.node.create_publisher(Image, f"/{name}/camera", qos)
    start_tracker(*EAGER, name=name)
    feed(robot, publisher, images, topic, 40)
    answers = robot.heard[topic]
    stamps = [m.header.stamp.sec + m.header.stamp.nanosec * 1e-9 for m in answers]
    assert len(set(stamps)) == len(stamps)
    assert stamps == sorted(stamps)
    assert {m.header.frame_id for m in answers} == {"camera_optical"}
    found = [d for m in answers for d in m.detections]
    assert found
    for d in found:
        assert d.results[0].hypothesis.class_id in ("green_ball", "stop_sign")
        assert 0 <= d.results[0].hypothesis.score <= 1
        assert d.bbox.size_x > 0
        assert int(d.id) > 0


def test_boxes_for_the_time_of_the_answer_without_a_second_look(robot, start_tracker, images):
    topic = "/late/detections"
    robot.listen(Detection2DArray, topic)
    publisher = robot.node.create_publisher(Image, "/late/camera", BEST_EFFORT)
    start_tracker("-p", "latency_compensation:=true", "-p", "fovea:=false", *EAGER, name="late")
    feed(robot, publisher, images, topic, 20, start=time.time() - 1)
    boxes = [d.bbox for m in robot.heard[topic] for d in m.detections]
    assert boxes
    assert all(np.isfinite([b.center.position.x, b.size_x]).all() for b in boxes)


def test_time_that_jumps_back_is_a_new_beginning(robot, start_tracker, images):
    topic = "/jump/detections"
    robot.listen(Detection2DArray, topic)
    publisher = robot.node.create_publisher(Image, "/jump/camera", 5)
    start_tracker(name="jump")
    feed(robot, publisher, images, topic, 8, start=1000.0)
    feed(robot, publisher, images, topic, 8, start=5.0)
    assert robot.heard[topic][-1].header.stamp.sec < 10


def test_two_cameras_in_namespaces_do_not_mix(robot, images, tmp_path, monkeypatch):
    """Two nodes as two launches start them: each answers its own camera, and differs by name."""
    monkeypatch.setenv("ROS_HOME", str(tmp_path))
    names, sent, processes = ("front", "rear"), {}, []
    robot.listen(DiagnosticArray, "/diagnostics")
    robot.listen(Detection2DArray, "/detections")
    cameras = {n: robot.node.create_publisher(Image, f"/{n}/camera/image_raw", BEST_EFFORT) for n in names}
    for name in names:
        robot.listen(Detection2DArray, f"/{name}/detections")
        robot.listen(VisionInfo, f"/{name}/vision_info", LATCHED)
        processes.append(
            start_node(
                robot.env,
                "tracker",
                "-r",
                f"__ns:=/{name}",
                "-r",
                f"image:=/{name}/camera/image_raw",
                "-p",
                "diagnostics_period:=0.2",
                *EAGER,
            )
        )
    grey = np.full((120, 200, 3), 99, np.uint8)  # nothing in it, and nothing moves

    def shown(count):
        """Show both cameras' frames, whose stamps tell whose they are; have `count` answered of each."""
        goals = {n: len(robot.heard[f"/{n}/detections"]) + count for n in names}

        def done():
            for k, name in enumerate(names):
                seen = np.roll(images[0], 3 * len(sent), axis=1) if name == "front" else grey
                message = picture(seen, 1000 * (k + 1) + len(sent) / 30)
                message.header.frame_id = f"{name}_optical"
                sent[message.header.stamp.sec, message.header.stamp.nanosec] = name
                cameras[name].publish(message)
            robot.spin(0.05)
            return all(len(robot.heard[f"/{n}/detections"]) >= goals[n] for n in names)

        robot.until(done, 60)

    try:
        shown(10)
        robot.until(
            lambda: (
                {f"{n}/pvm_tracker: tracker" for n in names}
                <= {s.name for m in robot.heard["/diagnostics"] for s in m.status}
            )
        )
        version = robot.heard["/rear/vision_info"][-1].database_version
        assert robot.call(SetBool, "/front/pvm_tracker/set_learning", data=True).success
        saved = [robot.call(Trigger, f"/{n}/pvm_tracker/save_model").message for n in names]
        assert saved[0].startswith(f"{tmp_path}/pvm_perception/front/") and "/rear/" in saved[1]
        robot.until(lambda: shown(5) or robot.heard["/front/vision_info"][-1].database_version > version, 120)
        assert robot.heard["/rear/vision_info"][-1].database_version == version
    finally:
        for process in processes:
            end_node(process)
    assert not robot.heard["/detections"]
    for name in names:
        for message in robot.heard[f"/{name}/detections"]:
            assert sent[message.header.stamp.sec, message.header.stamp.nanosec] == name
            assert message.header.frame_id == f"{name}_optical"
            for d in message.detections:  # boxes of its own camera's size
                height, width = (images[0] if name == "front" else grey).shape[:2]
                assert d.bbox.center.position.x <= width and d.bbox.center.position.y <= height


def test_every_parameter_is_described_and_bad_values_are_refused(robot, start_tracker):
    start_tracker(name="described")
    names = robot.call(ListParameters, "/described/list_parameters").result.names
    ours = {f.name for f in NODES["tracker"].fields()}
    assert ours <= set(names)
    described = robot.call(
        DescribeParameters, "/described/describe_parameters", names=sorted(ours)
    ).descriptors
    assert all(d.description for d in described)

    def change(name, value):
        request = [Parameter(name, value=value).to_parameter_msg()]
        return robot.call(SetParameters, "/described/set_parameters", parameters=request).results[0]

    assert change("birth_score", 0.6).successful
    assert change("targets", ["stop_sign"]).successful
    for name, value, words in (
        ("birth_score", 2.0, "range"),
        ("targets", ["cat"], "unknown target"),
        ("device", "cuda", "fixed at start"),
        ("smoothing", "x", "type"),
    ):
        result = change(name, value)
        assert not result.successful
        assert words in result.reason


def test_targets_set_while_it_runs_change_the_boxes_and_not_only_their_labels(
    robot, start_tracker, ball_in_view
):
    topic = "/changed/detections"
    robot.listen(Detection2DArray, topic)
    publisher = robot.node.create_publisher(Image, "/changed/camera", 5)
    start_tracker("-p", "targets:=['green_ball']", name="changed")

    def targets_found(start):
        """Return the class id of each box in the last ten of twenty answers."""
        feed(robot, publisher, [ball_in_view], topic, 20, start=start)
        return [d.results[0].hypothesis.class_id for m in robot.heard[topic][-10:] for d in m.detections]

    def look_for(target):
        request = [Parameter("targets", value=[target]).to_parameter_msg()]
        answer = robot.call(SetParameters, "/changed/set_parameters", parameters=request)
        assert answer.results[0].successful

    assert set(targets_found(100.0)) == {"green_ball"}
    look_for("stop_sign")
    assert not targets_found(200.0)  # there is no sign: no box is left where the ball is
    look_for("green_ball")
    assert set(targets_found(300.0)) == {"green_ball"}


def test_lifecycle_by_hand(robot, start_tracker, images):
    topic = "/slow/detections"
    robot.listen(Detection2DArray, topic)
    publisher = robot.node.create_publisher(Image, "/slow/camera", 5)
    start_tracker("-p", "autostart:=false", name="slow")

    def state():
        return robot.call(GetState, "/slow/get_state").current_state.label

    def go(transition):
        assert robot.call(ChangeState, "/slow/change_state", transition=Transition(id=transition)).success

    assert state() == "unconfigured"
    go(Transition.TRANSITION_CONFIGURE)
    go(Transition.TRANSITION_ACTIVATE)
    assert state() == "active"
    feed(robot, publisher, images, topic, 3)
    go(Transition.TRANSITION_DEACTIVATE)
    assert state() == "inactive"
    go(Transition.TRANSITION_ACTIVATE)
    feed(robot, publisher, images, topic, 3, start=300.0)
    go(Transition.TRANSITION_DEACTIVATE)
    go(Transition.TRANSITION_CLEANUP)
    assert state() == "unconfigured"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_moment_ends_it_cleanly(robot, start_tracker, images, number):
    name = f"end_{int(number)}"
    publisher = robot.node.create_publisher(Image, f"/{name}/camera", 5)
    for round_ in range(3):
        process = start_tracker(name=name)
        stop = threading.Event()

        def camera(stop=stop):
            while not stop.is_set():
                publisher.publish(picture(images[0], time.time()))
                time.sleep(0.01)

        thread = threading.Thread(target=camera)
        thread.start()
        time.sleep(2.5 + 0.37 * round_)
        process.send_signal(number)
        process.wait(10)
        stop.set()
        thread.join()
        # the exit code and stderr are checked by the fixture


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-p", "targets:=['cat']"], "unknown target"),
        (["-p", "smoothing:=7.0"], "smoothing"),
        (["-p", "device:=tpu"], "device"),
        (["-p", "model:=/none/x"], "cannot be opened"),
    ],
)
def test_bad_parameters_at_start(arguments, words):
    process = subprocess.run(
        [sys.executable, "-m", "pvm_perception", "tracker", "--ros-args", *arguments],
        cwd=ROOT,
        env=os.environ | domain(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert process.returncode == 2
    assert words in process.stderr
    assert len(process.stderr.strip().splitlines()) == 1
