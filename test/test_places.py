"""Where targets are, as others take it: 3D detections, markers, a frame of TF."""

import numpy as np
import pytest
from test_follower import Eyes, start  # noqa: F401
from test_geometry import ball

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed; run `make setup`")

from rclpy.qos import QoSProfile  # noqa: E402
from std_msgs.msg import Header  # noqa: E402
from vision_msgs.msg import Detection2D, Detection3DArray, ObjectHypothesisWithPose  # noqa: E402
from visualization_msgs.msg import Marker, MarkerArray  # noqa: E402

from pvm_perception.ros.places import detections_3d, markers  # noqa: E402
from pvm_perception.vision.geometry import Estimate, RangingSettings, facing  # noqa: E402

CENTRE = [0.3, -0.1, 2.0]


def result(position, score=0.8, number="7", target="green_ball"):
    detection = Detection2D(id=number)
    detection.results = [ObjectHypothesisWithPose()]
    detection.results[0].hypothesis.class_id, detection.results[0].hypothesis.score = target, score
    return detection, Estimate(np.array(position), np.diag([0.01, 0.01, 0.16]))


def test_a_detection_in_space_has_place_size_and_how_sure_that_is():
    header = Header(frame_id="camera_optical")
    message = detections_3d(header, [result(CENTRE), result([0, 0, 5.0], 0.4, "9")], RangingSettings())
    first, second = message.detections
    assert (message.header, first.header, first.id, second.id) == (header, header, "7", "9")
    (hypothesis,) = first.results
    assert (hypothesis.hypothesis.class_id, hypothesis.hypothesis.score) == ("green_ball", 0.8)
    assert hypothesis.pose.pose == first.bbox.center
    p, q, size = first.bbox.center.position, first.bbox.center.orientation, first.bbox.size
    assert [p.x, p.y, p.z] == CENTRE
    np.testing.assert_allclose([q.x, q.y, q.z, q.w], facing(np.array(CENTRE)))
    assert (size.x, size.y, size.z) == (0.2, 0.2, 0.2)
    covariance = np.array(hypothesis.pose.covariance).reshape(6, 6)
    np.testing.assert_allclose(np.diag(covariance), [0.01, 0.01, 0.16, *[np.pi**2 / 3] * 3])
    assert detections_3d(header, [], RangingSettings()).detections == []


def test_markers_are_bodies_with_words_and_wipe_out_the_last_ones():
    sign = RangingSettings(target="stop_sign", shape="flat", size=0.75)
    wipe, body, words = markers(
        Header(frame_id="c"), [result([0.0, 0.0, 3.0], target="stop_sign")], sign
    ).markers
    assert wipe.action == Marker.DELETEALL
    assert (body.type, body.scale.y, body.scale.z) == (Marker.CUBE, 0.75, 0.75)
    assert body.scale.x < 0.05
    assert (words.type, words.text) == (Marker.TEXT_VIEW_FACING, "stop_sign 7 3.00 m")
    assert words.pose.position.y < body.pose.position.y - 0.375  # above it: y points down
    assert (body.header.frame_id, body.lifetime.nanosec) == ("c", 500_000_000)
    assert markers(Header(), [result(CENTRE)], RangingSettings()).markers[1].type == Marker.SPHERE


def test_the_follower_says_where_all_targets_are(robot, start):
    tf = pytest.importorskip("tf2_msgs.msg", reason="no tf2_msgs here; run `make setup`").TFMessage
    robot.listen(Detection3DArray, "/space/detections_3d")
    robot.listen(MarkerArray, "/space/target_follower/markers")
    robot.listen(tf, "/tf", QoSProfile(depth=100))
    eyes = Eyes(robot, "space")
    start("follower", "space", "-p", "broadcast_tf:=true", "-p", "target_frame:=ball")

    def complete():
        eyes.show(ball(CENTRE))
        robot.spin(0.05)
        return len(robot.heard["/tf"]) >= 3

    robot.until(complete, 40)
    eyes.show()
    robot.until(lambda: not robot.heard["/space/detections_3d"][-1].detections)
    found = robot.heard["/space/detections_3d"][0].detections[0]
    (transform,) = robot.heard["/tf"][0].transforms
    assert (transform.header.frame_id, transform.child_frame_id) == ("camera_optical", "ball")
    for place in (found.bbox.center.position, transform.transform.translation):
        np.testing.assert_allclose([place.x, place.y, place.z], CENTRE, atol=0.02)
    stamps = [(t.header.stamp.sec, t.header.stamp.nanosec) for m in robot.heard["/tf"] for t in m.transforms]
    assert len(set(stamps)) == len(stamps)
    assert any(len(m.markers) == 3 for m in robot.heard["/space/target_follower/markers"])
