"""`save_model` is answered when the model is on the disk, or with the reason; the robot sees meanwhile."""

import errno
import threading

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed; run `make setup`")

from rclpy.parameter import Parameter  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from pvm_perception.core.model_file import load_model, save_model  # noqa: E402
from pvm_perception.errors import PvmError  # noqa: E402
from pvm_perception.ros import saving  # noqa: E402

SERVICE = "/pvm_tracker/save_model"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Return ROS_HOME."""
    monkeypatch.setenv("ROS_HOME", str(tmp_path))
    return tmp_path


def test_frames_and_learning_go_on_while_a_slow_disk_writes(robot, live_tracker, images, home, monkeypatch):
    release, answers = threading.Event(), robot.heard["detections"]

    def moved(count):
        return np.roll(images[0], 3 * count, axis=1)  # nothing is learnt from what stands still

    def slow(path, *model):
        release.wait(60)
        save_model(path, *model)

    monkeypatch.setattr(saving, "save_model", slow)
    learning = [Parameter("learning", value=True), Parameter("learning_budget", value=1.0)]
    assert all(result.successful for result in live_tracker.set_parameters(learning))
    robot.until(lambda: live_tracker.show(images[0]) or len(answers) > 3)
    clients = [robot.node.create_client(Trigger, SERVICE) for _ in range(2)]
    robot.until(lambda: all(c.service_is_ready() for c in clients))
    before, steps = len(answers), live_tracker.tracker.model_version
    first, second = (c.call_async(Trigger.Request()) for c in clients)
    robot.until(lambda: live_tracker.show(moved(len(answers))) or len(answers) > before + 20)
    assert not first.done() and not second.done()
    assert live_tracker.tracker.model_version > steps
    release.set()
    robot.until(lambda: first.done() and second.done())
    assert first.result().success and second.result().success
    saved = [first.result().message, second.result().message]
    assert saved[0] != saved[1]
    for path in saved:
        assert path.startswith(str(home / "pvm_perception"))
        _, weights, history = load_model(path)  # whole, and as it was when it was asked for
        assert history["awake_steps"] == steps
        assert sum(w.size for w in weights.values()) > 100_000


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PvmError("cannot write the model to X: No space left on device"), "No space left on device"),
        (OSError(errno.EROFS, "Read-only file system"), "Read-only file system"),
        (RuntimeError("of another kind"), "of another kind"),
    ],
)
def test_what_cannot_be_saved_is_the_answer(robot, live_tracker, images, home, monkeypatch, error, words):
    def fails(*_):
        raise error

    monkeypatch.setattr(saving, "save_model", fails)
    answer = robot.call(Trigger, SERVICE)
    assert not answer.success
    assert words in answer.message
    monkeypatch.undo()
    monkeypatch.setenv("ROS_HOME", str(home))
    assert robot.call(Trigger, SERVICE).success
    answers = robot.heard["detections"]
    robot.until(lambda: live_tracker.show(images[0]) or len(answers) > 3)


def test_a_folder_that_cannot_be(robot, live_tracker, home):
    (home / "pvm_perception").write_text("a file in the way")
    answer = robot.call(Trigger, SERVICE)
    assert not answer.success
    assert str(home) in answer.message


def test_no_two_saves_share_a_name(home):
    names = {saving.model_path("/front", "pvm_tracker") for _ in range(50)}
    assert len(names) == 50
    assert {p.parent for p in names} == {home / "pvm_perception" / "front"}
    assert saving.model_path("/", "a").parent == home / "pvm_perception"


def test_the_end_of_the_node_waits_for_the_file(robot, live_tracker, home, monkeypatch):
    release, written = threading.Event(), []

    def slow(path, *_model):
        release.wait(60)
        written.append(path)

    monkeypatch.setattr(saving, "save_model", slow)
    client = robot.node.create_client(Trigger, SERVICE)
    robot.until(client.service_is_ready)
    client.call_async(Trigger.Request())
    robot.until(lambda: live_tracker.requests.saver._threads)
    threading.Timer(0.3, release.set).start()
    live_tracker.stop()
    assert len(written) == 1
