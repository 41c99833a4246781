"""What makes the detections, on latched topics: for whoever comes late."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from std_msgs.msg import Header
from vision_msgs.msg import LabelInfo, VisionInfo

from pvm_perception.api import Tracker
from pvm_perception.ros import messages
from pvm_perception.ros.qos import LATCHED


class Announcer:
    """Publishes `vision_info` and `label_info` when they have changed.

    Parameters
    ----------
    publisher
        (message type, topic, quality of service) -> a publisher.
    header
        Returns a header of now.
    """

    def __init__(self, publisher: Callable[[type, str, Any], Any], header: Callable[[], Header]) -> None:
        self._vision = publisher(VisionInfo, "vision_info", LATCHED)
        self._label = publisher(LabelInfo, "label_info", LATCHED)
        self._header = header
        self._said: tuple[Any, ...] = (None, None)  # of either

    def announce(self, tracker: Tracker, size: tuple[int, int] | None) -> None:
        """Say which model runs, how often it has changed, on images of which size; its targets.

        Parameters
        ----------
        tracker
            What makes the detections.
        size
            Rows and columns of the images; None before there was one.
        """
        vision = (tracker.model_version, size)
        label = (tracker.targets, tracker.settings.birth_score)
        said, self._said = self._said, (vision, label)
        if vision != said[0]:
            self._vision.publish(
                messages.vision_info(
                    self._header(), tracker.config.name, str(tracker.model), tracker.model_version, size
                )
            )
        if label != said[1]:
            self._label.publish(messages.label_info(self._header(), *label))
