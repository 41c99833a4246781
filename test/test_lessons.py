"""The node is shown a target by a box on a topic, finds it, and forgets it by its name."""

import time

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed; run `make setup`")

from ros_side import LATCHED  # noqa: E402
from std_msgs.msg import String  # noqa: E402
from test_shown import box_at, scene  # noqa: E402
from vision_msgs.msg import Detection2D, LabelInfo, ObjectHypothesisWithPose  # noqa: E402

from pvm_perception.errors import PvmError  # noqa: E402
from pvm_perception.ros.lessons import taught_box  # noqa: E402
from pvm_perception.vision.recent import MOST_BYTES, SPAN, Recent  # noqa: E402

AT = (160, 120)


def drawn(name, box, theta=0.0):
    message = Detection2D()
    x, y, w, h = box
    message.bbox.center.position.x, message.bbox.center.position.y = x + w / 2, y + h / 2
    message.bbox.center.theta = theta
    message.bbox.size_x, message.bbox.size_y = float(w), float(h)
    result = ObjectHypothesisWithPose()
    result.hypothesis.class_id = name
    message.results = [result]
    return message


def test_a_box_teaches_and_a_name_forgets(robot, live_tracker):
    node = live_tracker
    robot.listen(LabelInfo, "label_info", LATCHED)
    box = robot.node.create_publisher(Detection2D, "teach_box", 5)
    name = robot.node.create_publisher(String, "forget_target", 5)

    def show_until(found, seconds=30.0):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not found():
            node.show(scene(3, AT))
        return found()

    def detected(target):
        last = robot.heard["detections"][-1:]
        return any(d.results[0].hypothesis.class_id == target for m in last for d in m.detections)

    def labels():
        return [c.class_name for m in robot.heard["label_info"][-1:] for c in m.class_map]

    assert show_until(lambda: robot.heard["detections"])
    faults = node.faults.count()
    box.publish(Detection2D())  # names no target: reported, and nothing else happens
    assert show_until(lambda: node.faults.count() > faults)
    box.publish(drawn("badge", box_at(*AT)))
    assert show_until(lambda: detected("badge"))
    assert show_until(lambda: labels() == ["green_ball", "stop_sign", "badge"])
    assert list(node.value("targets")) == ["green_ball", "stop_sign", "badge"]
    name.publish(String(data="badge"))
    assert show_until(lambda: labels() == ["green_ball", "stop_sign"])
    assert show_until(lambda: not detected("badge"))
    faults = node.faults.count()
    name.publish(String(data="badge"))
    assert show_until(lambda: node.faults.count() > faults)
    robot.node.destroy_publisher(box)
    robot.node.destroy_publisher(name)


def test_a_turned_box_is_taught_as_the_upright_one_around_it():
    name, (x, y, w, h) = taught_box(drawn("cup", (100, 100, 40, 20), np.pi / 2))
    assert name == "cup"
    assert (x, y, w, h) == pytest.approx((110, 90, 20, 40))
    with pytest.raises(PvmError, match="class"):
        taught_box(Detection2D())


def test_ten_seconds_are_remembered_within_bounds():
    recent = Recent()
    assert recent.at(0) is None
    image = np.zeros((480, 640, 3), np.uint8)
    for k in range(600):
        recent.keep(k / 30, 1000 + k / 30, image, ())
    moments = recent.moments()
    assert sum(m.image.nbytes for m in moments) <= MOST_BYTES
    assert moments[-1].arrived - moments[0].arrived == pytest.approx(SPAN, abs=0.5)
    assert len([m for m in moments if m.arrived > moments[-1].arrived - 1]) == 30
    assert recent.at(0) is moments[-1]
    assert recent.at(1e12) is moments[-1]
    assert recent.at(moments[-9].stamp) is moments[-9]
    assert recent.at(1.0) is None
    recent.keep(21.0, 1021.0, np.zeros((8000, 8000, 3), np.uint8), ())
    assert len(recent.moments()) == 1
