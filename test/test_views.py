"""The node's pictures of what it sees and expects, and its boxes for Foxglove."""

import os
import signal

import numpy as np
import pytest
from conftest import ROOT

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed; run `make setup`")

from lifecycle_msgs.msg import Transition  # noqa: E402
from lifecycle_msgs.srv import ChangeState  # noqa: E402
from ros_side import BEST_EFFORT, EAGER, LATCHED, feed, picture, start_node  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from std_srvs.srv import SetBool, Trigger  # noqa: E402
from vision_msgs.msg import Detection2DArray, LabelInfo, VisionInfo  # noqa: E402


def test_pictures_come_only_when_asked_for_and_services_answer(
    robot, start_tracker, images, tmp_path, monkeypatch
):
    monkeypatch.setenv("ROS_HOME", str(tmp_path))
    topic = "/full/detections"
    robot.listen(Detection2DArray, topic)
    for name in ("debug_image", "heatmap", "prediction", "surprise"):
        robot.listen(Image, f"/full/{name}")
    robot.listen(VisionInfo, "/vision_info", LATCHED)
    robot.listen(LabelInfo, "/label_info", LATCHED)
    publisher = robot.node.create_publisher(Image, "/full/camera", 5)
    start_tracker(name="full")
    feed(robot, publisher, images, topic, 5)
    robot.until(
        lambda: all(
            robot.heard[f"/full/{n}"] or feed(robot, publisher, images, topic, 1)
            for n in ("debug_image", "heatmap", "prediction", "surprise")
        )
    )
    surprise = robot.heard["/full/surprise"][-1]
    assert (surprise.encoding, surprise.height, surprise.width) == ("32FC1", 32, 40)
    assert robot.heard["/full/debug_image"][-1].width == 320
    robot.until(lambda: robot.heard["/vision_info"] and robot.heard["/label_info"])
    labels = robot.heard["/label_info"][-1]
    assert [c.class_name for c in labels.class_map] == ["green_ball", "stop_sign"]
    robot.until(lambda: robot.heard["/vision_info"][-1].method.endswith(", images of 320x240 px"))
    version = robot.heard["/vision_info"][-1].database_version
    assert robot.call(SetBool, "/full/set_learning", data=True).success
    moving = [np.roll(images[0], 3 * k, axis=1) for k in range(30)]  # else there is nothing to learn
    robot.until(
        lambda: (
            robot.heard["/vision_info"][-1].database_version > version
            or feed(robot, publisher, moving, topic, 20)
        ),
        120,
    )
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


def test_boxes_for_foxglove_are_those_of_the_detections(robot, start_tracker, images):
    pytest.importorskip("foxglove_msgs.msg", reason="no foxglove_msgs here; run `make setup`")
    from foxglove_msgs.msg import ImageAnnotations, PointsAnnotation

    topic, drawn = "/drawn/detections", "/drawn/annotations"
    robot.listen(Detection2DArray, topic)
    robot.listen(ImageAnnotations, drawn)
    publisher = robot.node.create_publisher(Image, "/drawn/camera", BEST_EFFORT)
    start_tracker(*EAGER, name="drawn")
    robot.until(lambda: robot.node.count_publishers(drawn))
    feed(robot, publisher, images, topic, 30)

    def of_the_images():
        """Return pairs of both answers to the same image."""
        published = {(m.header.stamp.sec, m.header.stamp.nanosec): m for m in robot.heard[topic]}
        return [
            (published[key], m)
            for m in robot.heard[drawn]
            if (key := (m.timestamp.sec, m.timestamp.nanosec)) in published
        ]

    robot.until(lambda: any(m.points for _, m in of_the_images()))
    for detections, annotations in of_the_images():
        assert len(detections.detections) == len(annotations.points) == len(annotations.texts)
        assert not annotations.circles
        for d, loop, text in zip(detections.detections, annotations.points, annotations.texts, strict=True):
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
    process = start_node(
        robot.env | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        "tracker",
        "-r",
        "__node:=plain",
        "-r",
        "image:=/plain/camera",
        "-r",
        f"detections:={topic}",
    )
    try:
        feed(robot, publisher, images, topic, 3)
        for transition in (
            Transition.TRANSITION_DEACTIVATE,
            Transition.TRANSITION_CLEANUP,
            Transition.TRANSITION_CONFIGURE,
        ):
            assert robot.call(
                ChangeState, "/plain/change_state", transition=Transition(id=transition)
            ).success
        assert not robot.node.count_publishers("/plain/annotations")
    finally:
        process.send_signal(signal.SIGTERM)
        words, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
    assert words.count("no foxglove_msgs") == 1
