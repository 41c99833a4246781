"""The ROS 2 node: images in, detections out; a lifecycle node that can start itself.

The executor's thread takes messages and answers services; one worker runs the network. Between
them lies a mailbox for one frame: a newer frame replaces one that was not yet begun.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger
from vision_msgs.msg import Detection2DArray, LabelInfo, VisionInfo

from pvm_perception.api import Tracker
from pvm_perception.errors import PvmError
from pvm_perception.ros import diagnostics, messages
from pvm_perception.ros.age_limit import AgeLimit
from pvm_perception.ros.mailbox import Mailbox
from pvm_perception.ros.node_settings import NODES
from pvm_perception.ros.parameters import values_of
from pvm_perception.ros.process import run_node, steady_clock
from pvm_perception.vision.draw import colour_map, draw_tracks
from pvm_perception.vision.ego_motion import EgoMotion
from pvm_perception.vision.image_codec import decode_compressed, decode_image, fill_image
from pvm_perception.vision.tracker import TrackerSettings

try:
    from pvm_perception.ros.annotations import ImageAnnotations, image_annotations
except ImportError:  # boxes for Foxglove are nothing that a robot must have
    ImageAnnotations = None

LONGEST_FORECAST = 10.0  # frames; beyond that a moving box is a guess
# hears all publishers; every twist between two frames counts
ODOMETRY = QoSProfile(depth=20, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
OK, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class TrackerNode(LifecycleNode):
    """`pvm_tracker`; topics, services and parameters as the README lists them."""

    def __init__(self) -> None:
        super().__init__("pvm_tracker")
        self.tracker: Tracker | None = None
        self.fault = ""
        NODES["tracker"].declare(self, self._refuse)
        self.add_post_set_parameters_callback(self._adopt)
        self.lock = threading.Lock()  # the worker's frame against services and parameters
        self.health = diagnostics.Health()
        self.mailbox = Mailbox()
        self.age_limit = AgeLimit()
        self.worker: threading.Thread | None = None
        self.subscription: Any = None
        self.offered: ReliabilityPolicy | None = None
        self.ego_motion = EgoMotion()
        self.seen, self.motion = 0.0, None  # last frame's stamp; how the robot moved up to it
        self.enabled = True
        self.active = False
        self.announced = -1
        self.owned: list[tuple[Any, Any]] = []  # (how to destroy, what)

    # --- parameters

    def _value(self, name: str) -> Any:
        return self.get_parameter(name).value

    def _refuse(self, name: str, value: Any) -> str:
        if name != "targets" or self.tracker is None:
            return ""
        unknown = [t for t in value if t not in self.tracker.config.targets]
        return "" if not unknown else (f"unknown target {unknown[0]!r}; this model knows "
                                       f"{', '.join(self.tracker.config.targets)}")

    def _adopt(self, _changes: list) -> None:
        """Let accepted parameters act at once."""
        if self.tracker is None:
            return
        with self.lock:
            self.tracker.settings = values_of(self, TrackerSettings)
            self.tracker.targets = tuple(self._value("targets"))
            self.tracker.learning = self._value("learning")
        self._announce(labels=True)

    # --- lifecycle

    def start(self) -> None:
        """Configure and activate, unless that is a lifecycle manager's task."""
        if self._value("autostart"):
            if self.trigger_configure() != OK:
                raise PvmError(self.fault or "the node could not be configured")
            self.trigger_activate()

    def on_configure(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and make publishers and services."""
        try:
            self.tracker = Tracker(self._value("targets"), self._value("model") or None,
                                   self._value("device"), self._value("learning"),
                                   values_of(self, TrackerSettings), self._value("fovea"))
            self.tracker.warm_up()
        except PvmError as error:
            self.fault = str(error)
            self.get_logger().error(str(error))
            return FAILURE
        info = self.tracker.info()
        self.get_logger().info(f"{info['network']} network, {info['weights']} weights from "
                               f"{info['model']} on {info['device']}")
        if self.tracker.notice:
            self.get_logger().warning(self.tracker.notice)
        self.detections = self._publisher(Detection2DArray, "detections", 5)
        self.views = {name: self._publisher(Image, f"~/{name}", 1)
                      for name in ("debug_image", "heatmap", "prediction", "surprise")}
        if ImageAnnotations is not None:
            self.views["annotations"] = self._publisher(ImageAnnotations, "~/annotations", 5)
        else:
            self.get_logger().info("no foxglove_msgs, so no ~/annotations: apt install "
                                   "ros-$ROS_DISTRO-foxglove-msgs", once=True)
        self.vision_info = self._publisher(VisionInfo, "vision_info", LATCHED)
        self.label_info = self._publisher(LabelInfo, "label_info", LATCHED)
        self.status = self._publisher(DiagnosticArray, "/diagnostics", 10)
        for kind, name, answer in (
                (Trigger, "reset", self._reset), (Trigger, "save_model", self._save),
                (SetBool, "set_learning", self._set_learning), (SetBool, "enable", self._enable)):
            self.owned.append((self.destroy_service,
                               self.create_service(kind, f"~/{name}", answer)))
        self.owned.append((self.destroy_timer, self.create_timer(
            self._value("diagnostics_period"), self._report, clock=steady_clock())))
        for kind, name, take in ((Odometry, "odom", self._odometry),
                                 (CameraInfo, "camera_info", self.ego_motion.calibrated)):
            self.owned.append((self.destroy_subscription,
                               self.create_subscription(kind, name, take, ODOMETRY)))
        self._announce(labels=True)
        return OK

    def _publisher(self, kind: type, name: str, qos: Any) -> Any:
        publisher = self.create_publisher(kind, name, qos)
        self.owned.append((self.destroy_publisher, publisher))
        return publisher

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to listen and to work."""
        self.health = diagnostics.Health()
        self.mailbox = Mailbox()
        self.age_limit = AgeLimit()
        self.worker = threading.Thread(target=self._work, args=(self.mailbox,), name="network")
        self.worker.start()
        self.active = True
        self.watch = self.create_timer(0.2, self._subscribe, clock=steady_clock())
        self._subscribe()
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
        self.owned, self.tracker, self.announced = [], None, -1

    def stop(self) -> None:
        """End the subscription and join the worker; may be called twice."""
        self.active = False
        self.mailbox.close()
        if self.worker is not None:
            self.worker.join()
            self.worker = None
        if self.subscription is not None:
            self.destroy_timer(self.watch)
            self.destroy_subscription(self.subscription)
            self.subscription, self.offered = None, None

    # --- frames

    @property
    def _input(self) -> tuple[type, str]:
        compressed = self._value("image_transport") == "compressed"
        return (CompressedImage, "image/compressed") if compressed else (Image, "image")

    def _subscribe(self) -> None:
        """Subscribe with the reliability that publishers offer; again when that changes.

        A reliable subscriber hears nothing from a best-effort camera, and a best-effort one
        loses large frames that a reliable camera would send again.
        """
        kind, name = self._input
        wish = self._value("reliability")
        if wish == "auto":
            offers = {p.qos_profile.reliability
                      for p in self.get_publishers_info_by_topic(self.resolve_topic_name(name))}
            if not offers and self.subscription is not None:
                return
            reliable = offers == {ReliabilityPolicy.RELIABLE}
        else:
            reliable = wish == "reliable"
        policy = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        if policy == self.offered:
            return
        if self.subscription is not None:
            self.destroy_subscription(self.subscription)
        self.offered = policy
        self.subscription = self.create_subscription(
            kind, name, self._receive, QoSProfile(depth=1, reliability=policy))

    def _receive(self, message: Any) -> None:
        self.health.arrived()
        if self.enabled and self.mailbox.put(message):
            self.health.dropped += 1

    def _odometry(self, message: Odometry) -> None:
        self.ego_motion.moved(messages.seconds_of(message.header), message.twist.twist)

    def _work(self, mailbox: Mailbox) -> None:
        """Worker thread: one frame after the other until the mailbox is closed."""
        while (message := mailbox.take()) is not None:
            times = diagnostics.FrameTimes(messages.seconds_of(message.header), self._now())
            if self._too_old(times):
                continue
            try:
                image = (decode_compressed(message) if isinstance(message, CompressedImage)
                         else decode_image(message))
            except ValueError as error:
                self.health.fault("malformed", str(error))
                self.get_logger().warning(f"image left out: {error}", throttle_duration_sec=5.0)
                continue
            times.decoded = time.monotonic()
            try:
                self._frame(image, message.header, times)
            except Exception as error:  # a robot keeps its eyes, whatever one frame does
                self.health.fault("failed", f"{type(error).__name__}: {error}")
                self.get_logger().error(f"frame failed: {type(error).__name__}: {error}",
                                        throttle_duration_sec=5.0)

    def _too_old(self, times: diagnostics.FrameTimes) -> bool:
        """Tell whether to leave a frame out for its age, and count it; one without a stamp has none."""
        limit, ages = self._value("max_age"), self.age_limit
        if not (limit and times.stamp):
            return False
        doubted = ages.doubted
        left_out = ages.too_old(times.found - times.stamp, limit, times.begun)
        self.health.too_old += left_out
        if ages.doubted and not doubted:
            self.get_logger().warning(
                f"max_age: {ages.state(limit)}. Set the clocks; or max_age, if images take so long to come. "
                "Until one lies within it, none is left out for its age", throttle_duration_sec=60.0)
        return left_out

    def _now(self) -> float:
        """Return the time on the clock that stamps are of, seconds."""
        return self.get_clock().now().nanoseconds * 1e-9

    def _frame(self, image: Any, header: Header, times: diagnostics.FrameTimes) -> None:
        stamp = times.stamp
        motion = self.ego_motion.between(self.seen, stamp, image.shape[:2], self._value("horizontal_fov"))
        self.seen, self.motion = stamp, motion
        with self.lock:
            tracks = self.tracker.update(image, stamp if stamp > 0 else None, motion)
            if self._value("latency_compensation") and stamp > 0:
                late = self._now() - stamp  # s
                frames = min(max(late / self.tracker.period, 0.0), LONGEST_FORECAST)
                tracks = self.tracker.forecast(frames)
            times.looked = time.monotonic()
            self.detections.publish(messages.detection_array(tracks, header))
            times.published = time.monotonic()
            surprise = self.tracker.surprise()
            self.health.processed(times, float(surprise.mean()))
            for name, publisher in self.views.items():
                if not publisher.get_subscription_count():
                    continue
                if name == "annotations":
                    publisher.publish(image_annotations(tracks, header, image.shape[1]))
                else:
                    pixels, encoding = self._picture(name, image, tracks, surprise)
                    publisher.publish(fill_image(Image(), pixels, encoding, header))

    def _picture(self, name: str, image: Any, tracks: list, surprise: Any) -> tuple[Any, str]:
        if name == "debug_image":
            return draw_tracks(image, tracks), "bgr8"
        if name == "prediction":
            return self.tracker.prediction(), "bgr8"
        if name == "surprise":
            return surprise, "32FC1"
        heat = max((self.tracker.heatmap(t) for t in self.tracker.targets), key=lambda h: h.max())
        return colour_map(heat), "bgr8"

    # --- services

    def _reset(self, _request: Any, response: Any) -> Any:
        with self.lock:
            self.tracker.reset()
        response.success, response.message = True, "state and tracks are forgotten, weights kept"
        return response

    def _save(self, _request: Any, response: Any) -> Any:
        """Save beside nobody's model: into ROS_HOME, by namespace, with the time in the name."""
        home = Path(os.environ.get("ROS_HOME") or Path.home() / ".ros")
        folder = home / "pvm_perception" / self.get_namespace()[1:]
        path = folder / time.strftime("robot-%Y%m%d-%H%M%S.safetensors")
        try:
            with self.lock:
                self.tracker.save(path)
        except PvmError as error:
            response.success, response.message = False, str(error)
        else:
            response.success, response.message = True, str(path)
        return response

    def _set_learning(self, request: Any, response: Any) -> Any:
        result = self.set_parameters([rclpy.Parameter("learning", value=bool(request.data))])[0]
        response.success = result.successful
        response.message = result.reason or f"learning {'on' if request.data else 'off'}"
        return response

    def _enable(self, request: Any, response: Any) -> Any:
        self.enabled = bool(request.data)
        response.success = True
        response.message = "enabled" if request.data else "frames are ignored until enabled again"
        return response

    # --- reports

    def _header(self) -> Header:
        return Header(stamp=self.get_clock().now().to_msg())

    def _announce(self, labels: bool = False) -> None:
        tracker = self.tracker
        if tracker.model_version != self.announced:
            self.announced = tracker.model_version
            self.vision_info.publish(messages.vision_info(
                self._header(), tracker.config.name, str(tracker.model), self.announced))
        if labels:
            self.label_info.publish(messages.label_info(
                self._header(), tracker.targets, tracker.settings.birth_score))

    def _own_motion(self) -> str:
        """Say for diagnostics what the network was told last of the robot's motion."""
        motion, topic = self.motion, self.resolve_topic_name("odom")
        if not self.tracker.config.uses_motion:
            return "this model does not hear it"
        if motion is None:
            return f"not known: no odometry of the frame's time on {topic}"
        return "picture {:+.4f} right, {:+.4f} down, roll {:+.4f} rad, growth {:+.4f}".format(*motion)

    def _report(self) -> None:
        topic = self.resolve_topic_name(self._input[1])
        offers = [f"{p.node_namespace.rstrip('/')}/{p.node_name} offers "
                  f"{p.qos_profile.reliability.name.lower()}, "
                  f"{p.qos_profile.durability.name.lower()}"
                  for p in self.get_publishers_info_by_topic(topic)]
        facts = {"device": self.tracker.runs_on, "device note": self.tracker.notice,
                 "learning": self.tracker.learning,
                 "model version": self.tracker.model_version,
                 "state lost (times)": self.tracker.times_diverged, "topic": topic,
                 "targets": ", ".join(self.tracker.targets), "own motion": self._own_motion(),
                 "age limit": self.age_limit.state(self._value("max_age"))}
        state = diagnostics.status(diagnostics.name_of(self, "tracker"), self.health, facts,
                                   self.active and self.enabled, self._value("frame_timeout"),
                                   topic, offers)
        array = DiagnosticArray(header=self._header())
        array.status.append(state)
        self.status.publish(array)
        self._announce()


def main(argv: list[str] | None = None) -> int:
    """Run the node until a signal ends it; return the exit code."""
    return run_node(TrackerNode, argv)
