"""Bags as ROS records them, for tests to read."""

from array import array

import cv2
import pytest
from rosbags import rosbag2
from rosbags.typesys import Stores, get_typestore

from pvm_perception.streams.generated import SimulatedStream
from pvm_perception.vision.image_codec import fill_image

TYPES = get_typestore(Stores.ROS2_HUMBLE)
RAW, PACKED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
FIRST = 1_700_000_000_123_456_789  # ns
FRAME, TICK = 33_000_000, 20_000_000  # ns, between images and between odometry's messages
YAW = 0.5  # rad/s


def ros_message(kind):
    """Return an empty message as ROS makes it, and the function that lays it on the wire."""
    serialization = pytest.importorskip("rclpy.serialization", reason="ROS 2 is not installed")
    from sensor_msgs.msg import CompressedImage, Image

    return (Image() if kind == RAW else CompressedImage()), serialization.serialize_message


def stamped(header, time):
    """Set a header's stamp, ns."""
    header.stamp.sec, header.stamp.nanosec = divmod(time, 10**9)
    header.frame_id = "camera_optical"
    return header


def record(folder, images, topics, storage="MCAP", odometry=(), camera_info=""):
    """Write images to a bag with rosbags, serialized by ROS itself; return the storage file.

    On the topics in `odometry` a robot turns, ever faster; its messages come 4 ms after their stamp.
    """
    messages = [m for topic, kind in topics.items() for m in pictures(images, topic, kind)]
    if odometry or camera_info:
        messages += turning(len(images), odometry, camera_info)
    writer = rosbag2.Writer(folder, version=8, storage_plugin=rosbag2.StoragePlugin[storage])
    with writer:
        kinds = topics | dict.fromkeys(odometry, "nav_msgs/msg/Odometry")
        if camera_info:
            kinds[camera_info] = "sensor_msgs/msg/CameraInfo"
        connections = {t: writer.add_connection(t, kind, typestore=TYPES) for t, kind in kinds.items()}
        for logged, topic, data in sorted(messages, key=lambda m: m[0]):
            writer.write(connections[topic], logged, data)
    return next(p for p in folder.iterdir() if p.suffix in (".mcap", ".db3"))


def pictures(images, topic, kind):
    """Yield (time of recording, topic, data) of images, 5 ms after their stamp."""
    for k, image in enumerate(images):
        message, serialize = ros_message(kind)
        header = stamped(message.header, FIRST + k * FRAME)
        if kind == RAW:
            fill_image(message, image, "bgr8", header)
        else:
            message.format = "png"
            message.data = array("B", cv2.imencode(".png", image)[1].tobytes())
        yield FIRST + k * FRAME + 5_000_000, topic, serialize(message)


def turning(frames, odometry, camera_info):
    """Yield the same for odometry, and once for a calibration: focal length 800 px at 640 x 480."""
    from nav_msgs.msg import Odometry
    from rclpy.serialization import serialize_message
    from sensor_msgs.msg import CameraInfo

    for k in range(frames * FRAME // TICK + 1):
        message = Odometry()
        time = FIRST + k * TICK
        stamped(message.header, time)
        message.twist.twist.angular.z = YAW * k * TICK * 1e-9
        message.twist.twist.linear.x = 0.4
        for topic in odometry:
            yield time + 4_000_000, topic, serialize_message(message)
    if camera_info:
        info = CameraInfo(width=640, height=480, k=[800.0, 0, 320, 0, 800, 240, 0, 0, 1])
        stamped(info.header, FIRST)
        yield FIRST + 1_000_000, camera_info, serialize_message(info)


@pytest.fixture(scope="module")
def images():
    return [f.image for f in SimulatedStream(2, (240, 320), 30.0, 12)]
