"""ROS 2 bags, MCAP or sqlite3: images and odometry come out, detections go in. Needs only rosbags."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Container, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pvm_perception.errors import PvmError, warn, writing
from pvm_perception.streams.messages import DEFINITIONS
from pvm_perception.types import Frame, Header, Track
from pvm_perception.vision.compressed_image import FILES
from pvm_perception.vision.ego_motion import EgoMotion
from pvm_perception.vision.image_codec import decode_compressed, decode_image

SUFFIXES = (".mcap", ".db3")
DECODERS: dict[str, Callable[[Any], np.ndarray]] = {
    "sensor_msgs/msg/Image": decode_image,
    "sensor_msgs/msg/CompressedImage": partial(decode_compressed, settings=FILES),
}
ODOMETRY, CAMERA_INFO = "nav_msgs/msg/Odometry", "sensor_msgs/msg/CameraInfo"
DETECTIONS = "vision_msgs/msg/Detection2DArray"


def is_bag(path: Path) -> bool:
    """Tell whether a path is a bag: a storage file, or a folder that holds one."""
    if path.is_dir():
        return (path / "metadata.yaml").is_file() or any(p.suffix in SUFFIXES for p in path.iterdir())
    return path.suffix in SUFFIXES


def _typestore() -> Any:
    """Return the message types; those we read and write are the same in every ROS 2 release."""
    try:
        from rosbags.typesys import Stores, get_types_from_msg, get_typestore
    except ImportError as error:
        raise PvmError(f"bags need the package rosbags ({error}); python3 -m pip install rosbags") from error
    store = get_typestore(Stores.ROS2_HUMBLE)
    for name, text in DEFINITIONS.items():
        store.register(get_types_from_msg(text, name))
    return store


def _storage(path: Path) -> Path:
    """Return what to open: a folder whose recording was cut short still has its storage file."""
    if not path.is_dir() or (path / "metadata.yaml").is_file():
        return path
    files = sorted(p for p in path.iterdir() if p.suffix in SUFFIXES)
    if len(files) == 1:
        return files[0]
    raise PvmError(
        f"{path} holds {len(files)} storage files and no metadata.yaml; run "
        f"`ros2 bag reindex {path}`, or give one of the files"
    )


def _why(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


class BagStream:
    """The images of one topic of a bag, in the order they were recorded.

    Where the bag holds odometry, each frame also has the camera's own motion, as the node works it
    out, from what was recorded before that frame. The focal length is that of the `camera_info` next to
    the images (/camera/camera_info for /camera/image_raw), if there is one.

    Parameters
    ----------
    path
        A `.mcap` or `.db3` file, or a rosbag2 folder.
    topic
        Which images; may be None where there is one topic of them.
    odom_topic
        Which nav_msgs/Odometry; None takes the only one, and warns where there are several; "" takes
        none.

    Raises
    ------
    PvmError
        Not a bag, no images, several topics of them and no choice, or a topic that is not there.
    """

    def __init__(self, path: Path, topic: str | None = None, odom_topic: str | None = "") -> None:
        self.types = _typestore()
        from rosbags.rosbag2 import Reader

        self.path, self.truth, self.name = path, None, path.stem
        source = _storage(path)
        try:
            self.reader = Reader(source)
            with self.reader:
                connections = list(self.reader.connections)
                seconds = self.reader.duration * 1e-9
        except Exception as error:  # the library raises whatever a damaged byte makes of it
            hint = (
                "; if the recording was cut short, `mcap recover` mends it"
                if source.suffix == ".mcap"
                else ""
            )
            raise PvmError(f"{path} cannot be read as a bag: {_why(error)}{hint}") from error
        self.topic = _choose(path, connections, topic)
        self.odom_topic = _choose_odometry(path, connections, odom_topic)
        self._wanted = {(self.topic, kind) for kind in DECODERS}
        if self.odom_topic:
            camera = self.topic.removesuffix("/compressed").rpartition("/")[0]
            self._wanted |= {(self.odom_topic, ODOMETRY), (f"{camera}/camera_info", CAMERA_INFO)}
        self.length = sum(c.msgcount for c in connections if self._shows(c))
        rate = (self.length - 1) / seconds if seconds > 0 else 0.0
        self.fps = rate if 1 <= rate <= 1000 else 30.0
        self.unreadable = 0
        self.first = 0  # index of the first image that is decoded

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames named by their index in the topic; a malformed one keeps its index."""
        self.unreadable, index, seen, robot = 0, -1, 0.0, EgoMotion()
        for connection, logged, data in self._messages():
            shows = self._shows(connection)
            index += shows
            if shows and index < self.first:
                continue
            try:
                message = self.types.deserialize_cdr(data, connection.msgtype)
                time = message.header.stamp
                stamp = time.sec + time.nanosec * 1e-9
                image = self._taken(connection.msgtype, message, stamp, robot)
            except Exception as error:  # as above
                self.unreadable += shows
                what = f"image {index}" if shows else "a message"
                warn(f"{self.path}: {what} of {connection.topic} left out: {_why(error)}")
                continue
            if image is not None:
                header = Header(time.sec, time.nanosec, message.header.frame_id, logged)
                motion, ahead = robot.around(seen, stamp, image.shape[:2])
                seen, timed = stamp, stamp if stamp > 0 else None
                yield Frame(image, str(index), timed, header=header, motion=motion, ahead=ahead)

    def _shows(self, connection: Any) -> bool:
        """Tell whether a connection carries the images."""
        return connection.topic == self.topic and connection.msgtype in DECODERS

    @staticmethod
    def _taken(kind: str, message: Any, stamp: float, robot: EgoMotion) -> np.ndarray | None:
        """Return the image in a message; what else it may be, the robot's motion learns of."""
        if kind in DECODERS:
            return DECODERS[kind](message)
        if kind == ODOMETRY:
            robot.moved(stamp, message.twist.twist)
        else:
            robot.calibrated(message)
        return None

    def _messages(self) -> Iterator[tuple[Any, int, bytes]]:
        """Yield connection, time of recording in nanoseconds, data; warn where the bag breaks off."""
        count = 0
        try:
            with self.reader:
                wanted = [c for c in self.reader.connections if (c.topic, c.msgtype) in self._wanted]
                for connection, logged, data in self.reader.messages(wanted):
                    yield connection, logged, data
                    count += self._shows(connection)
        except Exception as error:
            if not count:
                raise PvmError(f"{self.path} cannot be read: {_why(error)}") from error
            warn(f"{self.path} breaks off after {count} images: {_why(error)}")


def _choose(path: Path, connections: list, topic: str | None) -> str:
    """Return the topic of the images."""
    filled = _filled(connections, DECODERS)
    if not filled:
        raise PvmError(f"{path} holds no images ({' or '.join(DECODERS)})")
    if topic is None and len(filled) == 1:
        return filled[0]
    if topic is None:
        raise PvmError(f"{path} holds images on {', '.join(filled)}; choose with --topic")
    return _named(path, "images", topic, filled)


def _choose_odometry(path: Path, connections: list, topic: str | None) -> str:
    """Return the topic of the robot's odometry; empty where there is none to go by."""
    filled = _filled(connections, (ODOMETRY,))
    if topic:
        return _named(path, "odometry", topic, filled)
    if topic is None and len(filled) > 1:
        warn(
            f"{path} holds odometry on {', '.join(filled)}; going on without the robot's own motion, "
            "choose with --odom-topic"
        )
    return filled[0] if topic is None and len(filled) == 1 else ""


def _filled(connections: list, kinds: Container[str]) -> list[str]:
    """Return the topics that hold messages of these types, by name."""
    return sorted({c.topic for c in connections if c.msgtype in kinds and c.msgcount})


def _named(path: Path, what: str, topic: str, filled: list[str]) -> str:
    """Return the topic that was asked for, with or without the first slash."""
    for name in (topic, "/" + topic):
        if name in filled:
            return name
    raise PvmError(
        f"{path} holds no {what} on {topic}; "
        + (f"it does on {', '.join(filled)}" if filled else "there is none in it")
    )


class DetectionBag:
    """Write tracks as vision_msgs/Detection2DArray: one message for each frame, also when empty.

    The bag appears under its name when it is closed, and then also after an interruption.

    Parameters
    ----------
    path
        A name ending in `.mcap` for that one file, any other for a rosbag2 folder (MCAP).
    topic
        The detections' topic.
    """

    def __init__(self, path: Path, topic: str = "/detections") -> None:
        self.types = _typestore()
        from rosbags.rosbag2 import StoragePlugin, Writer

        self.path, self.single = path, path.suffix == ".mcap"
        if path.is_dir() and (self.single or any(path.iterdir())):
            raise PvmError(f"{path} is a folder with something in it; give a new name")
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self.scratch = Path(tempfile.mkdtemp(prefix=".bag-", dir=path.parent))
        with self._scratch():
            self.writer = Writer(
                self.scratch / path.stem,
                version=8,  # 8: Jazzy reads it too
                storage_plugin=StoragePlugin.MCAP,
            )
            self.writer.open()
            self.connection = self.writer.add_connection(topic, DETECTIONS, typestore=self.types)

    def __enter__(self) -> DetectionBag:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, frame: Frame, tracks: Iterable[Track]) -> None:
        """Add the detections of a frame.

        Parameters
        ----------
        frame
            The frame that they were found in; where it came from a bag, its message's header is used again.
        tracks
            Of the frame; their boxes in pixels of its picture.

        Raises
        ------
        PvmError
            If the bag cannot be written.
        """
        header = frame.header or _header_of(frame.stamp or 0.0)
        message = self._message(header, tracks)
        data = self.types.serialize_cdr(message, DETECTIONS)
        with writing(self.path):
            self.writer.write(self.connection, header.logged, data)

    def _message(self, header: Header, tracks: Iterable[Track]) -> Any:
        """Return tracks as a message; field for field what the node publishes."""

        def make(kind: str, **fields: Any) -> Any:
            return self.types.types[kind](**fields)

        stamped = make(
            "std_msgs/msg/Header",
            frame_id=header.frame_id,
            stamp=make("builtin_interfaces/msg/Time", sec=header.sec, nanosec=header.nanosec),
        )
        pose = make(
            "geometry_msgs/msg/PoseWithCovariance",
            covariance=np.zeros(36),
            pose=make(
                "geometry_msgs/msg/Pose",
                position=make("geometry_msgs/msg/Point", x=0.0, y=0.0, z=0.0),
                orientation=make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0),
            ),
        )
        detections = []
        for t in tracks:
            centre = make(
                "vision_msgs/msg/Pose2D",
                theta=0.0,
                position=make("vision_msgs/msg/Point2D", x=float(t.x + t.w / 2), y=float(t.y + t.h / 2)),
            )
            hypothesis = make("vision_msgs/msg/ObjectHypothesis", class_id=t.target, score=float(t.score))
            detections.append(
                make(
                    "vision_msgs/msg/Detection2D",
                    header=stamped,
                    id=str(t.id),
                    results=[
                        make("vision_msgs/msg/ObjectHypothesisWithPose", hypothesis=hypothesis, pose=pose)
                    ],
                    bbox=make(
                        "vision_msgs/msg/BoundingBox2D", center=centre, size_x=float(t.w), size_y=float(t.h)
                    ),
                )
            )
        return make(DETECTIONS, header=stamped, detections=detections)

    def close(self) -> None:
        """Finish the bag and move it to its place."""
        with self._scratch():
            self.writer.close()
            folder = self.scratch / self.path.stem
            (folder / f"{self.path.stem}.mcap" if self.single else folder).replace(self.path)
        shutil.rmtree(self.scratch, ignore_errors=True)

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[None]:
        """Leave no scratch folder where something cannot be written."""
        try:
            with writing(self.path):
                yield
        except BaseException:
            shutil.rmtree(self.scratch, ignore_errors=True)
            raise


def _header_of(seconds: float) -> Header:
    """Return a header for a frame that came in no message."""
    nanoseconds = round(seconds * 1e9)
    return Header(nanoseconds // 1_000_000_000, nanoseconds % 1_000_000_000, "", nanoseconds)
