"""What callbacks raise ends in one place: counted, reported once, answered; only finite numbers leave."""

import asyncio
import math
import threading

import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed; run `make setup`")

from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from geometry_msgs.msg import PoseWithCovarianceStamped, Twist  # noqa: E402
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image  # noqa: E402
from std_srvs.srv import SetBool, Trigger  # noqa: E402

from pvm_perception.errors import PvmError  # noqa: E402
from pvm_perception.ros import tracker_node  # noqa: E402
from pvm_perception.ros.faults import Faults, Guarded  # noqa: E402
from pvm_perception.ros.finite import odd_number  # noqa: E402
from pvm_perception.ros.messages import detection_array  # noqa: E402
from pvm_perception.types import Track  # noqa: E402


class Console:
    """Faults whose clock is set by hand, and what they reported."""

    def __init__(self):
        self.now, self.lines = 0.0, []
        self.faults = Faults(lambda severity, text: self.lines.append(f"{severity} {text}"), lambda: self.now)


def test_a_kind_of_fault_is_counted_each_time_and_reported_now_and_then():
    console = Console()
    for _ in range(30):
        console.now += 1 / 3
        console.faults.note("odom", f"left out: {console.now} m/s", "warning")
        console.faults.note("camera_info", PvmError("no image size"))
    assert console.lines == [
        "warning odom: left out: 0.3333333333333333 m/s",
        "error camera_info: no image size",
    ]
    console.now += 0.1
    console.faults.note("odom", "left out: no stamp", "warning")  # other words
    console.now += 30
    console.faults.note("camera_info", PvmError("no image size"))
    assert console.lines[2:] == [
        "warning odom: left out: no stamp (31 times so far)",
        "error camera_info: no image size (31 times so far)",
    ]
    assert [console.faults.count(kind) for kind in (None, "odom", "depth")] == [62, 31, 0]
    assert console.faults.last == "camera_info: no image size"


def test_a_guarded_callback_raises_nothing_and_answers_otherwise():
    console = Console()

    def divide(a, b):
        return a / b

    async def later(a, b):
        return a / b

    guard = console.faults.guard
    for callback, call in ((divide, lambda f, *a: f(*a)), (later, lambda f, *a: asyncio.run(f(*a)))):
        assert call(guard("x", callback), 6, 3) == 2
        assert call(guard("x", callback), 6, 0) is None
        assert call(guard("x", callback, lambda error, a, b: (str(error), a, b)), 6, 0) == (
            "division by zero",
            6,
            0,
        )
    assert console.lines == ["error x: ZeroDivisionError: division by zero"]
    assert console.faults.count("x") == 4


def test_where_a_message_holds_a_number_that_is_not_finite():
    assert odd_number(Twist()) == odd_number(Image(data=b"\xff" * 8)) == odd_number(CameraInfo()) == ""
    assert odd_number(CameraInfo(d=[0.1, math.inf])) == "d holds inf"
    message = PoseWithCovarianceStamped()
    message.pose.covariance[7] = math.nan
    assert odd_number(message) == "pose.covariance holds nan"
    boxes = detection_array([Track("green_ball", 1.0, 2.0, 3.0, 4.0, 0.5, 1)] * 2, Image().header)
    assert odd_number(boxes) == ""
    boxes.detections[1].bbox.center.position.y = -math.inf
    assert odd_number(boxes) == "detections.bbox.center.position.y is -inf"
    boxes = detection_array([Track("green_ball", 1.0, 2.0, 3.0, 4.0, math.nan, 1)], Image().header)
    assert odd_number(boxes) == "detections.results.hypothesis.score is nan"


class Clumsy(Guarded, Node):
    """A node of which every callback raises."""

    def __init__(self):
        super().__init__("clumsy")
        self.create_subscription(Twist, "clumsy/twist", self._raise, 5)
        self.create_timer(0.05, self._tick)
        self.create_service(Trigger, "clumsy/trigger", self._raise)
        self.create_service(SetBool, "clumsy/wait", self._wait)
        self.out = self.create_publisher(Twist, "clumsy/out", 5)
        self.declare_parameter("speed", 1.0)
        self.ticks = 0

    def _raise(self, *_):
        raise RuntimeError("no such thing")

    def _tick(self):
        self.ticks += 1
        raise KeyError("tick")

    async def _wait(self, _request, _response):
        raise PvmError("the disk is full")


def test_a_node_outlives_its_callbacks(robot):
    node = Clumsy()
    robot.executor.add_node(node)
    try:
        publisher = robot.node.create_publisher(Twist, "clumsy/twist", 5)
        robot.until(lambda: publisher.publish(Twist()) or node.faults.count("clumsy/twist") > 2)
        answer = robot.call(Trigger, "clumsy/trigger")
        assert (answer.success, answer.message) == (False, "RuntimeError: no such thing")
        answer = robot.call(SetBool, "clumsy/wait")
        assert (answer.success, answer.message) == (False, "the disk is full")
        robot.until(lambda: node.ticks > 3)
        node.add_on_set_parameters_callback(node._raise)
        result = node.set_parameters([Parameter("speed", value=2.0)])[0]
        assert (result.successful, result.reason) == (False, "RuntimeError: no such thing")
        assert node.get_parameter("speed").value == 1.0
        with pytest.raises(PvmError, match=r"clumsy/out is not published: linear.x is nan"):
            node.out.publish(Twist(linear=Twist().linear.__class__(x=math.nan)))
    finally:
        robot.executor.remove_node(node)
        node.destroy_node()


def test_a_transition_that_raises_has_failed_and_can_be_tried_again(robot):
    class Unsure(Guarded, LifecycleNode):
        broken = True

        def on_configure(self, _state):
            if self.broken:
                raise OSError("no model today")
            return TransitionCallbackReturn.SUCCESS

    node = Unsure("lifecycle")
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
        assert node.faults.last == "on_configure: OSError: no model today"
        node.broken = False
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    finally:
        node.destroy_node()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_dies_is_started_again(robot, live_tracker, images, monkeypatch):
    answers = robot.heard["detections"]
    robot.until(lambda: live_tracker.show(images[0]) or len(answers) > 3)
    decode = tracker_node.decode_image

    def dies(_message):
        raise SystemExit  # what no guard holds back

    monkeypatch.setattr(tracker_node, "decode_image", dies)
    robot.until(lambda: live_tracker.show(images[0]) or live_tracker.worker.restarts > 0)
    assert live_tracker.faults.last.startswith("tracking: the network's thread ended and is started again")
    assert live_tracker.reporter.state()[0] == b"\x02"
    monkeypatch.setattr(tracker_node, "decode_image", decode)
    count = len(answers)
    robot.until(lambda: live_tracker.show(images[0]) or len(answers) > count + 5)
    robot.until(
        lambda: live_tracker.show(images[0]) or live_tracker.reporter.state() == (b"\x00", "tracking")
    )


def test_a_frame_that_never_ends_is_an_error_and_services_answer(robot, live_tracker, images, monkeypatch):
    answers, release = robot.heard["detections"], threading.Event()
    robot.until(lambda: live_tracker.show(images[0]) or len(answers) > 3)
    update = live_tracker.tracker.update

    def hangs(*arguments):
        release.wait(60)
        return update(*arguments)

    monkeypatch.setattr(live_tracker.tracker, "update", hangs)
    robot.listen(DiagnosticArray, "/diagnostics")
    statuses = robot.heard["/diagnostics"]
    robot.until(
        lambda: (
            live_tracker.show(images[0])
            or any(
                "one frame has kept the network busy" in s.message and s.level == b"\x02"
                for m in statuses
                for s in m.status
            )
        )
    )
    assert "tracking: one frame has kept the network busy" in live_tracker.faults.last
    answer = robot.call(Trigger, "/pvm_tracker/reset")
    assert not answer.success
    assert "busy" in answer.message
    release.set()
    count = len(answers)
    robot.until(lambda: live_tracker.show(images[0]) or len(answers) > count + 3)
    assert robot.call(Trigger, "/pvm_tracker/reset").success


def test_whatever_a_frame_raises_costs_that_frame(robot, live_tracker, images, monkeypatch):
    answers, update = robot.heard["detections"], live_tracker.tracker.update
    robot.until(lambda: live_tracker.show(images[0]) or len(answers) > 3)

    def odd(*arguments):
        tracks = update(*arguments)
        nowhere = [Track("green_ball", math.nan, 0.0, 1.0, 1.0, 0.5, 1)]
        return nowhere if live_tracker.health.failed < 3 else tracks

    monkeypatch.setattr(live_tracker.tracker, "update", odd)
    count = len(answers)
    robot.until(lambda: live_tracker.show(images[0]) or len(answers) > count + 5)
    assert live_tracker.health.failed == 3
    assert live_tracker.health.last_fault == (
        "detections is not published: detections.bbox.center.position.x is nan"
    )
    assert not any(odd_number(m) for m in answers)
