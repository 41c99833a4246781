"""Bags in and out: what ROS wrote we read, what we write ROS reads."""

import csv
import resource
import subprocess
import sys
from array import array

import cv2
import numpy as np
import pytest
from conftest import ROOT

from pvm_perception.errors import PvmError
from pvm_perception.streams import footage
from pvm_perception.streams.bags import DetectionBag
from pvm_perception.streams.files import open_stream
from pvm_perception.streams.generated import SimulatedStream
from pvm_perception.streams.messages import DEFINITIONS
from pvm_perception.types import Frame, Header, Track
from pvm_perception.vision.ego_motion import EgoMotion
from pvm_perception.vision.image_codec import fill_image

rosbag2 = pytest.importorskip("rosbags.rosbag2")
from rosbags.typesys import Stores, get_types_from_msg, get_typestore  # noqa: E402

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


@pytest.mark.parametrize("storage", ["MCAP", "SQLITE3"])
@pytest.mark.parametrize("kind", [RAW, PACKED])
@pytest.mark.parametrize("how", ["file", "folder", "folder without metadata"])
def test_images_of_a_bag(tmp_path, images, storage, kind, how):
    folder = tmp_path / "drive"
    file = record(folder, images, {"/camera/image": kind}, storage)
    if how == "folder without metadata":
        (folder / "metadata.yaml").unlink()
    stream = open_stream(file if how == "file" else folder)
    assert stream.length == 12
    assert stream.fps == pytest.approx(1 / 0.033, rel=0.01)
    for _ in range(2):  # a stream can be read again
        frames = list(stream)
        assert [f.name for f in frames] == [str(k) for k in range(12)]
        for k, frame in enumerate(frames):
            np.testing.assert_array_equal(frame.image, images[k])
            assert frame.header == Header(
                *divmod(FIRST + k * 33_000_000, 10**9), "camera_optical", FIRST + k * 33_000_000 + 5_000_000
            )
            assert frame.stamp == pytest.approx(FIRST * 1e-9 + k * 0.033, abs=1e-6)


def test_a_bag_is_a_source_of_video_to_learn_from(tmp_path, images, monkeypatch):
    monkeypatch.setattr(footage, "PIECE", 5)
    record(tmp_path / "drives" / "first", images, {"/camera/image": PACKED})
    video = footage.Footage([tmp_path / "drives"])
    assert [(p.begin, p.end) for p in video.pieces] == [(0, 5), (5, 10)]  # two frames are no clip
    for piece in video.pieces:
        np.testing.assert_array_equal(video.frames(piece), np.stack(images[piece.begin : piece.end]))


def test_several_topics_want_a_choice(tmp_path, images):
    file = record(tmp_path / "two", images[:3], {"/left/image": RAW, "/right/image": PACKED})
    with pytest.raises(PvmError, match=r"/left/image, /right/image; choose with --topic"):
        open_stream(file)
    with pytest.raises(PvmError, match=r"no images on /up; it does on /left/image, /right/image"):
        open_stream(file, "/up")
    assert open_stream(file, "right/image").topic == "/right/image"
    assert len(list(open_stream(file, "/left/image"))) == 3


def test_a_bag_without_images_and_no_bag_at_all(tmp_path):
    folder = tmp_path / "talk"
    with rosbag2.Writer(folder, version=8) as writer:
        writer.add_connection("/chatter", "std_msgs/msg/String", typestore=TYPES)
    with pytest.raises(PvmError, match="holds no images"):
        open_stream(folder)
    for name, data in (("a.mcap", b"nonsense" * 100), ("a.db3", b"nonsense" * 100)):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(PvmError, match="cannot be read as a bag") as caught:
            open_stream(tmp_path / name)
        assert "\n" not in str(caught.value)
    two = tmp_path / "two"
    two.mkdir()
    for k in range(2):
        (two / f"{k}.mcap").write_bytes(b"x")
    with pytest.raises(PvmError, match="reindex"):
        open_stream(two)


def test_a_bag_cut_anywhere_is_frames_or_one_line(tmp_path, images, capsys):
    data = record(tmp_path / "whole", images, {"/camera/image": PACKED}).read_bytes()
    cut = tmp_path / "cut.mcap"
    for size in range(1, len(data), len(data) // 23):
        cut.write_bytes(data[:size])
        with pytest.raises(PvmError, match="mcap recover"):
            open_stream(cut)
    rng = np.random.default_rng(0)
    for _ in range(40):
        wrong = bytearray(data)
        for at in rng.integers(0, len(data), 20):
            wrong[at] = rng.integers(256)
        cut.write_bytes(wrong)
        try:
            assert len(list(open_stream(cut))) <= 12
        except PvmError as error:
            assert "\n" not in str(error)
    assert all(line.startswith("pvm_perception: warning: ") for line in capsys.readouterr().err.splitlines())


def test_a_malformed_image_keeps_its_index(tmp_path, images, capsys):
    message, serialize = ros_message(RAW)
    with rosbag2.Writer(tmp_path / "bad", version=8) as writer:
        connection = writer.add_connection("/i", RAW, typestore=TYPES)
        for k in range(3):
            fill_image(message, images[k], "bgr8" if k != 1 else "plaid", message.header)
            writer.write(connection, k, serialize(message))
    frames = list(open_stream(tmp_path / "bad"))
    assert [f.name for f in frames] == ["0", "2"]
    assert frames[0].stamp is None  # a camera without a clock
    assert "image 1 of /i left out" in capsys.readouterr().err


@pytest.mark.parametrize("storage", ["MCAP", "SQLITE3"])
@pytest.mark.parametrize("kind", [RAW, PACKED])
def test_the_robots_own_motion_comes_with_the_frames(tmp_path, images, storage, kind):
    topic = "/camera/image_raw" + ("/compressed" if kind == PACKED else "")
    file = record(tmp_path / "drive", images, {topic: kind}, storage, ("/odom",), "/camera/camera_info")
    frames = list(open_stream(file, odom_topic=None))
    assert frames[0].motion is None  # nothing came before
    for k, frame in enumerate(frames[1:]):
        right, down, roll, growth = frame.motion
        middle = (k + 0.5) * FRAME * 1e-9  # s; the turn's rate grows in proportion to time
        assert right == pytest.approx(800 / 640 * YAW * middle * FRAME * 1e-9, rel=0.6 / (k + 1), abs=1e-5)
        assert (down, roll) == (0, 0)
        assert growth == pytest.approx(0.4 * FRAME * 1e-9 / 4, rel=1e-4)
    assert [f.motion for f in open_stream(file)] == [None] * 12  # nobody asked
    assert [f.motion for f in open_stream(file, odom_topic="")] == [None] * 12
    named = [f.motion for f in open_stream(file, odom_topic="odom")]
    np.testing.assert_array_equal(named[1:], [f.motion for f in frames[1:]])


def test_odometry_counts_from_when_it_was_recorded(tmp_path, images):
    """A node hears no twist before it comes: the frame's motion is of what was recorded by then."""
    file = record(tmp_path / "drive", images, {"/image": RAW}, odometry=("/odom",))
    heard, waiting = EgoMotion(), []
    with rosbag2.Reader(file) as reader:
        for connection, _, data in reader.messages():
            message = TYPES.deserialize_cdr(data, connection.msgtype)
            stamp = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
            if connection.topic == "/odom":
                heard.moved(stamp, message.twist.twist)
            else:
                waiting.append((stamp, heard.between(waiting[-1][0] if waiting else 0.0, stamp, (240, 320))))
    for frame, (_, motion) in zip(open_stream(file, odom_topic="/odom"), waiting, strict=True):
        np.testing.assert_array_equal(frame.motion, motion)


def test_a_choice_of_odometry(tmp_path, images, capsys):
    none = record(tmp_path / "none", images[:3], {"/image": RAW})
    assert [f.motion for f in open_stream(none, odom_topic=None)] == [None] * 3
    with pytest.raises(PvmError, match=r"no odometry on /odom; there is none in it"):
        open_stream(none, odom_topic="/odom")
    two = record(tmp_path / "two", images[:3], {"/image": RAW}, odometry=("/visual", "/wheels"))
    assert capsys.readouterr().err == ""
    assert [f.motion for f in open_stream(two, odom_topic=None)] == [None] * 3
    said = capsys.readouterr().err
    assert "/visual, /wheels" in said and "--odom-topic" in said and said.count("\n") == 1
    assert list(open_stream(two, odom_topic="/wheels"))[2].motion is not None
    assert [f.motion for f in open_stream(two, odom_topic="")] == [None] * 3
    with pytest.raises(PvmError, match=r"no odometry on /up; it does on /visual, /wheels"):
        open_stream(two, odom_topic="/up")
    assert capsys.readouterr().err == ""
    (tmp_path / "clip.mp4").write_bytes(b"x")
    with pytest.raises(PvmError, match="for bags"):
        open_stream(tmp_path / "clip.mp4", odom_topic="/odom")


def test_damaged_odometry_is_left_out(tmp_path, images, capsys):
    folder = tmp_path / "bad"
    with rosbag2.Writer(folder, version=8) as writer:
        image = writer.add_connection("/image", RAW, typestore=TYPES)
        odom = writer.add_connection("/odom", "nav_msgs/msg/Odometry", typestore=TYPES)
        for k, (logged, _, data) in enumerate(pictures(images[:3], "/image", RAW)):
            writer.write(odom, logged - 1, b"\x00\x01\x00\x00broken")
            writer.write(image, logged + k, data)
    assert [f.motion for f in open_stream(folder, odom_topic=None)] == [None] * 3
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and all("a message of /odom left out" in line for line in lines)


TRACKS = [
    Track("green_ball", 10.25, 20.5, 30.0, 40.0, 0.75, 3),
    Track("stop_sign", 0.0, 0.0, 5.0, 6.0, 0.5, 11),
]


def test_detections_can_be_read_by_ros(tmp_path):
    """The CDR bytes are what the real vision_msgs reads, field for field."""
    serialization = pytest.importorskip("rclpy.serialization", reason="ROS 2 is not installed")
    from std_msgs.msg import Header as RosHeader
    from vision_msgs.msg import Detection2DArray

    from pvm_perception.ros.messages import detection_array

    image = np.zeros((4, 4, 3), np.uint8)
    with DetectionBag(tmp_path / "sub" / "out.mcap") as bag:
        bag.write(Frame(image, "0", 5.0, header=Header(5, 7, "optical", 99)), TRACKS)
        bag.write(Frame(image, "1", 1.5), [])
    assert [p.name for p in (tmp_path / "sub").iterdir()] == ["out.mcap"]
    with rosbag2.Reader(tmp_path / "sub" / "out.mcap") as reader:
        connection = reader.connections[0]
        assert (connection.topic, connection.msgtype) == ("/detections", "vision_msgs/msg/Detection2DArray")
        messages = [
            (t, serialization.deserialize_message(bytes(d), Detection2DArray))
            for _, t, d in reader.messages()
        ]
    header = RosHeader(frame_id="optical")
    header.stamp.sec, header.stamp.nanosec = 5, 7
    assert messages[1] == (99, detection_array(TRACKS, header)) or messages[0] == (
        99,
        detection_array(TRACKS, header),
    )
    empty = next(m for t, m in messages if t == 1_500_000_000)
    assert empty.header.stamp.sec == 1 and not empty.detections


def test_the_type_is_the_one_on_the_wire():
    files = {
        f"vision_msgs/msg/{p.stem}": p.read_text()
        for p in (ROOT / "interfaces" / "vision_msgs" / "msg").glob("*.msg")
    }
    store = get_typestore(Stores.ROS2_HUMBLE)
    for name, text in DEFINITIONS.items():
        assert files[name] == text
        store.register(get_types_from_msg(text, name))
    assert store.hash_rihs01("vision_msgs/msg/Detection2DArray") == (
        "RIHS01_214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968"
    )


def test_a_folder_instead_of_a_file(tmp_path):
    with DetectionBag(tmp_path / "out") as bag:
        bag.write(Frame(np.zeros((4, 4, 3), np.uint8), "0", 1.0), TRACKS)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"metadata.yaml", "out.mcap"}
    with rosbag2.Reader(tmp_path / "out") as reader:
        assert reader.message_count == 1
    with pytest.raises(PvmError, match="give a new name"):
        DetectionBag(tmp_path / "out")


def test_track_from_bag_to_bag(command_line, tmp_path, images):
    file = record(tmp_path / "drive", images, {"/camera/image": RAW, "/other": PACKED})
    out, boxes = tmp_path / "out.mcap", tmp_path / "boxes.csv"
    process = command_line(
        "track", "--input", file, "--topic", "/camera/image", "--output", boxes, "--output-bag", out
    )
    assert process.returncode == 0, process.stderr
    with boxes.open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert {int(r["frame"]) for r in rows} <= set(range(12))
    with rosbag2.Reader(out) as reader:
        assert reader.message_count == 12
        assert reader.start_time == FIRST + 5_000_000
    for arguments, words in (((), "choose with --topic"), (("--topic", "/up"), "no images on /up")):
        process = command_line("track", "--input", file, "--output", boxes, *arguments)
        assert process.returncode == 2
        assert words in process.stderr
        assert len(process.stderr.strip().splitlines()) == 1


def boxes_of(path):
    """Return each message's boxes in a bag: (middle x, y, w, h, score) of all."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    for name, text in DEFINITIONS.items():
        store.register(get_types_from_msg(text, name))
    with rosbag2.Reader(path) as reader:
        messages = [store.deserialize_cdr(data, c.msgtype) for c, _, data in reader.messages()]
    return [numbers_of(m) for m in messages]


def numbers_of(message):
    return [
        n
        for d in message.detections
        for n in (
            d.bbox.center.position.x,
            d.bbox.center.position.y,
            d.bbox.size_x,
            d.bbox.size_y,
            d.results[0].hypothesis.score,
        )
    ]


def test_a_bag_tells_the_network_what_the_node_would_hear(command_line, tmp_path):
    """The same recording through `track`, and message by message through the node over DDS."""
    pytest.importorskip("rclpy", reason="ROS 2 is not installed; run `make setup`")
    from nav_msgs.msg import Odometry
    from rclpy.qos import ReliabilityPolicy
    from ros_side import Robot, domain, end_node, start_node
    from sensor_msgs.msg import CameraInfo, Image
    from vision_msgs.msg import Detection2DArray

    kinds = {"/camera/image_raw": Image, "/odom": Odometry, "/camera/camera_info": CameraInfo}
    for seed in range(2, 12):  # up to a scene in which this model's boxes move by what it was told
        images = [f.image for f in SimulatedStream(seed, (240, 320), 30.0, 12)]
        file = record(
            tmp_path / f"drive{seed}",
            images,
            {"/camera/image_raw": RAW},
            "MCAP",
            ("/odom",),
            "/camera/camera_info",
        )
        found = {}
        for name, arguments in (("with", ()), ("without", ("--odom-topic", ""))):
            bag = tmp_path / f"{name}{seed}.mcap"
            process = command_line(
                "track", "--input", file, "--output", tmp_path / "boxes.csv", "--output-bag", bag, *arguments
            )
            assert (process.returncode, "warning" in process.stderr) == (0, False), process.stderr
            found[name] = boxes_of(bag)
        told = [a != pytest.approx(b, abs=0.03) for a, b in zip(*found.values(), strict=True)]
        if any(told):
            break
    assert any(told)
    env = domain()
    robot = Robot(env)
    try:
        robot.listen(Detection2DArray, "/detections")
        publishers = {t: robot.node.create_publisher(kind, t, 10) for t, kind in kinds.items()}
        node = start_node(
            env,
            "tracker",
            "-r",
            "image:=/camera/image_raw",
            "-r",
            "camera_info:=/camera/camera_info",
            "-p",
            "device:=cpu",
        )
        robot.until(
            lambda: (
                all(p.get_subscription_count() for p in publishers.values())
                and any(
                    s.qos_profile.reliability == ReliabilityPolicy.RELIABLE
                    for s in robot.node.get_subscriptions_info_by_topic("/camera/image_raw")
                )
            ),
            60,
        )
        robot.spin(1.0)
        answers, shown = robot.heard["/detections"], 0
        with rosbag2.Reader(file) as reader:
            for connection, _, data in reader.messages():
                robot.spin(0.05)  # what came before is with the node
                publishers[connection.topic].publish(bytes(data))
                if connection.topic == "/camera/image_raw":
                    shown += 1
                    robot.until(lambda: len(answers) == shown)
        end_node(node)
    finally:
        robot.close()
    heard = [numbers_of(m) for m in answers]
    assert [len(b) for b in heard] == [len(b) for b in found["with"]]
    for ours, theirs in zip(found["with"], heard, strict=True):
        assert ours == pytest.approx(theirs, abs=0.01)


def test_a_bag_that_does_not_fit_is_one_line_and_leaves_nothing(tmp_path):
    script = (
        "import numpy as np, sys\nfrom pathlib import Path\n"
        "from pvm_perception.streams.bags import DetectionBag\n"
        "from pvm_perception.types import Frame, Track\n"
        "with DetectionBag(Path(sys.argv[1])) as bag:\n"
        "    for k in range(900): bag.write(Frame(np.zeros((4, 4, 3), np.uint8), str(k), k / 30),\n"
        "                                   [Track('green_ball', 1, 2, 3, 4, 0.5, 1)])"
    )
    process = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "o.mcap")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000)),
    )
    assert process.returncode == 1
    assert "PvmError" in process.stderr.splitlines()[-1] and "o.mcap cannot be written" in process.stderr
    assert not list(tmp_path.iterdir())
