"""Bags in: what ROS wrote we read."""

import numpy as np
import pytest

from pvm_perception.errors import PvmError
from pvm_perception.streams import footage
from pvm_perception.streams.files import open_stream
from pvm_perception.types import Header
from pvm_perception.vision.ego_motion import EgoMotion
from pvm_perception.vision.image_codec import fill_image

rosbag2 = pytest.importorskip("rosbags.rosbag2")
from bag_side import (  # noqa: E402
    FIRST,
    FRAME,
    PACKED,
    RAW,
    TYPES,
    YAW,
    images,  # noqa: F401
    pictures,
    record,
    ros_message,
)


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
    assert frames[0].ahead is None  # nor is it known how long it is to the next
    for k, frame in enumerate(frames[1:]):
        right, down, roll, growth = frame.motion
        middle = (k + 0.5) * FRAME * 1e-9  # s; the turn's rate grows in proportion to time
        assert right == pytest.approx(800 / 640 * YAW * middle * FRAME * 1e-9, rel=0.6 / (k + 1), abs=1e-5)
        assert (down, roll) == (0, 0)
        assert growth == pytest.approx(0.4 * FRAME * 1e-9 / 4, rel=1e-4)
        heard = (k + 1) * FRAME * 1e-9  # s, the last odometry at most: the speed then is taken to go on
        coming = 800 / 640 * YAW * heard * FRAME * 1e-9
        assert frame.ahead[0] == pytest.approx(coming, rel=0.6 / (k + 1), abs=1e-5)
        assert frame.ahead[3] == pytest.approx(growth, rel=1e-4)
    assert [f.motion for f in open_stream(file)] == [None] * 12  # nobody asked
    assert [f.motion for f in open_stream(file, odom_topic="")] == [None] * 12
    named = [f.motion for f in open_stream(file, odom_topic="odom")]
    np.testing.assert_array_equal(named[1:], [f.motion for f in frames[1:]])


def test_odometry_counts_from_when_it_was_recorded(tmp_path, images):
    """A node has no twist before it comes: the frame's motion is of what was recorded by then."""
    file = record(tmp_path / "drive", images, {"/image": RAW}, odometry=("/odom",))
    live, waiting = EgoMotion(), []
    with rosbag2.Reader(file) as reader:
        for connection, _, data in reader.messages():
            message = TYPES.deserialize_cdr(data, connection.msgtype)
            stamp = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
            if connection.topic == "/odom":
                live.moved(stamp, message.twist.twist)
            else:
                waiting.append((stamp, live.between(waiting[-1][0] if waiting else 0.0, stamp, (240, 320))))
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
    errors = capsys.readouterr().err
    assert "/visual, /wheels" in errors and "--odom-topic" in errors and errors.count("\n") == 1
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
