"""The node over real DDS: a process of its own, as a robot runs it."""

import os
import signal
import subprocess
import sys
import threading
import time
from array import array

import numpy as np
import pytest
from conftest import ROOT

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed; run `make setup`")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
from lifecycle_msgs.srv import ChangeState, GetState  # noqa: E402
from nav_msgs.msg import Odometry  # noqa: E402
from rcl_interfaces.srv import DescribeParameters, ListParameters, SetParameters  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy  # noqa: E402
from ros_side import Robot, domain, end_node, start_node  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402
from std_srvs.srv import SetBool, Trigger  # noqa: E402
from vision_msgs.msg import Detection2DArray, LabelInfo, VisionInfo  # noqa: E402

from pvm_perception import Tracker  # noqa: E402
from pvm_perception.core.backend import find_gpu  # noqa: E402
from pvm_perception.ros.age_limit import AgeLimit  # noqa: E402
from pvm_perception.ros.node_settings import NODES  # noqa: E402
from pvm_perception.streams.generated import SimulatedStream  # noqa: E402
from pvm_perception.vision.image_codec import fill_image  # noqa: E402

ENV = domain()
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
EAGER = ("-p", "birth_score:=0.02", "-p", "keep_score:=0.01")  # boxes come, whatever the model
BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.fixture(scope="module")
def robot():
    robot = Robot(ENV)
    yield robot
    robot.close()


@pytest.fixture(scope="module")
def images():
    return [f.image for f in SimulatedStream(0, (240, 320), 30.0, 30)]


@pytest.fixture
def start():
    """Start the node as a process; end it, and check that it ended as it should."""
    running = []

    def run(*arguments, name="pvm_tracker"):
        process = start_node(
            ENV, "tracker", "-r", f"__node:={name}", "-r", f"image:=/{name}/camera", "-r",
            f"detections:=/{name}/detections", "-r",
            f"image/compressed:=/{name}/camera/compressed", *arguments)
        running.append(process)
        return process

    yield run
    for process in running:
        end_node(process)


def picture(image, stamp=None, encoding="bgr8"):
    message = fill_image(Image(), image, encoding, Image().header)
    message.header.frame_id = "camera_optical"
    if stamp is not None:
        message.header.stamp.sec, message.header.stamp.nanosec = int(stamp), int(stamp % 1 * 1e9)
    return message


def feed(robot, publisher, images, topic, count, start=100.0, **kwargs):
    """Publish until `count` more answers came."""
    goal, k = len(robot.heard[topic]) + count, 0

    def done():
        nonlocal k
        publisher.publish(picture(images[k % len(images)], start + k / 30, **kwargs))
        k += 1
        robot.spin(0.03)
        return len(robot.heard[topic]) >= goal
    robot.until(done, 30)


@pytest.mark.parametrize("reliability", ["best_effort", "reliable"])
def test_frames_in_detections_out(robot, start, images, reliability):
    """One answer per frame with the image's header, whatever reliability the camera offers."""
    name = f"node_{reliability}"
    topic = f"/{name}/detections"
    robot.listen(Detection2DArray, topic)
    qos = BEST_EFFORT if reliability == "best_effort" else QoSProfile(depth=5)
    publisher = robot.node.create_publisher(Image, f"/{name}/camera", qos)
    start(*EAGER, name=name)
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


def test_boxes_for_the_time_of_the_answer_without_a_second_look(robot, start, images):
    topic = "/late/detections"
    robot.listen(Detection2DArray, topic)
    publisher = robot.node.create_publisher(Image, "/late/camera", BEST_EFFORT)
    start("-p", "latency_compensation:=true", "-p", "fovea:=false", *EAGER, name="late")
    feed(robot, publisher, images, topic, 20, start=time.time() - 1)
    boxes = [d.bbox for m in robot.heard[topic] for d in m.detections]
    assert boxes
    assert all(np.isfinite([b.center.position.x, b.size_x]).all() for b in boxes)


def test_bad_images_are_counted_and_survived(robot, start, images):
    topic = "/bad/detections"
    robot.listen(Detection2DArray, topic)
    robot.listen(DiagnosticArray, "/diagnostics")
    publisher = robot.node.create_publisher(Image, "/bad/camera", 5)
    start("-p", "diagnostics_period:=0.2", name="bad")
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


def test_the_diagnostics_say_where_a_frames_time_goes(robot, start, images):
    topic = "/stages/detections"
    robot.listen(Detection2DArray, topic)
    robot.listen(DiagnosticArray, "/diagnostics")
    publisher = robot.node.create_publisher(Image, "/stages/camera", 5)
    start("-p", "diagnostics_period:=0.2", name="stages")
    feed(robot, publisher, images, topic, 5, start=time.time() - 10)  # stamps of ten seconds ago

    def said():
        found = [s for m in robot.heard["/diagnostics"] for s in m.status
                 if s.name == "stages: tracker"]
        return {v.key: v.value for v in found[-1].values} if found else {}
    robot.until(lambda: float(said().get("age (ms)", 0)) > 0)
    values = {k: float(v) for k, v in said().items() if k.endswith(("(ms)", "(% of a core)"))}
    assert values["age when begun (ms)"] > 5000
    assert values["age (ms)"] == pytest.approx(
        values["age when begun (ms)"] + values["step time (ms)"], abs=0.2)
    assert values["step time (ms)"] == pytest.approx(sum(
        values[f"{stage} (ms)"] for stage in ("decode", "look", "publish")), abs=0.3)
    assert values["CPU (% of a core)"] >= 0


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_log_and_diagnostics_say_what_runs_the_network(robot, device):
    """And where `auto` found no GPU, why; who asked for the CPU is not told."""
    name = f"placed_{device}"
    robot.listen(DiagnosticArray, "/diagnostics")
    process = start_node(ENV, "tracker", "-r", f"__node:={name}", "-p", f"device:={device}",
                         "-p", "diagnostics_period:=0.2")

    def said():
        found = [s for m in robot.heard["/diagnostics"] for s in m.status if s.name == f"{name}: tracker"]
        return {v.key: v.value for v in found[-1].values} if found else {}
    try:
        robot.until(said)
    finally:
        logged = end_node(process)
    gpu, why = (None, "") if device == "cpu" else find_gpu()
    plain = Tracker()  # on the CPU
    notes = [f"device 'auto' takes the CPU: {why}" if why else "", "" if gpu else plain.notice]
    note = "; ".join(filter(None, notes))
    assert (said()["device"], said()["device note"]) == ("cuda kernels" if gpu else plain.runs_on, note)
    assert f"on {said()['device']}" in logged
    assert [line.partition("]: ")[2] for line in logged.splitlines() if "[WARN]" in line] == [
        note] * bool(note)


def test_a_frame_that_comes_too_late_is_left_out_and_counted(robot, start, images):
    topic = "/aged/detections"
    robot.listen(Detection2DArray, topic)
    robot.listen(DiagnosticArray, "/diagnostics")
    publisher = robot.node.create_publisher(Image, "/aged/camera", 5)
    process = start("-p", "max_age:=3.0", "-p", "diagnostics_period:=0.2", "-p", "device:=cpu",
                    name="aged")
    answers = robot.heard[topic]

    def said(key):
        found = [s for m in robot.heard["/diagnostics"] for s in m.status if s.name == "aged: tracker"]
        return {v.key: v.value for v in found[-1].values}[key] if found else ""

    def show(age):
        """Publish one frame of this age; return whether it became detections."""
        message = picture(images[0], time.time() - age)
        counted, stamp = int(said("frames too old")), message.header.stamp
        publisher.publish(message)
        robot.until(lambda: answers[-1].header.stamp == stamp or int(said("frames too old")) > counted)
        return answers[-1].header.stamp == stamp

    feed(robot, publisher, images, topic, 12, start=100.0)  # no stamps of this machine's clock
    robot.until(lambda: "not kept" in said("age limit") or feed(
        robot, publisher, images, topic, 1, start=100.0))
    assert "behind the node's clock" in said("age limit")
    assert show(0)
    robot.until(lambda: said("age limit") == "3.0 s")
    assert [show(30), show(0)] == [False, True]
    robot.until(lambda: show(30), 60)  # it is the clock that is wrong
    assert int(said("frames too old")) > 1
    assert [show(30), show(0), show(30)] == [True, True, False]
    process.send_signal(signal.SIGTERM)
    words = process.stdout.read()
    assert words.count("[WARN]") == words.count("max_age: 3.0 s, not kept") >= 1


def test_whose_age_is_judged():
    def judged(*ages, every=0.3):
        return [limit.too_old(age, 0.5, k * every) for k, age in enumerate(ages)]
    limit = AgeLimit()
    assert not any(judged(*[5.0] * 9))  # a bag: always old
    assert limit.doubted
    assert not any(judged(*[-5.0] * 9))  # a clock that is ahead
    assert limit.state(0.5) == "0.5 s, not kept: stamps lie 5.00 s ahead of the node's clock"
    assert judged(0.1, 0.6, -5.0, 0.4, 9.0) == [False, True, False, False, True]
    assert (limit.state(0.5), limit.state(0.0)) == ("0.5 s", "none")
    assert judged(0.1, *[0.6] * 5, 0.1, 0.6) == [False, *[True] * 4, False, False, True]  # a second of them


def test_time_that_jumps_back_is_a_new_beginning(robot, start, images):
    topic = "/jump/detections"
    robot.listen(Detection2DArray, topic)
    publisher = robot.node.create_publisher(Image, "/jump/camera", 5)
    start(name="jump")
    feed(robot, publisher, images, topic, 8, start=1000.0)
    feed(robot, publisher, images, topic, 8, start=5.0)
    assert robot.heard[topic][-1].header.stamp.sec < 10


def test_odometry_reaches_the_network_at_the_frames_own_time(robot, start, images):
    """A turn of half a radian a second, seen by a camera of 60 degrees at 30 frames a second."""
    robot.listen(Detection2DArray, "/turning/detections")
    robot.listen(DiagnosticArray, "/diagnostics")
    camera = robot.node.create_publisher(Image, "/turning/camera", 5)
    wheels = robot.node.create_publisher(Odometry, "/turning/odom", 5)
    start("-p", "diagnostics_period:=0.2", "-r", "odom:=/turning/odom",
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


def test_compressed_images(robot, start, images):
    import cv2

    topic = "/packed/detections"
    robot.listen(Detection2DArray, topic)
    publisher = robot.node.create_publisher(CompressedImage, "/packed/camera/compressed", 5)
    start("-p", "image_transport:=compressed", name="packed")
    _, data = cv2.imencode(".jpg", images[0])
    good = CompressedImage(format="jpeg", data=array("B", data.tobytes()))
    cut = CompressedImage(format="jpeg", data=array("B", data.tobytes()[:900]))

    def done():
        publisher.publish(cut)
        publisher.publish(good)
        robot.spin(0.05)
        return len(robot.heard[topic]) >= 5
    robot.until(done)


def test_pictures_come_only_when_asked_for_and_services_answer(robot, start, images, tmp_path,
                                                               monkeypatch):
    monkeypatch.setenv("ROS_HOME", str(tmp_path))
    topic = "/full/detections"
    robot.listen(Detection2DArray, topic)
    for name in ("debug_image", "heatmap", "prediction", "surprise"):
        robot.listen(Image, f"/full/{name}")
    robot.listen(VisionInfo, "/vision_info", LATCHED)
    robot.listen(LabelInfo, "/label_info", LATCHED)
    publisher = robot.node.create_publisher(Image, "/full/camera", 5)
    start(name="full")
    feed(robot, publisher, images, topic, 5)
    robot.until(lambda: all(robot.heard[f"/full/{n}"] or feed(robot, publisher, images, topic, 1)
                            for n in ("debug_image", "heatmap", "prediction", "surprise")))
    surprise = robot.heard["/full/surprise"][-1]
    assert (surprise.encoding, surprise.height, surprise.width) == ("32FC1", 32, 40)
    assert robot.heard["/full/debug_image"][-1].width == 320
    robot.until(lambda: robot.heard["/vision_info"] and robot.heard["/label_info"])
    labels = robot.heard["/label_info"][-1]
    assert [c.class_name for c in labels.class_map] == ["green_ball", "stop_sign"]
    version = robot.heard["/vision_info"][-1].database_version
    assert robot.call(SetBool, "/full/set_learning", data=True).success
    feed(robot, publisher, images, topic, 5)
    robot.until(lambda: robot.heard["/vision_info"][-1].database_version > version)
    assert robot.call(Trigger, "/full/reset").success
    saved = robot.call(Trigger, "/full/save_model")
    assert saved.success
    assert saved.message.startswith(str(tmp_path))
    assert robot.call(SetBool, "/full/enable", data=False).success
    before = len(robot.heard[topic])
    for k in range(10):
        publisher.publish(picture(images[k], 500 + k / 30))
        robot.spin(0.03)
    assert len(robot.heard[topic]) <= before + 1
    assert robot.call(SetBool, "/full/enable", data=True).success
    feed(robot, publisher, images, topic, 2, start=600.0)


def test_two_cameras_in_namespaces_do_not_mix(robot, images, tmp_path, monkeypatch):
    """Two nodes as two launches start them: each answers its own camera, and is told apart by all else."""
    monkeypatch.setenv("ROS_HOME", str(tmp_path))
    names, sent, processes = ("front", "rear"), {}, []
    robot.listen(DiagnosticArray, "/diagnostics")
    robot.listen(Detection2DArray, "/detections")
    cameras = {n: robot.node.create_publisher(Image, f"/{n}/camera/image_raw", BEST_EFFORT) for n in names}
    for name in names:
        robot.listen(Detection2DArray, f"/{name}/detections")
        robot.listen(VisionInfo, f"/{name}/vision_info", LATCHED)
        processes.append(start_node(ENV, "tracker", "-r", f"__ns:=/{name}", "-r",
                                    f"image:=/{name}/camera/image_raw", "-p", "diagnostics_period:=0.2",
                                    *EAGER))
    pictures = {"front": images[0], "rear": np.full((120, 200, 3), 99, np.uint8)}  # grey: nothing in it

    def shown(count):
        """Show both cameras' frames, whose stamps tell whose they are; have `count` answered of each."""
        goals = {n: len(robot.heard[f"/{n}/detections"]) + count for n in names}

        def done():
            for k, name in enumerate(names):
                message = picture(pictures[name], 1000 * (k + 1) + len(sent) / 30)
                message.header.frame_id = f"{name}_optical"
                sent[message.header.stamp.sec, message.header.stamp.nanosec] = name
                cameras[name].publish(message)
            robot.spin(0.05)
            return all(len(robot.heard[f"/{n}/detections"]) >= goals[n] for n in names)
        robot.until(done, 60)

    try:
        shown(10)
        robot.until(lambda: {f"{n}/pvm_tracker: tracker" for n in names} <= {
            s.name for m in robot.heard["/diagnostics"] for s in m.status})
        version = robot.heard["/rear/vision_info"][-1].database_version
        assert robot.call(SetBool, "/front/pvm_tracker/set_learning", data=True).success
        saved = [robot.call(Trigger, f"/{n}/pvm_tracker/save_model").message for n in names]
        assert saved[0].startswith(f"{tmp_path}/pvm_perception/front/") and "/rear/" in saved[1]
        shown(5)
        robot.until(lambda: robot.heard["/front/vision_info"][-1].database_version > version)
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
                height, width = pictures[name].shape[:2]
                assert d.bbox.center.position.x <= width and d.bbox.center.position.y <= height


def test_boxes_for_foxglove_are_those_of_the_detections(robot, start, images):
    pytest.importorskip("foxglove_msgs.msg", reason="no foxglove_msgs here; run `make setup`")
    from foxglove_msgs.msg import ImageAnnotations, PointsAnnotation

    topic, drawn = "/drawn/detections", "/drawn/annotations"
    robot.listen(Detection2DArray, topic)
    robot.listen(ImageAnnotations, drawn)
    publisher = robot.node.create_publisher(Image, "/drawn/camera", BEST_EFFORT)
    start(*EAGER, name="drawn")
    robot.until(lambda: robot.node.count_publishers(drawn))
    feed(robot, publisher, images, topic, 30)

    def of_the_images():
        """Return pairs of both answers to the same image."""
        said = {(m.header.stamp.sec, m.header.stamp.nanosec): m for m in robot.heard[topic]}
        return [(said[key], m) for m in robot.heard[drawn]
                if (key := (m.timestamp.sec, m.timestamp.nanosec)) in said]
    robot.until(lambda: any(m.points for _, m in of_the_images()))
    for detections, annotations in of_the_images():
        assert len(detections.detections) == len(annotations.points) == len(annotations.texts)
        assert not annotations.circles
        for d, loop, text in zip(detections.detections, annotations.points, annotations.texts,
                                 strict=True):
            assert loop.type == PointsAnnotation.LINE_LOOP
            assert loop.timestamp == text.timestamp == detections.header.stamp
            x, y = ([getattr(p, k) for p in loop.points] for k in "xy")
            box, middle = d.bbox, d.bbox.center.position
            assert (sum(x) / 4, sum(y) / 4) == pytest.approx((middle.x, middle.y))
            assert (max(x) - min(x), max(y) - min(y)) == pytest.approx((box.size_x, box.size_y))
            assert len({(p.x, p.y) for p in loop.points}) == 4
            result = d.results[0].hypothesis
            assert text.text == f"{result.class_id} {d.id} {result.score:.2f}"
            assert (text.position.x, text.position.y) == (min(x), min(y))
            colour = {"green_ball": (1, 0, 1), "stop_sign": (0, 1, 1)}[result.class_id]
            for c in (loop.outline_color, text.text_color):
                assert (c.r, c.g, c.b, c.a) == (*colour, 1)
            assert loop.fill_color.a == 0 and loop.thickness >= 1 and text.font_size >= 8


def test_without_foxglove_msgs_it_says_so_once_and_goes_on(robot, images, tmp_path):
    (tmp_path / "foxglove_msgs.py").write_text("raise ImportError('not on this robot')")
    topic = "/plain/detections"
    robot.listen(Detection2DArray, topic)
    publisher = robot.node.create_publisher(Image, "/plain/camera", 5)
    process = start_node(ENV | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}, "tracker", "-r",
                         "__node:=plain", "-r", "image:=/plain/camera", "-r",
                         f"detections:={topic}")
    try:
        feed(robot, publisher, images, topic, 3)
        for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP,
                           Transition.TRANSITION_CONFIGURE):
            assert robot.call(ChangeState, "/plain/change_state",
                              transition=Transition(id=transition)).success
        assert not robot.node.count_publishers("/plain/annotations")
    finally:
        process.send_signal(signal.SIGTERM)
        words, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
    assert words.count("no foxglove_msgs") == 1


def test_every_parameter_is_described_and_bad_values_are_refused(robot, start):
    start(name="told")
    names = robot.call(ListParameters, "/told/list_parameters").result.names
    ours = {f.name for f in NODES["tracker"].fields()}
    assert ours <= set(names)
    described = robot.call(DescribeParameters, "/told/describe_parameters",
                           names=sorted(ours)).descriptors
    assert all(d.description for d in described)

    def change(name, value):
        request = [Parameter(name, value=value).to_parameter_msg()]
        return robot.call(SetParameters, "/told/set_parameters", parameters=request).results[0]
    assert change("birth_score", 0.6).successful
    assert change("targets", ["stop_sign"]).successful
    for name, value, words in (("birth_score", 2.0, "range"), ("targets", ["cat"], "unknown target"),
                               ("device", "cuda", "fixed at start"), ("smoothing", "x", "type")):
        result = change(name, value)
        assert not result.successful
        assert words in result.reason


@pytest.mark.parametrize("simulated", ["false", "true"])  # true: by a simulation's clock, which stands
def test_silence_is_a_warning_that_names_the_topic(robot, start, simulated):
    robot.listen(DiagnosticArray, "/diagnostics")
    name = f"quiet_{simulated}"
    start("-p", "frame_timeout:=0.5", "-p", "diagnostics_period:=0.2", "-p",
          f"use_sim_time:={simulated}", name=name)

    def warned():
        return any(s.level == DiagnosticStatus.WARN and f"/{name}/camera" in s.message
                   for m in robot.heard["/diagnostics"] for s in m.status
                   if s.name.startswith(name))
    robot.until(warned)


def test_lifecycle_by_hand(robot, start, images):
    topic = "/slow/detections"
    robot.listen(Detection2DArray, topic)
    publisher = robot.node.create_publisher(Image, "/slow/camera", 5)
    start("-p", "autostart:=false", name="slow")

    def state():
        return robot.call(GetState, "/slow/get_state").current_state.label

    def go(transition):
        assert robot.call(ChangeState, "/slow/change_state",
                          transition=Transition(id=transition)).success
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
def test_a_signal_at_any_moment_ends_it_cleanly(robot, start, images, number):
    name = f"end_{int(number)}"
    publisher = robot.node.create_publisher(Image, f"/{name}/camera", 5)
    for round_ in range(3):
        process = start(name=name)
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


@pytest.mark.parametrize(("arguments", "words"), [
    (["-p", "targets:=['cat']"], "unknown target"), (["-p", "smoothing:=7.0"], "smoothing"),
    (["-p", "device:=tpu"], "device"), (["-p", "model:=/none/x"], "cannot be opened")])
def test_bad_parameters_at_start(arguments, words):
    process = subprocess.run([sys.executable, "-m", "pvm_perception", "tracker", "--ros-args",
                              *arguments], cwd=ROOT, env=os.environ | ENV, capture_output=True,
                             text=True, timeout=30, check=False)
    assert process.returncode == 2
    assert words in process.stderr
    assert len(process.stderr.strip().splitlines()) == 1


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
