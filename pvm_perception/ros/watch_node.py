"""What a running tracker publishes, on a `LivePage`: `watch --ros`, on the robot or elsewhere."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.exceptions import InvalidTopicNameException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.validate_full_topic_name import validate_full_topic_name
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Detection2DArray

from pvm_perception.errors import PvmError
from pvm_perception.live_page import LivePage, Thinner, colour
from pvm_perception.processes import image_transport
from pvm_perception.ros.camera_input import TRANSPORTS, CameraInput
from pvm_perception.ros.faults import Guarded
from pvm_perception.ros.input_watch import InputWatch
from pvm_perception.ros.messages import seconds_of
from pvm_perception.ros.qos import SENSOR
from pvm_perception.ros.views import TITLES, decode_view
from pvm_perception.types import Track
from pvm_perception.vision.compressed_image import CompressedSettings
from pvm_perception.vision.image_codec import decode_compressed, decode_image

KEPT = 10  # images that wait for their detections
ALONE = 1.0  # s without detections after which images are shown without boxes
QUIET = 2.0  # s without an image after which the console says why


def tracks_of(message: Detection2DArray) -> list[Track]:
    """Return detections as tracks; one without a result, or whose id is no number, is left out."""
    tracks = []
    for d in message.detections:
        if d.results and d.id.isdecimal():
            best, box = max(d.results, key=lambda r: r.hypothesis.score).hypothesis, d.bbox
            x, y = box.center.position.x - box.size_x / 2, box.center.position.y - box.size_y / 2
            tracks.append(Track(best.class_id, x, y, box.size_x, box.size_y, best.score, int(d.id)))
    return tracks


class WatchNode(Guarded, Node):
    """Shows the newest frame with its boxes, and drops what it has no time for.

    Parameters
    ----------
    page
        Where it is shown.
    topic
        Of the camera's images; one that ends with /compressed carries CompressedImage.
    tracker
        The tracker's full name, as /pvm_tracker; its detections are taken from the same namespace.
    rate
        Frames a second that are shown at most; 0 = all.
    """

    def __init__(self, page: LivePage, topic: str, tracker: str, rate: float) -> None:
        transport = "compressed" if topic.endswith("/compressed") else "raw"
        remap = f"{TRANSPORTS[transport][1]}:={topic}"
        super().__init__(f"pvm_watch_{os.getpid()}", cli_args=["--ros-args", "-r", remap])
        self.count = 0  # frames shown
        self._page, self._thinner = page, Thinner(rate)
        self._images: OrderedDict[tuple[int, int], Any] = OrderedDict()
        self._curves: set[str] = set()
        self._answered = self._heard = time.monotonic()  # when detections, when an image came
        namespace = tracker.rpartition("/")[0]
        # best effort: whoever looks on must not hold up the camera
        self._camera = CameraInput(self, transport, "best_effort", self._image)
        self._watch = InputWatch(self, self._camera)
        self.create_subscription(Detection2DArray, f"{namespace}/detections", self._detections, SENSOR)
        self._shown = {name: Thinner(rate) for name in TITLES}
        for name in TITLES:
            self.create_subscription(Image, f"{tracker}/{name}", self._picture(name), SENSOR)
        self.create_timer(1.0, self._look_after)
        blueprint = page.blueprint
        page.lay_out(
            [blueprint.Spatial2DView(origin=f"network/{n}", name=words) for n, words in TITLES.items()],
            [],
            [("scores", "scores")],
        )

    def _image(self, message: Any) -> None:
        self._heard = time.monotonic()
        self._watch.saw(seconds_of(message.header))
        self._images[message.header.stamp.sec, message.header.stamp.nanosec] = message
        while len(self._images) > KEPT:
            self._images.popitem(last=False)
        if time.monotonic() - self._answered > ALONE:
            self._show(message, [])

    def _detections(self, message: Detection2DArray) -> None:
        self._answered = time.monotonic()
        image = self._images.pop((message.header.stamp.sec, message.header.stamp.nanosec), None)
        if image is not None:
            self._show(image, tracks_of(message))

    def _show(self, message: Any, tracks: list[Track]) -> None:
        if not self._thinner.passes():
            return
        packed = isinstance(message, CompressedImage)
        image = decode_compressed(message, CompressedSettings()) if packed else decode_image(message)
        self._page.set_time(self.count, seconds_of(message.header))
        self._page.show_camera(image, tracks)
        scores: dict[str, float] = {}
        for t in tracks:
            scores[t.target] = max(t.score, scores.get(t.target, 0.0))
        for target in scores.keys() - self._curves:
            self._page.name_curve(f"scores/{target}", target, colour(target), 3.0)
        self._curves |= scores.keys()
        self._page.show_curves({f"scores/{target}": scores.get(target, 0.0) for target in self._curves})
        self.count += 1

    def _picture(self, name: str) -> Callable[[Image], None]:
        """Return what shows one of the tracker's pictures."""

        def show(message: Image) -> None:
            if self._shown[name].passes():
                self._page.log(f"network/{name}", self._page.jpeg(decode_view(message)))

        return show

    def _look_after(self) -> None:
        self._watch.look(time.monotonic() - self._heard, QUIET)


def check_names(*names: str) -> None:
    """Raise PvmError for a name that is no full one in ROS."""
    for name in names:
        try:
            validate_full_topic_name(name)
        except InvalidTopicNameException as error:
            raise PvmError(f"{name!r} is no full name in ROS, such as /camera/image_raw") from error


def watch(page: LivePage, topic: str, tracker: str, rate: float, ended: Callable[[int], bool]) -> int:
    """Show what a tracker publishes until `ended` says so of the number of frames; return it.

    Parameters
    ----------
    page
        What is shown on.
    topic
        The images'.
    tracker
        Name of the tracker's node.
    rate
        Frames that are shown a second, at most.
    ended
        Takes the number of frames, returns whether that is enough.
    """
    os.environ.update(image_transport(os.environ))
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node, executor = None, SingleThreadedExecutor()
    try:
        node = WatchNode(page, topic, tracker, rate)
        executor.add_node(node)
        while not ended(node.count):
            executor.spin_once(timeout_sec=0.1)
        return node.count
    finally:
        if node is not None:
            node.destroy_node()
        executor.shutdown()
        rclpy.try_shutdown()
