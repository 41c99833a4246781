"""Pictures of what the network sees and expects, computed only while somebody looks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from pvm_perception.api import Tracker
from pvm_perception.types import Track
from pvm_perception.vision.draw import colour_map, draw_tracks
from pvm_perception.vision.image_codec import decode_depth, decode_image, fill_image

try:
    from foxglove_msgs.msg import ImageAnnotations

    from pvm_perception.ros.annotations import image_annotations
except ImportError:  # boxes for Foxglove are nothing that a robot must have
    ImageAnnotations = None

PICTURES = ("debug_image", "heatmap", "prediction", "surprise")
TITLES = {"prediction": "expected next", "surprise": "surprise", "heatmap": "heat"}  # of what it thinks
TOP_SURPRISE = 6.0  # at the colour map's end; where all is as usual it is about 0.5


class Views:
    """The node's pictures, each on a topic of its own.

    Parameters
    ----------
    publisher
        (message type, topic, depth) -> a publisher.
    """

    def __init__(self, publisher: Callable[[type, str, int], Any]) -> None:
        self._publishers = {name: publisher(Image, f"~/{name}", 1) for name in PICTURES}
        self.annotates = ImageAnnotations is not None  # whether there is foxglove_msgs
        if self.annotates:
            self._publishers["annotations"] = publisher(ImageAnnotations, "~/annotations", 5)

    def publish(
        self, tracker: Tracker, image: np.ndarray, tracks: list[Track], surprise: np.ndarray, header: Header
    ) -> None:
        """Publish what somebody listens to.

        Parameters
        ----------
        tracker
            That saw the image last.
        image
            (H, W, 3) uint8, BGR.
        tracks
            Boxes in pixels of the image.
        surprise
            (rows, cols) float32, of the last frame.
        header
            The image's.
        """
        for name, publisher in self._publishers.items():
            if not publisher.get_subscription_count():
                continue
            if name == "annotations":
                publisher.publish(image_annotations(tracks, header, image.shape[1]))
            else:
                pixels, encoding = _picture(name, tracker, image, tracks, surprise)
                publisher.publish(fill_image(Image(), pixels, encoding, header))


def _picture(
    name: str, tracker: Tracker, image: np.ndarray, tracks: list[Track], surprise: np.ndarray
) -> tuple[np.ndarray, str]:
    """Return a picture's pixels and their encoding."""
    if name == "debug_image":
        return draw_tracks(image, tracks), "bgr8"
    if name == "prediction":
        return tracker.prediction(), "bgr8"
    if name == "surprise":
        return np.nan_to_num(surprise, posinf=0.0, neginf=0.0), "32FC1"
    heat = max((tracker.heatmap(t) for t in tracker.targets), key=lambda h: h.max())
    return colour_map(heat), "bgr8"


def decode_view(message: Any) -> np.ndarray:
    """Return one of the node's pictures as it is shown to people.

    Parameters
    ----------
    message
        sensor_msgs/Image of `~/prediction`, `~/heatmap`, `~/surprise` or `~/debug_image`.

    Returns
    -------
    (height, width, 3) uint8
        BGR; the surprise in colours.

    Raises
    ------
    ValueError
        As `decode_image`.
    """
    if message.encoding == "32FC1":
        return colour_map(decode_depth(message), TOP_SURPRISE)
    return decode_image(message)
