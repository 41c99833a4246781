"""Where targets are, in the forms that others take: 3D detections, markers for RViz, a transform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import Point, Pose, PoseWithCovariance, Quaternion, TransformStamped, Vector3
from rclpy.duration import Duration
from std_msgs.msg import ColorRGBA, Header
from vision_msgs.msg import Detection2D, Detection3D, Detection3DArray, ObjectHypothesisWithPose
from visualization_msgs.msg import Marker, MarkerArray

from pvm_perception.errors import PvmError
from pvm_perception.ros.messages import score_of
from pvm_perception.vision.draw import colour_of
from pvm_perception.vision.geometry import Estimate, RangingSettings, facing

try:  # a robot without tf2 has no such message, and needs none
    from tf2_msgs.msg import TFMessage
except ImportError:
    TFMessage = None

UNKNOWN_TURN = np.pi**2 / 3  # rad²; variance of an angle that can be anything
THIN = 0.01  # metres; a sign's depth
SHOWN = 0.5  # s for which a marker stays when no newer one comes
LETTERS = 0.06  # metres; height of a marker's words

Result = tuple[Detection2D, Estimate]


def pose_of(estimate: Estimate) -> PoseWithCovariance:
    """Return an estimate as a pose: x axis along the line of sight, orientation not measured."""
    x, y, z = map(float, estimate.position)
    i, j, k, w = map(float, facing(estimate.position))
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = estimate.covariance
    covariance[3:, 3:] = np.eye(3) * UNKNOWN_TURN
    return PoseWithCovariance(
        pose=Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=i, y=j, z=k, w=w)),
        covariance=covariance.ravel(),
    )


def extent(settings: RangingSettings) -> Vector3:
    """Return the target's size in the axes of its pose, metres: along the line of sight, across, up."""
    size = float(settings.size)
    return Vector3(x=THIN if settings.shape == "flat" else size, y=size, z=size)


def detections_3d(header: Header, results: Sequence[Result], settings: RangingSettings) -> Detection3DArray:
    """Return targets with their places, ids and scores.

    Parameters
    ----------
    header
        The image's.
    results
        Detections and where they are, in the header's frame.
    settings
        The target's name, size and shape.
    """
    message = Detection3DArray(header=header)
    for detection, estimate in results:
        pose = pose_of(estimate)
        found = Detection3D(header=header, id=detection.id)
        hypothesis = ObjectHypothesisWithPose(pose=pose)
        hypothesis.hypothesis.class_id, hypothesis.hypothesis.score = (
            settings.target,
            score_of(detection, settings.target),
        )
        found.results = [hypothesis]
        found.bbox.center, found.bbox.size = pose.pose, extent(settings)
        message.detections.append(found)
    return message


def markers(header: Header, results: Sequence[Result], settings: RangingSettings) -> MarkerArray:
    """Return a body in the target's colour and a line of words for each target; none wipes out the last.

    Parameters
    ----------
    header
        The image's; its frame is the camera's.
    results
        Detections and where they are, in the header's frame.
    settings
        The target's name, size and shape.
    """
    blue, green, red = (v / 255 for v in colour_of(settings.target))
    array = MarkerArray(markers=[Marker(header=header, action=Marker.DELETEALL)])
    for number, (detection, estimate) in enumerate(results):
        pose = pose_of(estimate).pose
        words = f"{settings.target} {detection.id} {estimate.distance:.2f} m"
        above = Pose(position=Point(x=pose.position.x, y=pose.position.y - settings.size, z=pose.position.z))
        shape = Marker.CUBE if settings.shape == "flat" else Marker.SPHERE
        for name, kind, place, size, shown in (
            ("target", shape, pose, extent(settings), ""),
            ("words", Marker.TEXT_VIEW_FACING, above, Vector3(z=LETTERS), words),
        ):
            array.markers.append(
                Marker(
                    header=header,
                    ns=name,
                    id=number,
                    type=kind,
                    pose=place,
                    scale=size,
                    color=ColorRGBA(r=red, g=green, b=blue, a=0.8),
                    lifetime=Duration(seconds=SHOWN).to_msg(),
                    text=shown,
                )
            )
    return array


class Places:
    """Publishes where the targets are: `detections_3d`, `~/markers` and, if wanted, a transform.

    Parameters
    ----------
    node
        The rclpy node.
    broadcasts
        Whether the followed target becomes a frame of TF.
    frame
        The name of that frame; empty = the target's.

    Raises
    ------
    PvmError
        A transform is wanted and tf2_msgs is not installed.
    """

    def __init__(self, node: Any, broadcasts: bool, frame: str) -> None:
        self._node, self._frame = node, frame
        self._last: Any = None  # stamp of the last transform
        self._detections = node.create_publisher(Detection3DArray, "detections_3d", 5)
        self._markers = node.create_publisher(MarkerArray, "~/markers", 5)
        if broadcasts and TFMessage is None:
            raise PvmError("broadcast_tf needs tf2_msgs: apt install ros-$ROS_DISTRO-tf2-msgs")
        self._tf = node.create_publisher(TFMessage, "/tf", 100) if broadcasts else None

    def show(self, header: Header, results: Sequence[Result], settings: RangingSettings) -> None:
        """Publish all targets of one frame; one whose place is in doubt is left out.

        Parameters
        ----------
        header
            The image's; its frame is the camera's.
        results
            Detections and where they are, in the header's frame.
        settings
            The target's name, size and shape.
        """
        known = [result for result in results if not result[1].doubt]
        self._detections.publish(detections_3d(header, known, settings))
        if self._markers.get_subscription_count():
            self._markers.publish(markers(header, known, settings))

    def broadcast(self, header: Header, pose: Pose, settings: RangingSettings) -> None:
        """Send the followed target's frame, a child of the header's; once for each stamp, as TF wants it.

        Parameters
        ----------
        header
            The image's; its frame is the camera's.
        pose
            Of the target in that frame, m.
        settings
            The target, whose name the frame gets where no other is set.
        """
        if self._tf is None or header.stamp == self._last:
            return
        if not header.frame_id:
            self._node.faults.note("/tf", "neither image nor camera_info names a frame; frame_id is empty")
            return
        self._last = header.stamp
        p = pose.position
        transform = TransformStamped(header=header, child_frame_id=self._frame or settings.target)
        transform.transform.translation = Vector3(x=p.x, y=p.y, z=p.z)
        transform.transform.rotation = pose.orientation
        self._tf.publish(TFMessage(transforms=[transform]))
