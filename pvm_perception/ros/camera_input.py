"""The subscription to a camera's images, as reliable as its publishers are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

# image_transport: message and topic
TRANSPORTS = {"raw": (Image, "image"), "compressed": (CompressedImage, "image/compressed")}


def type_name(kind: type) -> str:
    """Return the name by which the ROS graph knows a message type of sensor_msgs."""
    return f"sensor_msgs/msg/{kind.__name__}"


class CameraInput:
    """Subscribes to images; `follow` it now and then, as publishers come and go.

    Parameters
    ----------
    node
        The rclpy node to listen with.
    transport
        A key of `TRANSPORTS`.
    reliability
        "reliable", "best_effort", or "auto": what the publishers offer.
    receive
        Called with each message.

    Attributes
    ----------
    topic : the resolved name
    """

    def __init__(self, node: Any, transport: str, reliability: str, receive: Callable[[Any], None]) -> None:
        self._node, self._wish, self._receive = node, reliability, receive
        self.transport = transport
        self._kind, self._name = TRANSPORTS[transport]
        self.topic: str = node.resolve_topic_name(self._name)
        self._subscription: Any = None
        self._policy: ReliabilityPolicy | None = None
        self.follow()

    def follow(self) -> None:
        """Subscribe with the reliability that publishers offer; again when that changes.

        A reliable subscriber receives nothing from a best-effort camera, and a best-effort one
        loses large frames that a reliable camera would send again.
        """
        if self._wish == "auto":
            offers = {p.qos_profile.reliability for p in self._node.get_publishers_info_by_topic(self.topic)}
            if not offers and self._subscription is not None:
                return
            reliable = offers == {ReliabilityPolicy.RELIABLE}
        else:
            reliable = self._wish == "reliable"
        policy = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        if policy == self._policy:
            return
        self.close()
        self._policy = policy
        self._subscription = self._node.create_subscription(
            self._kind, self._name, self._receive, QoSProfile(depth=1, reliability=policy)
        )

    def offers(self) -> list[str]:
        """Return each publisher's name, its quality of service, and why nothing is received from it."""
        return [self._offer(p) for p in self._node.get_publishers_info_by_topic(self.topic)]

    def _offer(self, publisher: Any) -> str:
        offered, wanted = publisher.qos_profile, type_name(self._kind)
        words = (
            f"{publisher.node_namespace.rstrip('/')}/{publisher.node_name} offers "
            f"{offered.reliability.name.lower()}, {offered.durability.name.lower()}"
        )
        if publisher.topic_type != wanted:
            return f"{words}, but {publisher.topic_type} instead of {wanted}"
        deaf = self._policy == ReliabilityPolicy.RELIABLE != offered.reliability
        return f"{words}, which reliability: reliable never hears" if deaf else words

    def close(self) -> None:
        """Stop listening."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        self._subscription, self._policy = None, None
