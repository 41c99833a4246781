"""The ROS 2 node: images in, detections out; a lifecycle node that can start itself.

The executor's thread takes messages and answers services; one worker runs the network. Between
them lies a mailbox for one frame: a newer frame replaces one that was not yet begun.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray

from pvm_perception.api import Tracker
from pvm_perception.errors import PvmError
from pvm_perception.ros import diagnostics, messages
from pvm_perception.ros.age_limit import AgeLimit
from pvm_perception.ros.announcer import Announcer
from pvm_perception.ros.camera_input import CameraInput
from pvm_perception.ros.faults import Guarded, reason_of
from pvm_perception.ros.input_watch import InputWatch
from pvm_perception.ros.lessons import Lessons
from pvm_perception.ros.node_settings import NODES
from pvm_perception.ros.own_motion import OwnMotion
from pvm_perception.ros.parameters import values_of
from pvm_perception.ros.process import run_node, steady_clock
from pvm_perception.ros.reporter import Reporter
from pvm_perception.ros.services import Services
from pvm_perception.ros.sleeper import Sleeper
from pvm_perception.ros.views import Views
from pvm_perception.ros.worker import Worker
from pvm_perception.vision.compressed_image import CompressedSettings
from pvm_perception.vision.image_codec import decode_compressed, decode_image
from pvm_perception.vision.recent import Recent
from pvm_perception.vision.tracker_settings import TrackerSettings

LONGEST_FORECAST = 10.0  # frames; beyond that a moving box is a guess
SLEEP_WATCH = 0.5  # s between looks at a sleep
WATCH = 0.2  # s between looks at the camera's offers and at the worker
PATIENCE = 1.0  # s that a service waits for the frame in work
OK, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class TrackerNode(Guarded, LifecycleNode):
    """`pvm_tracker`; topics, services and parameters as the README lists them."""

    def __init__(self) -> None:
        super().__init__("pvm_tracker")
        self._tracker: Tracker | None = None
        self.fault = ""
        NODES["tracker"].declare(self, self._refuse)
        self.add_post_set_parameters_callback(self._adopt)
        self.lock = threading.Lock()  # the worker's frame against services and parameters
        self.health = diagnostics.Health()
        self.age_limit = AgeLimit()
        self.worker: Worker | None = None  # while it is active
        self.requests = Services(self)
        self._save = self.requests.save  # without a client: (None, Trigger.Response()) and stop() to await
        self.recent = Recent()
        self.lessons = Lessons(self)
        self.sleeper = Sleeper(self)
        self.reporter = Reporter(self)
        self.camera: CameraInput | None = None  # likewise
        self.watch: Any = None  # likewise
        self.changed = False  # parameters that the tracker does not follow yet
        self.enabled = True
        self.owned: list[tuple[Any, Any]] = []  # (how to destroy, what)

    @property
    def tracker(self) -> Tracker:
        """What makes the detections; raises PvmError while the node is not configured."""
        if self._tracker is None:
            raise PvmError("the node is not configured")
        return self._tracker

    # --- parameters

    def value(self, name: str) -> Any:
        """Return a parameter's value."""
        return self.get_parameter(name).value

    def _refuse(self, name: str, value: Any) -> str:
        if name != "targets" or self._tracker is None:
            return ""
        unknown = [t for t in value if t not in self.tracker.known_targets]
        return (
            ""
            if not unknown
            else (f"unknown target {unknown[0]!r}; this model knows {', '.join(self.tracker.known_targets)}")
        )

    def _adopt(self, _changes: list[Any]) -> None:
        """Let accepted parameters act at once."""
        if self._tracker is None:
            return
        self.changed = True
        with self.frame_done():
            self._follow_parameters()
        self.announcer.announce(self.tracker, self.own_motion.size)

    def _follow_parameters(self) -> None:
        """Hand new parameters to the tracker, between two frames."""
        if self.changed:
            self.changed = False
            self.tracker.settings = values_of(self, TrackerSettings)
            self.tracker.targets = tuple(self.value("targets"))
            self.tracker.learning = self.value("learning")
            self.tracker.learning_budget = self.value("learning_budget")

    @contextlib.contextmanager
    def frame_done(self) -> Iterator[None]:
        """Wait for the frame in work, and hold the next; raise PvmError where it does not end."""
        if not self.lock.acquire(timeout=PATIENCE):
            raise PvmError(f"one frame has kept the network busy for more than {PATIENCE:g} s; try again")
        try:
            yield
        finally:
            self.lock.release()

    # --- lifecycle

    def start(self) -> None:
        """Configure and activate, unless that is a lifecycle manager's task."""
        if self.value("autostart"):
            if self.trigger_configure() != OK:
                raise PvmError(self.fault or "the node could not be configured")
            self.trigger_activate()

    def on_configure(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and make publishers and services."""
        try:
            self._load()
            self._offer()
        except Exception as error:
            self.fault = reason_of(error)
            self.faults.note("configuring", error)
            self._release()
            return FAILURE
        return OK

    def _load(self) -> None:
        self._tracker = Tracker(
            self.value("targets"),
            self.sleeper.model(),
            self.value("device"),
            self.value("learning"),
            values_of(self, TrackerSettings),
            self.value("fovea"),
        )
        self.tracker.learning_budget = self.value("learning_budget")
        self.tracker.warm_up()
        info = self.tracker.info()
        self.get_logger().info(
            f"{info['network']} network, {info['weights']} weights from {info['model']} on {info['device']}"
        )
        if self.tracker.notice:
            self.get_logger().warning(self.tracker.notice)

    def _offer(self) -> None:
        """Make publishers, services, timers and the optional subscriptions."""
        self.detections = self._publisher(Detection2DArray, "detections", 5)
        self.views = Views(self._publisher)
        if not self.views.annotates:
            self.get_logger().info(
                "no foxglove_msgs, so no ~/annotations: apt install ros-$ROS_DISTRO-foxglove-msgs", once=True
            )
        self.announcer = Announcer(self._publisher, self.header)
        self.status = self._publisher(DiagnosticArray, "/diagnostics", 10)
        services = (*self.requests.offer(), *self.sleeper.offer())
        self.owned += [(self.destroy_service, service) for service in services]
        self.owned.append(
            (
                self.destroy_timer,
                self.create_timer(SLEEP_WATCH, self.sleeper.look, clock=steady_clock()),
            )
        )
        self.owned.append(
            (
                self.destroy_timer,
                self.create_timer(
                    self.value("diagnostics_period"), self.reporter.report, clock=steady_clock()
                ),
            )
        )
        self.own_motion = OwnMotion(self)
        listening = (*self.own_motion.subscriptions, *self.lessons.listen())
        self.owned += [(self.destroy_subscription, s) for s in listening]
        self.announcer.announce(self.tracker, self.own_motion.size)

    def _publisher(self, kind: type, name: str, qos: Any) -> Any:
        publisher = self.create_publisher(kind, name, qos)
        self.owned.append((self.destroy_publisher, publisher))
        return publisher

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to listen and to work."""
        self.stop()
        self.health = diagnostics.Health()
        self.age_limit = AgeLimit()
        self.camera = CameraInput(
            self, self.value("image_transport"), self.value("reliability"), self._receive
        )
        self.input = InputWatch(self, self.camera)
        self.worker = Worker(
            self.faults.guard(
                "frame", self._work, lambda error, _: self.health.fault("failed", reason_of(error))
            )
        )
        self.sleeper.open()
        self.worker.start()
        self.watch = self.create_timer(WATCH, self._look_after, clock=steady_clock())
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening and working; what was learnt stays."""
        self.stop()
        return super().on_deactivate(state)

    def on_cleanup(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of the model, publishers and services."""
        self._release()
        return OK

    def on_shutdown(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Stop from any state."""
        self.stop()
        self._release()
        return OK

    def _release(self) -> None:
        for destroy, thing in self.owned:
            destroy(thing)
        self.owned, self._tracker = [], None

    def stop(self) -> None:
        """End the subscription and the worker, wait for a model that is written; may be called twice."""
        if self.watch is not None:
            self.destroy_timer(self.watch)
            self.watch = None
        if self.camera is not None:
            self.camera.close()
            self.camera = None
        if self.worker is not None:
            if not self.worker.stop():
                self.faults.note("frame", "the frame in work does not end; it is left behind")
            self.worker = None
        self.lessons.stop()
        self.sleeper.close()
        self.recent.clear()
        if not self.requests.saver.finish():
            self.faults.note("save_model", "the disk does not answer; the model in work is not saved")

    # --- frames

    def _receive(self, message: Any) -> None:
        self.health.arrived(self.enabled)
        self.input.saw(messages.seconds_of(message.header))
        if self.enabled and self.worker is not None and self.worker.put(message):
            self.health.dropped += 1

    def _work(self, message: Any) -> None:
        """Make detections of a frame, on the worker's thread."""
        times = diagnostics.FrameTimes(messages.seconds_of(message.header), self._now())
        if self._too_old(times):
            return
        try:
            image = (
                decode_compressed(message, values_of(self, CompressedSettings))
                if isinstance(message, CompressedImage)
                else decode_image(message)
            )
        except ValueError as error:
            self.health.fault("malformed", str(error))
            self.faults.note("image", f"left out: {error}", "warning")
            return
        times.decoded = time.monotonic()
        self._frame(image, message.header, times)

    def _too_old(self, times: diagnostics.FrameTimes) -> bool:
        """Tell whether to leave a frame out for its age, and count it; one without a stamp has none."""
        limit, ages = self.value("max_age"), self.age_limit
        if not (limit and times.stamp):
            return False
        doubted = ages.doubted
        left_out = ages.too_old(times.found - times.stamp, limit, times.begun)
        if left_out:
            self.health.fault("too_old", f"by their stamps frames come later than max_age, {limit} s")
        if ages.doubted and not doubted:
            self.faults.note(
                "max_age",
                f"{ages.state(limit)}. Set the clocks; or max_age, if images take "
                "so long. Until one lies within it, none is left out for its age",
                "warning",
            )
        return left_out

    def _now(self) -> float:
        """Return the time on the clock that stamps are of, seconds."""
        return float(self.get_clock().now().nanoseconds * 1e-9)

    def _frame(self, image: Any, header: Header, times: diagnostics.FrameTimes) -> None:
        stamp = times.stamp
        motion, ahead = self.own_motion.around(stamp, image.shape[:2], self.value("horizontal_fov"))
        with self.lock:
            self._follow_parameters()
            tracks = self.tracker.update(image, stamp if stamp > 0 else None, motion, ahead)
            if self.value("latency_compensation") and stamp > 0:
                late = self._now() - stamp  # s
                frames = min(max(late / self.tracker.period, 0.0), LONGEST_FORECAST)
                tracks = self.tracker.forecast(frames)
            times.looked = time.monotonic()
            self.detections.publish(messages.detection_array(tracks, header))
            times.published = time.monotonic()
            surprise = self.tracker.surprise()
            self.health.processed(times, float(surprise.mean()))
            self.recent.keep(times.published, stamp, image, tracks)
            self.views.publish(self.tracker, image, tracks, surprise, header)
            self.sleeper.see(image, stamp if stamp > 0 else None, motion, tracks, float(surprise.mean()))

    # --- reports

    def _look_after(self) -> None:
        """Listen as the camera speaks; start a dead worker again; say at once what blinds the node."""
        if self.camera is None or self.worker is None:
            return
        self.camera.follow()
        self.lessons.settle()
        if self.enabled:
            self.input.look(self.health.silence(), self.value("frame_timeout"))
        if self.worker.revive():
            self.health.restarted = time.monotonic()
        level, message = self.reporter.state()
        if level == diagnostics.ERROR:
            self.faults.note("tracking", message)

    def header(self) -> Header:
        """Return a header of now, of no frame of reference."""
        return Header(stamp=self.get_clock().now().to_msg())


def main(argv: list[str] | None = None) -> int:
    """Run the node until a signal ends it; return the exit code."""
    return run_node(TrackerNode, argv)
