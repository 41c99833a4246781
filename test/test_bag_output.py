"""Detections into bags: what we write ROS reads."""

import csv
import resource
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

from pvm_perception.errors import PvmError
from pvm_perception.streams.bags import DetectionBag
from pvm_perception.streams.generated import SimulatedStream
from pvm_perception.streams.messages import DEFINITIONS
from pvm_perception.types import Frame, Header, Track

rosbag2 = pytest.importorskip("rosbags.rosbag2")
from bag_side import FIRST, PACKED, RAW, images, record  # noqa: E402, F401
from rosbags.typesys import Stores, get_types_from_msg, get_typestore  # noqa: E402

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


def test_a_bag_gives_the_network_what_the_node_would_receive(command_line, tmp_path):
    """The same recording through `track`, and message by message through the node over DDS."""
    pytest.importorskip("rclpy", reason="ROS 2 is not installed; run `make setup`")
    from nav_msgs.msg import Odometry
    from rclpy.qos import ReliabilityPolicy
    from ros_side import Robot, domain, end_node, start_node
    from sensor_msgs.msg import CameraInfo, Image
    from vision_msgs.msg import Detection2DArray

    kinds = {"/camera/image_raw": Image, "/odom": Odometry, "/camera/camera_info": CameraInfo}
    for seed in range(2, 12):  # up to a scene in which this model's boxes move by what it was given
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
        moved = [a != pytest.approx(b, abs=0.03) for a, b in zip(*found.values(), strict=True)]
        if any(moved):
            break
    assert any(moved)
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
    received = [numbers_of(m) for m in answers]
    assert [len(b) for b in received] == [len(b) for b in found["with"]]
    for ours, theirs in zip(found["with"], received, strict=True):
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
