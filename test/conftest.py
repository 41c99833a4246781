"""Shared pieces: the command line as a user starts it, pictures, small networks."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from not_tried import pytest_terminal_summary  # noqa: F401

from pvm_perception.core.config import HierarchyConfig, Layer, Link
from pvm_perception.core.kernels import cpu
from pvm_perception.errors import PvmError

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def command_line():
    """Run `python -m pvm_perception ...` as a process; return it when it ended."""

    def run(*args, timeout=240, **kwargs):
        return subprocess.run(
            [sys.executable, "-m", "pvm_perception", *map(str, args)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            **kwargs,
        )

    return run


@pytest.fixture
def numpy_on_the_cpu(monkeypatch):
    """Take the CPU kernels away, as where no compiler was: what runs on the CPU is the NumPy network."""

    def missing():
        raise PvmError("the CPU kernels were not compiled")

    monkeypatch.setattr(cpu, "compiled", missing)
    monkeypatch.setattr(cpu, "products", lambda: None)


@pytest.fixture(scope="session")
def simulated(tmp_path_factory):
    """Return a simulated labelled sequence of 60 frames of four scenes."""
    import cv2

    from pvm_perception.streams.generated import SimulatedStream
    from pvm_perception.streams.groundtruth import write_groundtruth
    from pvm_perception.types import TARGETS

    folder = tmp_path_factory.mktemp("simulated")
    (folder / "frames").mkdir()
    labels = []
    for frame in SimulatedStream(0, (240, 320), 30.0, 60, seconds=0.5):
        name = f"{int(frame.name):04d}.jpg"
        cv2.imwrite(str(folder / "frames" / name), frame.image)
        labels.append((name, frame.boxes))
    write_groundtruth(folder / "groundtruth.csv", labels, TARGETS)
    return folder


@pytest.fixture(scope="module")
def robot():
    """Return the test's own side of a ROS 2 graph, in a domain of its own."""
    pytest.importorskip("rclpy", reason="ROS 2 is not installed; run `make setup`")
    from ros_side import Robot, domain

    robot = Robot(domain())
    yield robot
    robot.close()


@pytest.fixture(scope="module")
def nodes():
    """Return the package's nodes in this process by their commands; nothing spins them."""
    pytest.importorskip("rclpy", reason="ROS 2 is not installed; run `make setup`")
    pytest.importorskip("nav2_msgs.msg", reason="no nav2_msgs here; run `make setup`")
    from odd_sender import nodes_that_nothing_spins

    with nodes_that_nothing_spins() as made:
        yield made


@pytest.fixture
def start_tracker(robot):
    """Start the tracker's node as a process; end it, and check that it ended as it should."""
    from ros_side import end_node, start_node

    running = []

    def run(*arguments, name="pvm_tracker"):
        process = start_node(
            robot.env,
            "tracker",
            "-r",
            f"__node:={name}",
            "-r",
            f"image:=/{name}/camera",
            "-r",
            f"detections:=/{name}/detections",
            "-r",
            f"image/compressed:=/{name}/camera/compressed",
            *arguments,
        )
        running.append(process)
        return process

    yield run
    for process in running:
        end_node(process)


@pytest.fixture
def live_tracker(robot):
    """Return a tracker's node at work in this process; its `show` publishes an image as a camera would."""
    from rclpy.lifecycle import TransitionCallbackReturn
    from rclpy.parameter import Parameter
    from ros_side import picture
    from sensor_msgs.msg import Image
    from vision_msgs.msg import Detection2DArray

    from pvm_perception.ros.tracker_node import TrackerNode

    node = TrackerNode()
    node.set_parameters([Parameter("frame_timeout", value=0.5), Parameter("max_age", value=0.0)])
    assert node.trigger_configure() == node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    robot.executor.add_node(node)
    camera = robot.node.create_publisher(Image, "image", 5)
    robot.listen(Detection2DArray, "detections")

    def show(image, seconds=0.03):
        camera.publish(picture(image, time.time()))
        robot.spin(seconds)

    node.show = show
    yield node
    robot.executor.remove_node(node)
    node.stop()
    node.destroy_node()
    robot.node.destroy_publisher(camera)


@pytest.fixture(scope="session")
def images():
    """Return 30 images of a simulated stream."""
    from pvm_perception.streams.generated import SimulatedStream

    return [f.image for f in SimulatedStream(0, (240, 320), 30.0, 30)]


@pytest.fixture(scope="module")
def ball_in_view():
    """Return a picture of a green ball, of which each tracker is sure after a few frames: (480, 640, 3)."""
    import cv2

    image = np.full((480, 640, 3), 150, np.uint8)
    cv2.circle(image, (430, 300), 60, (60, 160, 40), -1)
    cv2.circle(image, (415, 280), 22, (110, 210, 90), -1)
    return cv2.GaussianBlur(image, (0, 0), 2)


def tiny(**changes):
    """Return the configuration of a network that runs in microseconds."""
    links = [
        Link("input", "L1", "feedforward"),
        Link("L1", "L1", "lateral", 1),
        Link("L1", "L2", "feedforward"),
        Link("L2", "L2", "lateral", 1),
        Link("L2", "L3", "feedforward"),
        Link("L2", "L1", "feedback"),
        Link("L3", "L2", "feedback"),
        Link("L3", "L1", "global"),
    ]
    values = {
        "name": "tiny",
        "height": 24,
        "width": 32,
        "block": 2,
        "links": tuple(links),
        "layers": (Layer("L1", 6, 8, 12), Layer("L2", 3, 4, 10), Layer("L3", 1, 1, 8, children=(3, 4))),
    }
    return HierarchyConfig(**(values | changes))


def noise_images(n, batch=1, size=(24, 32), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, batch, *size, 3), dtype=np.uint8)
