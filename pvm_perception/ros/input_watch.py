"""Says on the console why a tracker gets no images, or only some of its camera's, and what to do."""

from __future__ import annotations

import os
import time
from typing import Any

import rclpy

from pvm_perception import fast_dds
from pvm_perception.ros.camera_input import TRANSPORTS, CameraInput, type_name
from pvm_perception.ros.faults import AGAIN, SOON
from pvm_perception.ros.stamp_rate import StampRate
from pvm_perception.shipped import shipped

FIRST = 4.0  # s after which the console says at the latest that no image has come at all
MOST = 5  # topics that are named
OURS = ("/debug_image", "/heatmap", "/prediction", "/surprise")  # pictures that trackers publish


class InputWatch:
    """Watches one subscription to images.

    Parameters
    ----------
    node
        The rclpy node that listens; a `Guarded` one.
    camera
        Its subscription.
    """

    def __init__(self, node: Any, camera: CameraInput) -> None:
        self._node, self._camera = node, camera
        self._rate = StampRate()
        self._any = False  # whether any image came
        self._cause = ""  # what the console said last; empty since images came again
        self._warned = -float("inf")  # when, monotonic

    def saw(self, stamp: float) -> None:
        """Take note of an image's stamp, seconds; 0 = it has none."""
        self._any = True
        self._rate.add(stamp)

    def look(self, silence: float, timeout: float) -> None:
        """Warn on the console where no image comes, or too few; the same cause at most every 30 s.

        Parameters
        ----------
        silence
            Seconds since the last image, or since the start.
        timeout
            Seconds of silence from which it is worth a word.
        """
        # a camera that is launched with the node takes longer to begin than one that pauses
        patience = timeout if self._any else min(2 * timeout, FIRST)
        if silence > patience:
            cause = "; ".join(self.publishers())
            words = f"no image for {silence:.1f} s on {self._camera.topic} ({cause})"
        else:
            words = self.shortfall()
            cause = "shortfall" if words else ""
        if not words:
            self._cause = ""
            return
        now = time.monotonic()
        if now - self._warned >= (AGAIN if cause == self._cause else SOON):
            self._cause, self._warned = cause, now
            self._node.faults.note("input", words, "warning")

    def publishers(self) -> list[str]:
        """Return each publisher and what it offers; where there is none, which topics carry images."""
        return self._camera.offers() or [f"nobody publishes it; {self._elsewhere()}"]

    def _elsewhere(self) -> str:
        """Return where images are to be had, and the arguments that fetch them."""
        found = self._topics_with_images()
        if not found:
            return "no topic of this ROS domain carries images"
        topic, transport = found[0]
        switch = "" if transport == self._camera.transport else f"-p image_transport:={transport} "
        names = ", ".join(name for name, _ in found[:MOST])
        return f"images are on {names}: --ros-args {switch}-r {TRANSPORTS[transport][1]}:={topic}"

    def _topics_with_images(self) -> list[tuple[str, str]]:
        """Return (topic, transport) of all that others publish images on, the likeliest first."""
        node, found = self._node, set()
        own = (node.get_name(), node.get_namespace())
        transports = {type_name(kind): transport for transport, (kind, _) in TRANSPORTS.items()}
        for topic, types in node.get_topic_names_and_types():
            if not transports.keys() & set(types) or topic.endswith(OURS):
                continue
            for p in node.get_publishers_info_by_topic(topic):
                if p.topic_type in transports and (p.node_name, p.node_namespace) != own:
                    found.add((topic, transports[p.topic_type]))
        wanted = self._camera.transport
        return sorted(found, key=lambda f: (f[1] != wanted, "depth" in f[0], "image" not in f[0], f[0]))

    def shortfall(self) -> str:
        """Return what to say of a camera many of whose images are lost; empty where all is well."""
        rates = self._rate.shortfall()
        if rates is None:
            return ""
        words = f"{rates[0]:.1f} of the {rates[1]:.1f} images a second on {self._camera.topic} arrive"
        if "fastrtps" not in rclpy.get_rmw_implementation_identifier():
            return f"{words}; the network or the computer is too slow for their size"
        (variable,) = fast_dds.variables({"ROS_DISTRO": os.environ.get("ROS_DISTRO", "")}, "")
        return (
            f"{words}; such images need room in Fast DDS's shared memory: start camera and tracker with "
            f"{variable}={shipped('config/fastdds.xml')}, see docs/cameras.md"
        )
