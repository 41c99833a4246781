"""`watch`: what is recorded is read back with Rerun's own reader; the page is asked for."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from pvm_perception import Tracker
from pvm_perception.live_page import NEEDS, Thinner
from pvm_perception.types import TARGETS
from pvm_perception.vision.draw import mosaic

rerun = pytest.mark.skipif(
    find_spec("rerun") is None, reason="no rerun-sdk here; pip install -r requirements/watch.txt"
)
ros = pytest.mark.skipif(find_spec("rclpy") is None, reason="ROS 2 is not installed; run `make setup`")
LAYERS = [layer.name for layer in Tracker().config.layers]
EVERY_FRAME = {
    "/camera/image",
    "/camera/tracks",
    "/camera/truth",
    "/camera/truth_names",
    "/camera/fovea",
    "/network/prediction",
    "/network/surprise",
    "/scores/birth_score",
    "/scores/keep_score",
    *(f"/heat/{t}" for t in TARGETS),
    *(f"/codes/{name}" for name in LAYERS),
    *(f"/scores/{t}/{kind}" for t in TARGETS for kind in ("seen", "track")),
}


def chunks(path):
    from rerun.chunk import RrdReader

    reader = RrdReader(path)
    assert [r.application_id for r in reader.recordings()] == ["pvm_perception"]
    assert reader.blueprints()  # the panels' places
    return reader.stream().to_chunks()


def counts(path):
    """Return how many rows each entity has over time."""
    rows = Counter()
    for chunk in chunks(path):
        if not chunk.is_static:
            rows[chunk.entity_path] += chunk.num_rows
    return rows


def column(path, entity, name):
    """Return one component of an entity over the frames, in their order."""
    values = {}
    for chunk in chunks(path):
        if chunk.entity_path == entity and not chunk.is_static:
            table = chunk.to_record_batch()
            values |= zip(table.column("frame").to_pylist(), table.column(name).to_pylist(), strict=True)
    assert list(values) == sorted(values) == list(range(min(values), max(values) + 1))
    return list(values.values())


def free_port():
    """Return a port that is free, as is the next one."""
    for _ in range(50):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            try:
                second.bind(("127.0.0.1", first.getsockname()[1] + 1))
            except OSError:
                continue
            return first.getsockname()[1]
    raise AssertionError("no two free ports side by side")


def listening(port):
    """Return the IPv4 addresses on which somebody listens at a port, as the kernel says."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {
        socket.inet_ntoa(int(ip, 16).to_bytes(4, "little"))
        for ip, number in (row[1].split(":") for row in rows if row[3] == "0A")
        if int(number, 16) == port
    }


@rerun
def test_a_recording_holds_what_the_tracker_saw(command_line, simulated, tmp_path):
    file = tmp_path / "new" / "watch.rrd"
    process = command_line("watch", "--input", simulated, "--no-viewer", "--record", file)
    assert process.returncode == 0, process.stderr
    assert process.stdout == f"60 frames, recorded in {file}\n"
    assert not process.stderr
    rows = counts(file)
    assert set(rows) - {"/__properties"} == EVERY_FRAME | {"/error/forecast", "/error/copying"}
    assert {rows[entity] for entity in EVERY_FRAME} == {60}
    assert {rows["/error/forecast"], rows["/error/copying"]} == {59}  # none before the second frame

    from pvm_perception.streams.files import open_stream

    tracker, labels, best = Tracker(), [], []
    for frame in open_stream(simulated):
        tracks = tracker.update(frame.image, frame.stamp)
        labels.append([f"{t.target} {t.id} {t.score:.2f}" for t in tracks])
        best.append(max((t.score for t in tracks if t.target == "green_ball"), default=0.0))
    assert column(file, "/camera/tracks", "Boxes2D:labels") == labels
    assert any(labels)
    curve = column(file, "/scores/green_ball/track", "Scalars:scalars")
    assert [v for (v,) in curve] == pytest.approx(best)


@rerun
def test_an_address_opens_page_and_data(tmp_path):
    port = free_port()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "pvm_perception",
            "watch",
            "--frames",
            "2",
            "--port",
            str(port),
            "--address",
            "0.0.0.0",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        address = process.stdout.readline().split()[1]
        assert address.startswith(f"http://{socket.gethostname()}:{port}/?url=")
        assert listening(port) == listening(port + 1) == {"0.0.0.0"}
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert not listening(port)  # the page's own process has ended, too


@rerun
def test_the_page_is_served_and_a_signal_ends_it(tmp_path):
    port, file = free_port(), tmp_path / "live.rrd"
    env = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "pvm_perception",
            "watch",
            "--frames",
            "5",
            "--port",
            str(port),
            "--record",
            str(file),
        ],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        address = process.stdout.readline().split()[1]
        assert address.startswith(f"http://localhost:{port}/?url=rerun%2Bhttp")
        assert str(port + 1) in address
        with urllib.request.urlopen(address, timeout=10) as page:
            assert b"Rerun" in page.read()
        with socket.create_connection(("127.0.0.1", port + 1), timeout=10):
            pass
        assert listening(port) == listening(port + 1) == {"127.0.0.1"}
        taken = subprocess.run(
            [sys.executable, "-m", "pvm_perception", "watch", "--port", str(port)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert taken.returncode == 2
        assert f"port {port}" in taken.stderr and taken.stderr.count("\n") == 1
        assert process.stdout.readline() == "Ctrl-C ends it\n"
        assert "has ended after 5 frames" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == f"5 frames, recorded in {file}\n"
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert counts(file)["/camera/image"] == 5


def test_without_rerun_one_line_says_how_to_install_it(command_line, tmp_path):
    (tmp_path / "rerun").mkdir()
    (tmp_path / "rerun" / "__init__.py").write_text("import no_such_module\n")
    env = os.environ | {"PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
    process = command_line("watch", "--frames", 2, "--no-viewer", "--record", tmp_path / "r.rrd", env=env)
    assert process.returncode == 2
    assert process.stderr.count("\n") == 1
    assert "make watch" in process.stderr and NEEDS in process.stderr
    assert f'"{NEEDS}"' in (ROOT / "setup.py").read_text()
    pin = next(
        line
        for line in (ROOT / "requirements" / "watch.txt").read_text().splitlines()
        if line.startswith("rerun-sdk==")
    )
    assert pin.replace("==", "~=").rsplit(".", 1)[0] == NEEDS.rsplit(".", 1)[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--no-viewer",), "--record"),
        (("--no-viewer", "--record", "r.rrd"), "--frames"),
        (("--frames", "0"), "--frames"),
        (("--rate", "-1"), "--rate"),
        pytest.param(
            ("--ros", "no topic", "--no-viewer", "--record", "r.rrd"),
            "'no topic' is no full name",
            marks=[rerun, ros],
        ),
        (("--input", "none"), "does not exist"),
        pytest.param(
            ("--frames", "2", "--no-viewer", "--record", "/proc/none/r.rrd"), "cannot be written", marks=rerun
        ),
        pytest.param(("--address", "no.such.host.invalid"), "--address no.such.host.invalid", marks=rerun),
        pytest.param(("--address", "192.0.2.1"), "192.0.2.1", marks=rerun),
        pytest.param(("--port", "99999"), "port 99999", marks=rerun),
    ],
)
def test_bad_arguments_are_one_line(monkeypatch, capsys, tmp_path, arguments, words):
    from pvm_perception.__main__ import main

    monkeypatch.chdir(tmp_path)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert main(["watch", *arguments]) == 2
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    error = capsys.readouterr().err
    assert error.startswith("pvm_perception: error: ") and error.count("\n") == 1
    assert words in error
    assert not list(tmp_path.iterdir())


def test_codes_are_the_layers_grids():
    tracker = Tracker()
    assert not any(codes.any() for codes in tracker.codes().values())
    tracker.update(np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8))
    codes = tracker.codes()
    assert list(codes) == LAYERS
    for layer in tracker.config.layers:
        assert codes[layer.name].shape == (layer.rows, layer.cols, layer.code)
        assert codes[layer.name].dtype == np.float32
        assert codes[layer.name].any()
    kept = {name: c.copy() for name, c in codes.items()}
    tracker.update(np.zeros((120, 160, 3), np.uint8))
    assert all((codes[name] == kept[name]).all() for name in LAYERS)  # a copy, not the state itself


@pytest.mark.parametrize("shape", [(24, 32, 24), (3, 4, 7), (1, 1, 64), (1, 1, 1)])
def test_a_mosaic_holds_every_value_once(shape):
    codes = np.random.default_rng(1).uniform(0, 1, shape).astype(np.float32)  # all above mid-grey
    picture = mosaic(codes)
    assert picture.dtype == np.uint8
    assert sorted(picture[picture >= 127]) == sorted((codes * 127.5 + 127.5).astype(np.uint8).ravel())
    assert (picture[: shape[0], : shape[1]] == (codes[..., 0] * 127.5 + 127.5).astype(np.uint8)).all()


@pytest.mark.parametrize(("rate", "shown"), [(10.0, 21), (0.0, 61), (100.0, 61)])
def test_a_page_shows_so_many_frames_a_second(rate, shown):
    thinner = Thinner(rate)
    assert sum(thinner.passes(100 + k / 30) for k in range(61)) == pytest.approx(shown, abs=1)
    assert thinner.passes(1000.0)  # and after a pause no more at once than before it
    assert thinner.passes(1000.001) == (rate == 0)


@rerun
@ros
def test_a_page_attaches_to_a_running_tracker(robot, start_tracker, images, tmp_path):
    from ros_side import picture
    from sensor_msgs.msg import Image
    from vision_msgs.msg import Detection2DArray

    file = tmp_path / "robot.rrd"
    publisher = robot.node.create_publisher(Image, "/watched/camera", 5)
    robot.listen(Detection2DArray, "/watched/detections")
    start_tracker("-p", "birth_score:=0.02", "-p", "keep_score:=0.01", "-r", "__ns:=/watched", name="watched")
    command = [sys.executable, "-m", "pvm_perception", "watch", "--ros", "/watched/camera", "--no-viewer"]
    command += ["--node", "/watched/watched", "--frames", "40", "--record", str(file)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | robot.env, stdout=subprocess.PIPE, text=True
    )
    k = 0

    def ended():
        nonlocal k
        publisher.publish(picture(images[k % len(images)], 100 + k / 30))
        k += 1
        robot.spin(0.03)
        return process.poll() is not None

    try:
        robot.until(ended, 90)
        assert process.stdout.read().splitlines()[-1] == f"40 frames, recorded in {file}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    rows = counts(file)
    assert rows["/camera/image"] == rows["/camera/tracks"] == 40
    assert all(rows[f"/network/{name}"] for name in ("heatmap", "prediction", "surprise"))
    received = {
        f"{d.results[0].hypothesis.class_id} {d.id}"
        for m in robot.heard["/watched/detections"]
        for d in m.detections
    }
    shown = {
        " ".join(label.split()[:2])
        for row in column(file, "/camera/tracks", "Boxes2D:labels")
        for label in row or ()
    }
    assert shown and shown <= received
